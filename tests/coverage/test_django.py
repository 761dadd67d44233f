"""Django: a real project's resolver, its admin, its models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.coverage.conftest import Coverage, Ran

PROJECT = "tests.instrumentations.django_project"
POLICY = """\
rules:
  - path: /admin/**
    detail: core
  - path: /people/alice
    action: skip
rows:
  - model: shop.Invoice
"""


@pytest.fixture
def ran(folder: Path, coverage: Coverage) -> Ran:
    (folder / "policy.yaml").write_text(POLICY)
    return coverage(
        "--json",
        "--fail-on=uncovered",
        DJANGO_SETTINGS_MODULE=f"{PROJECT}.settings",
        SHOP_FOLDER=str(folder),
        OTEL_AUDIT_POLICY="policy.yaml",
    )


def test_a_projects_routes_and_models_are_surveyed(ran: Ran, folder: Path) -> None:
    routes: dict[str, dict[str, Any]] = {route["route"]: route for route in ran.found["routes"]}
    rows = {model["model"]: (model["rows"], model["admin"]) for model in ran.found["models"]}

    assert (ran.status, ran.found["uncovered"]) == (0, [])
    assert {
        path: tuple(routes[path][member] for member in ("endpoint", "methods", "recorded", "identity"))
        for path in (
            "/customers/<int:number>",
            "/people/(?P<who>[^/]+)$",
            "/private",
            "/api",
            "/hijack/acquire/",
            "/admin/login/",
            "/admin/shop/invoice/<path:object_id>/change/",
        )
    } == {
        "/customers/<int:number>": (f"{PROJECT}.views.customer", [], "full", "possible"),
        "/people/(?P<who>[^/]+)$": (f"{PROJECT}.views.person", [], "depends", "possible"),
        "/private": (f"{PROJECT}.views.private", [], "full", "required"),
        "/api": (f"{PROJECT}.views.Api", ["GET", "OPTIONS"], "full", "required"),
        "/hijack/acquire/": ("hijack:acquire", ["OPTIONS", "POST"], "full", "required"),
        "/admin/login/": ("admin:login", [], "core", "possible"),
        "/admin/shop/invoice/<path:object_id>/change/": ("admin:shop_invoice_change", [], "core", "required"),
    }
    assert (rows["shop.Invoice"], rows["auth.User"], rows["sessions.Session"]) == (
        ("policy", True),
        ("account", True),
        ("no", False),
    )
    assert all(model["statements"] and model["driver"] == "sqlite3" for model in ran.found["models"])
    assert not (folder / "shop.sqlite3").exists()


def test_what_a_disabled_hook_leaves_unaudited_is_named(folder: Path, coverage: Coverage) -> None:
    ran = coverage(
        f"{PROJECT}.wsgi:application",
        "--json",
        "--fail-on=uncovered",
        DJANGO_SETTINGS_MODULE=f"{PROJECT}.settings",
        SHOP_FOLDER=str(folder),
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="otel_audit_sqlite3",
    )

    assert (ran.status, {model["statements"] for model in ran.found["models"]}) == (1, {False})
    assert {route["recorded"] for route in ran.found["routes"]} == {"full"}
    assert "model shop.Invoice: sqlite3 is not hooked" in ran.found["uncovered"]


def test_many_models_with_one_reason_are_one_line(folder: Path, coverage: Coverage) -> None:
    ran = coverage(
        DJANGO_SETTINGS_MODULE=f"{PROJECT}.settings",
        SHOP_FOLDER=str(folder),
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="otel_audit_sqlite3",
    )

    (line,) = (line for line in ran.out.splitlines() if "sqlite3 is not hooked" in line)
    assert re.fullmatch(r"  models admin.LogEntry(, [\w.]+){4} and \d+ more: sqlite3 is not hooked", line)


GUARDED = """\
from django.contrib.auth.decorators import login_required, permission_required, user_passes_test
from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin, UserPassesTestMixin
from django.urls import path
from django.views import View

class Signed(LoginRequiredMixin, View): pass
class Permitted(PermissionRequiredMixin, View): permission_required = "shop.see"
class Own(Permitted):
    def has_permission(self): return True
class Both(LoginRequiredMixin, Own): pass
class Tested(UserPassesTestMixin, View):
    def test_func(self): return True

views = {kind.__name__: kind.as_view() for kind in (Signed, Permitted, Own, Both, Tested)}
views["decorated"] = login_required(print)
views["permitted"] = permission_required("shop.see")(print)
views["tested"] = user_passes_test(lambda user: True)(print)
urlpatterns = [path(name, view) for name, view in views.items()]
"""
SITE = """\
SECRET_KEY = "k"
ROOT_URLCONF = "urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
"""


def test_a_test_of_the_projects_own_may_let_nobody_in(folder: Path, coverage: Coverage) -> None:
    (folder / "site_settings.py").write_text(SITE)
    (folder / "urls.py").write_text(GUARDED)

    ran = coverage("--json", DJANGO_SETTINGS_MODULE="site_settings")

    assert dict(ran.routes("route", "identity")) == {
        "/Signed": "required",
        "/Permitted": "required",
        "/Own": "possible",
        "/Both": "required",
        "/Tested": "possible",
        "/decorated": "required",
        "/permitted": "required",
        "/tested": "possible",
    }
