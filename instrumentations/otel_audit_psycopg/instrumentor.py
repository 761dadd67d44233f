"""The instrumentor: opens psycopg's doors to auditing, and closes them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from otel_audit.capture.hooking import hook_when_imported
from otel_audit.capture.instrumentor import AuditInstrumentor


class PsycopgAuditInstrumentor(AuditInstrumentor):
    """Records every statement that goes through psycopg 3, with and without asyncio.

    The doors are methods of psycopg's own public classes, opened when psycopg is first imported: so they hold for
    subclasses, pools, the application's own cursor factories, for connections that were made before, and for
    what was imported by name.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """The psycopg whose doors these are."""
        return ("psycopg >= 3.2",)

    def replaced(self) -> tuple[str, ...]:
        """The doors that somebody has replaced since, so that what goes through them is not recorded."""
        import sys

        doors = sys.modules.get("otel_audit_psycopg.doors")
        return () if doors is None else doors.replaced_doors()

    def _instrument(self, **_: Any) -> None:
        # a process that never imports psycopg pays nothing for it (import psycopg: 0.15 s)
        _State.is_wanted = True
        hook_when_imported("psycopg", _open)

    def _uninstrument(self, **_: Any) -> None:
        _State.is_wanted = False
        import sys

        doors = sys.modules.get("otel_audit_psycopg.doors")
        if doors is not None:
            doors.close_doors()


class _State:
    is_wanted = False


def _open(_: object) -> None:
    if _State.is_wanted:
        from otel_audit_psycopg.doors import open_doors

        open_doors()
