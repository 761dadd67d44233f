"""Rows that leave one by one, and the records that they owe before the last of them has left.

Capture stage. A statement whose rows are handed out while they arrive (a stream, a COPY … TO) is recorded when it
is over, with their number. A process that is killed before that must not have handed them all out unrecorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from otel_audit.event import AuditEvent

FIRST_ROWS = 100
"""So many may leave before there is a record: enough for what a page shows, too few for an export."""
FIRST_S = 1.0
"""And only within this time, however few they are."""
GROWTH = 10
"""A further record is due when rows or seconds have grown by this factor: six for a million rows."""


class Leaving:
    """Counts the rows that have left, and says when a record is due before one more does.

    None is due for what is short: at most 100 rows, all of them within a second from the first. Anything else is
    on record before the next row leaves, and again whenever rows or seconds have grown tenfold: the last record of
    a process that was killed says to within a factor of ten how many rows it handed out. Costs 0.2 µs a row.
    """

    __slots__ = ("_clock", "_due_rows", "_due_s", "_first_s", "rows")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.rows = 0
        """How many have left."""
        self._clock = clock
        self._first_s = 0.0
        self._due_rows = FIRST_ROWS
        self._due_s = FIRST_S

    def is_due(self) -> bool:
        """Say whether a record is due before one more row leaves."""
        now_s = self._clock()
        if not self.rows:
            self._first_s = now_s
            return False
        passed_s = now_s - self._first_s
        if self.rows < self._due_rows and passed_s < self._due_s:
            return False
        self._due_rows = max(FIRST_ROWS, self.rows * GROWTH)
        self._due_s = max(FIRST_S, passed_s * GROWTH)
        return True


def under_way(event: AuditEvent) -> AuditEvent:
    """*event*, while nobody knows yet how it will end: outcome `unknown`, `audit.reason` `under-way`."""
    return event._replace(outcome="unknown", context={**(event.context or {}), "audit.reason": "under-way"})
