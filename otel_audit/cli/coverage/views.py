"""Can it be known who asks? Read from how a view was decorated, without calling it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

_MAX_DEPTH = 50

_GUARDS = {
    "django.contrib.auth.decorators": "django.contrib.auth",
    "django.contrib.admin.views.decorators": "django.contrib.auth",
    "flask_httpauth": "Flask-HTTPAuth",
    "flask_jwt_extended.view_decorators": "flask-jwt-extended",
    "flask_login.utils": "flask-login",
}
"""Module of a decorator that asks who it is, and the name of its extension."""


class Guard(NamedTuple):
    """A decorator that asks who it is."""

    extension: str
    is_strict: bool
    """Turns away whoever is nobody."""


def guards(view: object) -> Iterator[Guard]:
    """The guards around *view*, outermost first."""
    for function in layers(view):
        scope: dict[str, object] = getattr(function, "__globals__", {})
        extension = _GUARDS.get(str(scope.get("__name__")))
        if extension is not None:
            kept = closure(function)
            yield Guard(extension, is_strict=not kept.get("optional") and _is_extensions_own(kept.get("test_func")))


def _is_extensions_own(test: object) -> bool:
    """Whether no test of the project's decides (`user_passes_test`), which may let nobody in as well."""
    return test is None or getattr(test, "__module__", "") in _GUARDS


def layers(view: object) -> Iterator[Any]:
    """*view* and what its decorators wrap, by `functools.wraps`."""
    for _ in range(_MAX_DEPTH):
        yield view
        view = getattr(view, "__wrapped__", None)
        if view is None:
            return


def closure(function: Any) -> dict[str, object]:
    """The variables that *function* has closed over, by name."""
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if code is None or cells is None:
        return {}
    found: dict[str, object] = {}
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    return found
