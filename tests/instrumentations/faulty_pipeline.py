"""What an instrumentation is given when nothing can be recorded."""

from __future__ import annotations

from collections.abc import Callable

from otel_audit.errors import NoRoom, RecordingFailed
from otel_audit.event import AuditEvent
from otel_audit.receipt import Receipt


class FaultyPipeline:
    """A pipeline that reserves, records and fails as it is told."""

    def __init__(self) -> None:
        self.is_closed = True
        self.has_room = True
        self.failing: Callable[[AuditEvent], bool] = lambda event: False
        self.error: Exception = RecordingFailed("the disk is full")
        self.reserved = 0
        self.events: list[AuditEvent] = []

    def record(self, event: AuditEvent) -> Receipt:
        if self.failing(event):
            raise self.error
        self.events.append(event)
        return Receipt(recorded=True)

    async def record_async(self, event: AuditEvent) -> Receipt:
        return self.record(event)

    def admit(self) -> Callable[[], None] | None:
        if not self.is_closed:
            return None
        if not self.has_room:
            raise NoRoom("the spool is full")
        self.reserved += 1
        return self._release

    def _release(self) -> None:
        self.reserved -= 1


def every_event(event: AuditEvent) -> bool:
    """For `FaultyPipeline.failing`."""
    return True
