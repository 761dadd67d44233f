"""Flask: every route with what the policy does to it, and whether it can be known who asks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.coverage.conftest import Coverage

SHOP = """\
from flask import Blueprint, Flask
from flask_httpauth import HTTPBasicAuth
from flask_jwt_extended import JWTManager, jwt_required
from flask_login import LoginManager, login_required

app = Flask(__name__, static_folder=None)
app.secret_key = "k"
LoginManager(app)
basic = HTTPBasicAuth()
back = Blueprint("back", __name__, url_prefix="/back")


@app.get("/customers/<int:number>")
@login_required
def customer(number): ...


@app.post("/customers/<int:number>")
def change(number): ...


@app.get("/files/<path:name>")
@basic.login_required(optional=True)
def file(name): ...


@app.get("/api")
@jwt_required()
def api(): ...


@back.before_request
@basic.login_required
def guard(): ...


@back.get("/office")
def office(): ...


app.register_blueprint(back)
"""
POLICY = """\
rules:
  - path: /customers/**
    method: GET
    detail: core
  - path: /files/**
    action: skip
  - path: /api
    status: 404
    action: skip
rows: []
"""


def test_each_route_has_its_methods_its_rule_and_who_asks(folder: Path, coverage: Coverage) -> None:
    (folder / "shop.py").write_text(SHOP)
    (folder / "policy.yaml").write_text(POLICY)

    ran = coverage("shop:app", "--json", "--fail-on", "uncovered", OTEL_AUDIT_POLICY=str(folder / "policy.yaml"))

    get = ["GET", "HEAD", "OPTIONS"]
    assert ran.status == 0
    assert ran.routes("route", "methods", "recorded", "rules", "identity", "by") == [
        ("/api", get, "depends", ["policy.yaml, line 7 (rule 3)"], "required", ["flask-jwt-extended"]),
        ("/back/office", get, "full", [], "required", ["Flask-HTTPAuth"]),
        ("/customers/<int:number>", ["GET"], "core", ["policy.yaml, line 2 (rule 1)"], "required", ["flask-login"]),
        ("/customers/<int:number>", ["HEAD", "OPTIONS"], "full", [], "required", ["flask-login"]),
        ("/customers/<int:number>", ["OPTIONS", "POST"], "full", [], "possible", ["flask-login"]),
        (
            "/files/<path:name>",
            get,
            "skip",
            ["policy.yaml, line 5 (rule 2)"],
            "possible",
            ["Flask-HTTPAuth", "flask-login"],
        ),
    ]


def test_an_application_without_sign_ins_knows_nobody_but_whom_a_trusted_proxy_names(
    folder: Path, coverage: Coverage
) -> None:
    (folder / "shop.py").write_text("from flask import Flask\napp = Flask(__name__)\n")

    alone = coverage("shop:app", "--json", "--fail-on", "nobody")
    proxied = coverage(
        "shop:app",
        "--json",
        "--fail-on=nobody",
        OTEL_AUDIT_TRUSTED_PROXIES="10.0.0.0/8",
        OTEL_AUDIT_ACTOR_HEADER="X-User",
    )

    assert (alone.status, alone.routes("identity", "by")) == (1, [("nobody", [])])
    assert (proxied.status, proxied.routes("identity", "by")) == (0, [("possible", ["proxy header"])])


def test_applications_are_found_within_middlewares_mounts_and_factories(folder: Path, coverage: Coverage) -> None:
    (folder / "shop.py").write_text(
        "from flask import Flask\n"
        "from werkzeug.middleware.dispatcher import DispatcherMiddleware\n"
        "from werkzeug.middleware.proxy_fix import ProxyFix\n"
        "def one(name):\n"
        "    app = Flask(name, static_folder=None)\n"
        "    app.add_url_rule('/' + name, name, lambda: '')\n"
        "    return app\n"
        "def create_app():\n"
        "    front = one('front')\n"
        "    front.wsgi_app = DispatcherMiddleware(front.wsgi_app, {'/back': ProxyFix(one('office'))})\n"
        "    return ProxyFix(front)\n"
    )
    (folder / "policy.yaml").write_text("rules:\n  - path: /back/**\n    action: skip\n")

    ran = coverage("shop:create_app()", "--json", OTEL_AUDIT_POLICY="policy.yaml")

    assert ran.routes("route", "recorded") == [("/back/office", "skip"), ("/front", "full")]


def test_a_door_that_the_application_has_replaced_is_noticed(folder: Path, coverage: Coverage) -> None:
    (folder / "shop.py").write_text(
        "from flask import Flask\n"
        "app = Flask(__name__)\n"
        "from flask.app import Flask\n"
        "Flask.__call__ = lambda self, environ, start_response: self.wsgi_app(environ, start_response)\n"
    )
    (folder / "wrapped.py").write_text(
        "import functools\n"
        "from flask.app import Flask\n"
        "app, call = Flask(__name__), Flask.__call__\n"
        "Flask.__call__ = functools.wraps(call)(lambda self, *rest: call(self, *rest))\n"
    )

    replaced = coverage("shop:app", "--json", "--fail-on", "uncovered")
    wrapped = coverage("wrapped:app", "--json", "--fail-on", "uncovered")

    assert (replaced.status, replaced.routes("recorded")) == (1, [("no",)])
    assert "flask 3.1.3: the application has replaced flask.Flask.__call__" in replaced.found["uncovered"]
    assert (wrapped.status, wrapped.routes("recorded")) == (0, [("full",)])


def test_a_subclass_with_a_door_of_its_own_is_noticed(folder: Path, coverage: Coverage) -> None:
    (folder / "shop.py").write_text(
        "from flask import Flask\n"
        "class Own(Flask):\n"
        "    def wsgi_app(self, environ, start_response):\n"
        "        return [b'']\n"
        "    __call__ = wsgi_app\n"
        "class Polite(Flask):\n"
        "    def __call__(self, environ, start_response):\n"
        "        return super().__call__(environ, start_response)\n"
        "own, polite = Own(__name__), Polite(__name__)\n"
    )

    assert coverage("shop:own", "--json").routes("recorded") == [("no",)]
    assert coverage("shop:polite", "--json").routes("recorded") == [("full",)]
