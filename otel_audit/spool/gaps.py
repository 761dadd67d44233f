"""What could not be recorded, until the log can say so itself.

Spool stage. One gap record for each reason, written when there is room again: "audit.gap" in the evidence format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from otel_audit.evidence.members import Members, timestamp

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

    def contexts(self) -> list[tuple[GapReason, Members]]:
        """The context of each gap record that is owed."""
        return [
            (
                reason,
                {
                    "audit.gap.count": gap.count,
                    "audit.gap.from": timestamp(gap.from_unix_nano),
                    "audit.gap.to": timestamp(gap.to_unix_nano),
                    "audit.reason": reason,
                },
            )
            for reason, gap in self.by_reason.items()
        ]

    def remove(self, reason: GapReason) -> None:
        """The record was written."""
        del self.by_reason[reason]
