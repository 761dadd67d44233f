"""Which frameworks and drivers are installed, which of them are hooked, and why not."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Literal, TypeAlias

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts

HOOKED: dict[str, str] = {
    "django": "otel_audit_django",
    "flask": "otel_audit_flask",
    "psycopg": "otel_audit_psycopg",
    "sqlite3": "otel_audit_sqlite3",
}
"""Framework or driver, and the entry point that hooks it."""

KNOWN: dict[str, str] = {
    "aiohttp": "aiohttp",
    "aiomysql": "aiomysql",
    "aiopg": "aiopg",
    "aiosqlite": "aiosqlite",
    "asyncpg": "asyncpg",
    "bottle": "bottle",
    "cassandra-driver": "cassandra",
    "celery": "celery",
    "elasticsearch": "elasticsearch",
    "falcon": "falcon",
    "fastapi": "fastapi",
    "litestar": "litestar",
    "mysql-connector-python": "mysql.connector",
    "mysqlclient": "MySQLdb",
    "oracledb": "oracledb",
    "psycopg2": "psycopg2",
    "psycopg2-binary": "psycopg2",
    "pymongo": "pymongo",
    "pymssql": "pymssql",
    "pymysql": "pymysql",
    "pyodbc": "pyodbc",
    "pyramid": "pyramid",
    "quart": "quart",
    "redis": "redis",
    "sanic": "sanic",
    "sqlalchemy": "sqlalchemy",
    "starlette": "starlette",
    "tornado": "tornado",
}
"""Distributions that serve requests or reach data, that this version does not hook, and their modules."""

_INSTEAD = {"psycopg2": "; what goes through psycopg 3 does, which Django takes where it can import it"}
"""By module, what there is besides."""

Why: TypeAlias = Literal["", "no instrumentation", "disabled", "unsupported", "incomplete", "too early", "replaced"]


@dataclass(frozen=True, slots=True)
class Library:
    """One installed framework or driver."""

    name: str
    version: str
    module: str
    why: Why = ""
    """Empty where it is hooked."""
    detail: str = ""
    """The same for people."""
    do: str = ""
    """What to do now; empty where there is nothing to."""

    @property
    def is_hooked(self) -> bool:
        """Whether what goes through it leaves an event."""
        return not self.why


def installed_libraries(environ: Mapping[str, str]) -> Iterator[Library]:
    """Every framework and driver that is known and installed, by name; those first that this version hooks."""
    disabled = {name.strip() for name in environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    hooks = {hook.name: hook for hook in entry_points(group="opentelemetry_instrumentor")}
    for name, hook_name in HOOKED.items():
        installed = installed_version(name)
        if installed is not None:
            yield _with_hook(Library(name, installed, name), hook_name, hooks.get(hook_name), disabled)
    for name, module in KNOWN.items():
        installed = installed_version(name)
        if installed is not None:
            detail = f"what goes through it leaves no event of its own{_INSTEAD.get(module, '')}"
            yield Library(name, installed, module, "no instrumentation", detail)


def with_failures(library: Library, failures: Mapping[str, str]) -> Library:
    """*library*, not hooked where one of *failures*, see `capture.hooking.failed_hooks`, is about it."""
    own = {library.module, HOOKED.get(library.name)}
    why = [f"{name}: {said}" for name, said in failures.items() if own & {name, name.partition(".")[0]}]
    if not why or not library.is_hooked:
        return library
    return replace(
        library,
        why="incomplete",
        detail=f"its hooks cannot be put in place ({'; '.join(why)})",
        do="Install a version that otel-audit knows, or a newer otel-audit.",
    )


def installed_version(library: str) -> str | None:
    """The version of an installed distribution, or of the standard library's sqlite3; None without it."""
    if library == "sqlite3":
        return f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _with_hook(library: Library, name: str, hook: EntryPoint | None, disabled: Collection[str]) -> Library:
    if hook is None:
        return replace(
            library, why="incomplete", detail=f"entry point {name} is missing", do="Install otel-audit anew."
        )
    # `*` is for traces: `autoload` puts ours in place all the same
    if name in disabled:
        return replace(
            library,
            why="disabled",
            detail="OTEL_PYTHON_DISABLED_INSTRUMENTATIONS says so",
            do=f"Take {name} out of OTEL_PYTHON_DISABLED_INSTRUMENTATIONS.",
        )
    try:
        supported: Collection[str] = hook.load()().instrumentation_dependencies()
    except ImportError as error:
        return replace(
            library, why="incomplete", detail=f"{name} cannot be loaded ({error})", do="Install otel-audit anew."
        )
    conflict = get_dependency_conflicts(supported)
    if conflict is not None:
        return replace(
            library,
            why="unsupported",
            detail=f"it is outside of the supported range, {conflict.required}",
            do="Install a version within it.",
        )
    return library
