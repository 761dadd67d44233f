"""Looks at what surrounds it: the frameworks and drivers that are installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version

from otel_audit.cli.doctor.look import Look

HOOKED: dict[str, str] = {
    "django": "otel_audit_django",
    "flask": "otel_audit_flask",
    "sqlite3": "otel_audit_sqlite3",
}
"""Framework or driver, and the entry point that hooks it."""

KNOWN = (
    "aiohttp", "aiomysql", "aiopg", "aiosqlite", "asyncpg", "bottle", "celery", "falcon",
    "fastapi", "litestar", "mysqlclient", "mysql-connector-python", "oracledb", "psycopg", "psycopg2",
    "psycopg2-binary", "pymongo", "pymssql", "pymysql", "pyodbc", "pyramid", "quart", "redis", "sanic",
    "sqlalchemy", "starlette", "tornado",
)  # fmt: skip
"""Distributions that serve requests or reach data, and that this version does not hook."""


def look_at_hooks(environ: Mapping[str, str]) -> Iterator[Look]:
    """Which installed frameworks and drivers are recorded, and which are not?"""
    disabled = {name.strip() for name in environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    hooks = {hook.name: hook for hook in entry_points(group="opentelemetry_instrumentor")}
    for library, name in HOOKED.items():
        installed = _version(library)
        if installed is not None:
            yield _hooked(f"{library} {installed}", name, hooks.get(name), disabled)
    for library in KNOWN:
        installed = _version(library)
        if installed is not None:
            what = f"{library} {installed}"
            yield Look(
                "hooks", what, "note", "installed, not hooked: what goes through it leaves no event of its own"
            )
    if not any(True for hook in entry_points(group="opentelemetry_pre_instrument") if hook.name == "otel_audit"):
        do = "Install otel-audit anew: pip install --force-reinstall otel-audit."
        yield Look("hooks", "opentelemetry-instrument", "wrong", "does not find otel-audit: no entry point", do)
    elif _version("opentelemetry-instrumentation") is None:
        do = "pip install opentelemetry-instrumentation"
        yield Look("hooks", "opentelemetry-instrument", "wrong", "is not installed", do)
    else:
        yield Look("hooks", "opentelemetry-instrument", "ok", "starts auditing with the application")


def _hooked(what: str, name: str, hook: EntryPoint | None, disabled: set[str]) -> Look:
    if hook is None:
        return Look(
            "hooks", what, "wrong", f"not hooked: entry point {name} is missing", "Install otel-audit anew."
        )
    if name in disabled or "*" in disabled:
        do = f"Take {name} out of OTEL_PYTHON_DISABLED_INSTRUMENTATIONS."
        return Look("hooks", what, "wrong", "not hooked: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS says so", do)
    return Look("hooks", what, "ok", "hooked")


def _version(library: str) -> str | None:
    if library == "sqlite3":
        return f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        return version(library)
    except PackageNotFoundError:
        return None
