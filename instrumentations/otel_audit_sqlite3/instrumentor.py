"""The instrumentor: opens sqlite3's doors to auditing, and closes them."""

from __future__ import annotations

import _sqlite3
import functools
import sqlite3
import sqlite3.dbapi2
import sys
from collections.abc import Callable, Collection, Iterator
from types import FunctionType
from typing import Any

from otel_audit.capture.instrumentor import AuditInstrumentor
from otel_audit_sqlite3.connection import AuditedConnection, PlainConnection, audited_connection
from otel_audit_sqlite3.cursor import AuditedCursor, PlainCursor
from otel_audit_sqlite3.recording import READER, Switch, as_caller

_MODULES: tuple[Any, ...] = (sqlite3, sqlite3.dbapi2)
_FACTORY_POSITION = 5
"""Of `factory` among the positional arguments of `sqlite3.connect`."""


class SQLite3AuditInstrumentor(AuditInstrumentor):
    """Records every statement that goes through the standard library's sqlite3.

    `sqlite3.connect`, `sqlite3.Connection` and `sqlite3.Cursor` name audited subclasses from then on. What was
    taken from the module before (`from sqlite3 import connect`), and connections opened before, stay unaudited:
    instrument first, as `opentelemetry-instrument` does.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing: the standard library is always there."""
        return ()

    def replaced(self) -> tuple[str, ...]:
        """The doors that somebody has replaced since, so that what goes through them is not recorded."""
        if not Switch.is_on:
            return ()
        return tuple(f"{module.__name__}.connect" for module in _MODULES if not _leads_to_door(module.connect))

    def taken_early(self) -> tuple[str, ...]:
        """Where the unaudited `sqlite3.connect` was taken by name before it was audited."""
        return tuple(sorted(_taken_by_name(_sqlite3.connect)))

    def _instrument(self, **_: Any) -> None:
        doors: dict[int, Callable[..., Any]] = {}
        for module in _MODULES:
            beneath: Callable[..., Any] = module.connect
            if not _is_door(beneath):
                # One function for both modules, where it was one before.
                module.connect = doors.setdefault(id(beneath), _door(beneath))
            module.Connection = AuditedConnection
            module.Cursor = AuditedCursor
        Switch.is_on = True

    def _uninstrument(self, **_: Any) -> None:
        Switch.is_on = False
        for module in _MODULES:
            # Under another's wrapper the door stays, and records nothing.
            if _is_door(module.connect):
                module.connect = module.connect.otel_audit_beneath
            module.Connection = PlainConnection
            module.Cursor = PlainCursor


def _taken_by_name(original: object) -> Iterator[str]:
    """Names, in modules of the application, of sqlite3's own function `connect`."""
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] not in ("sqlite3", "_sqlite3", "opentelemetry"):
            members: dict[str, object] = getattr(module, "__dict__", {})
            yield from (f"{module_name}.{name}" for name, value in list(members.items()) if value is original)


def _is_door(connect: Callable[..., Any]) -> bool:
    """Tell our function from others, also from a wrapt proxy around it, which shows its attributes."""
    return type(connect) is FunctionType and hasattr(connect, "otel_audit_beneath")


def _leads_to_door(connect: Any) -> bool:
    while connect is not None and not _is_door(connect):
        connect = getattr(connect, "__wrapped__", None)
    return connect is not None


def _door(beneath: Callable[..., Any]) -> Callable[..., Any]:
    """`sqlite3.connect` in front of *beneath*, which is CPython's own or another instrumentation's."""

    @functools.wraps(beneath)
    def connect(*args: Any, **kwargs: Any) -> Any:
        if len(args) > _FACTORY_POSITION:
            factory = audited_connection(args[_FACTORY_POSITION])
            args = (*args[:_FACTORY_POSITION], factory, *args[_FACTORY_POSITION + 1 :])
        elif Switch.is_on or "factory" in kwargs:
            kwargs["factory"] = audited_connection(kwargs.get("factory", PlainConnection))
        if Switch.is_on:
            READER.load()
        return as_caller(beneath, args, kwargs, depth=1)

    connect.otel_audit_beneath = beneath  # type: ignore[attr-defined]
    return connect
