"""Secrets planted wherever a request or a query can carry one, in a real application under gunicorn."""

from __future__ import annotations

import base64
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from tests.autoload.servers import Spool, Start

SECRET = "hunter2-Tr0ub4dor"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzZWNyZXQtc3ViamVjdCJ9.c2lnbmF0dXJlLXNlY3JldA"
EMAIL = "carol.secret@example.org"
BASIC = base64.b64encode(f"{SECRET}:{SECRET}".encode()).decode()
PLANTED = (SECRET, JWT, EMAIL, BASIC, "secret-subject", urllib.parse.quote(EMAIL))

APPLICATION = f"""
import sqlite3
import flask
import flask_httpauth
import flask_login

app = flask.Flask(__name__)
app.secret_key = {SECRET!r}
auth = flask_httpauth.HTTPBasicAuth()
auth.verify_password(lambda name, password: None)
flask_login.LoginManager(app)


@app.route("/form", methods=["POST"])
def form():
    return flask.request.form["password"]


@app.post("/json")
def json():
    return flask.request.get_json()


@app.route("/people/<who>")
def people(who):
    flask.session["password"] = {SECRET!r}
    return "ok"


@app.get("/bug")
def bug():
    raise ValueError({SECRET!r})


@app.get("/query")
def query():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE person (name TEXT, mail TEXT)")
    connection.execute("INSERT INTO person VALUES (?, ?)", ({SECRET!r}, {EMAIL!r}))
    connection.execute("SELECT * FROM person WHERE name = :name", {{"name": {SECRET!r}}}).fetchall()
    connection.execute("SELECT * FROM person WHERE name = '{SECRET}' OR mail IN ('{EMAIL}', x'00') -- {SECRET}")
    connection.executescript("INSERT INTO person VALUES ('{SECRET}', '{JWT}'); /* {EMAIL} */")
    try:
        connection.execute("SELECT '{SECRET}' FROM no_such_table WHERE '{EMAIL}")
    except sqlite3.OperationalError:
        pass
    return "ok"


app.add_url_rule("/basic", "basic", auth.login_required(lambda: "basic"))
"""

# method, path, headers, body
REQUESTS: list[tuple[str, str, dict[str, str], bytes | None]] = [
    ("GET", f"/people/7?password={SECRET}&{EMAIL}", {}, None),
    ("GET", "/people/7", {"Cookie": f"session={SECRET}", "X-Api-Key": SECRET, "Referer": f"/?{SECRET}"}, None),
    ("GET", "/people/7", {"Authorization": f"Bearer {JWT}"}, None),
    ("GET", "/people/7", {"traceparent": SECRET, "X-Forwarded-For": SECRET, "Forwarded": f"for={SECRET}"}, None),
    ("GET", f"/people/{JWT}", {}, None),
    ("GET", f"/people/{EMAIL}", {}, None),
    ("GET", f"/nothing/{JWT}/{EMAIL}", {}, None),
    ("GET", "/basic", {"Authorization": f"Basic {BASIC}"}, None),
    ("POST", "/form", {"Content-Type": "application/x-www-form-urlencoded"}, f"password={SECRET}".encode()),
    ("POST", "/json", {"Content-Type": "application/json"}, f'{{"password": "{SECRET}"}}'.encode()),
    ("GET", "/bug", {}, None),
    ("GET", "/query", {}, None),
]


def test_a_planted_secret_is_nowhere_in_the_spool_nor_in_our_lines_of_the_servers_log(
    instrument: Start, state: Spool, tmp_path: Path
) -> None:
    (tmp_path / "folder" / "app.py").write_text(APPLICATION)
    program = instrument("gunicorn", "--bind", "127.0.0.1:0", "app:app")
    for method, path, headers, body in REQUESTS:
        request = urllib.request.Request(program.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                response.read()
        except urllib.error.HTTPError as error:
            error.close()
    assert program.stop() == 0

    assert len(state.paths()) == len(REQUESTS)
    assert len(state.records("db.query")) >= 6
    assert SECRET in program.log  # the application's own traceback, which is not ours
    ours = [line for line in program.log.splitlines() if "otel-audit" in line or "otel_audit" in line]
    # paths of our own modules stand in the application's traceback; a secret stands on lines of its own there
    said = "\n".join(ours).encode()
    for file in state.directory.rglob("*"):
        said += file.read_bytes() if file.is_file() else file.name.encode()
    for secret in PLANTED:
        assert secret.lower().encode() not in said.lower(), secret
    state.assert_verified()
