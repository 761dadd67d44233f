"""What could not be recorded and why: the alarm at once, and a gap in the log when it can say so itself.

Spool stage. One gap record for each reason, written when there is room again: "audit.gap" in the evidence format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from otel_audit.errors import IdentityError
from otel_audit.evidence.members import timestamp
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.segment import NoSpace

if TYPE_CHECKING:
    from otel_audit.spool.live import LiveStream

GapReason = Literal["disk-full", "write-failed", "no-identity", "too-large", "invalid"]
WHAT_NOW: dict[GapReason, str] = {
    "disk-full": "make room",
    "write-failed": "look at the disk (dmesg)",
    "no-identity": "mend OTEL_AUDIT_IDENTITY (otel-audit doctor tests it)",
    "too-large": "a record has 65,536 bytes at most, have the application put less into the event",
    "invalid": "mend the call that emits it, which the line before names",
}
"""For whoever reads that an event was lost."""


@dataclass(slots=True)
class _Gap:
    count: int
    from_unix_nano: int
    to_unix_nano: int


class Gaps:
    """Events lost and not yet told; used under the writer's lock."""

    def __init__(self) -> None:
        self.by_reason: dict[GapReason, _Gap] = {}
        """Empty when there is nothing to tell."""

    def add(self, reason: GapReason, from_unix_nano: int, to_unix_nano: int) -> None:
        """Count one event that happened at the first time and was lost at the second."""
        gap = self.by_reason.setdefault(reason, _Gap(0, min(from_unix_nano, to_unix_nano), to_unix_nano))
        gap.count += 1
        gap.from_unix_nano = min(gap.from_unix_nano, from_unix_nano)
        gap.to_unix_nano = max(gap.to_unix_nano, to_unix_nano)

    def write(self, live: LiveStream, alarms: Alarms) -> None:
        """Tell each gap in the stream.

        Raises:
            OSError: one could not be written (`NoSpace`: the stream goes on); it and the rest are owed still.
        """
        for reason, gap in list(self.by_reason.items()):
            context = {
                "audit.gap.count": gap.count,
                "audit.gap.from": timestamp(gap.from_unix_nano),
                "audit.gap.to": timestamp(gap.to_unix_nano),
                "audit.reason": reason,
            }
            live.write_lifecycle("audit.gap", context)
            del self.by_reason[reason]
            alarms.over(reason, "events are recorded again")
            alarms.over("spool", "the spool can be written to again")


class StillDown(OSError):  # noqa: N818 - a state, not a fault of its own
    """No stream could be opened a moment ago; not tried again yet."""

    def __init__(self, because: GapReason) -> None:
        super().__init__(f"no stream could be opened a moment ago ({because})")
        self.because: GapReason = because


def reason_of(error: Exception) -> GapReason:
    """What a gap says of events that were lost by *error*."""
    if isinstance(error, StillDown):
        return error.because
    if isinstance(error, IdentityError):
        return "no-identity"
    return "disk-full" if isinstance(error, NoSpace) else "write-failed"


def note(error: Exception, alarms: Alarms) -> None:
    """Raise the alarm that *error* calls for."""
    if isinstance(error, StillDown):
        alarms.repeat()
    elif isinstance(error, IdentityError):
        alarms.note(
            "identity",
            f"{error}; no new stream can be opened, and events are lost unless one is open still: "
            "otel-audit doctor tests the identity",
        )
    elif isinstance(error, OSError):
        what = (
            "is full: events are being lost, make room, or see why nothing is delivered and removed; limits "
            "are OTEL_AUDIT_SPOOL_MAX_BYTES and OTEL_AUDIT_SPOOL_RESERVE"
            if isinstance(error, NoSpace)
            else "cannot be written: events are being lost, look at the disk and at who owns OTEL_AUDIT_DIR"
        )
        alarms.note("spool", f"{error.filename or 'the spool'} {what} ({error.strerror})")
