"""Delivers a whole spool from outside of the applications: what `otel-audit ship` and `otel-audit recover` run.

Export stage. The same loop as a process's own thread has, over every service of the directory: for `ship`, streams
that living processes write included, after those of dead ones were ended, so that their last records can leave; for
`recover`, which has just ended them, only what has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from otel_audit.errors import AuditError
from otel_audit.evidence.rfc3339 import NANOS_PER_SECOND, unix_nanos
from otel_audit.export.delivering import Delivering
from otel_audit.export.loop import Loop
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.delivered import quarantined, read_cursor
from otel_audit.spool.ends import read_end
from otel_audit.spool.layout import segments, service_directory, service_names, stream_directories
from otel_audit.spool.tail import read_tail

RECOVER_EVERY_S = 30.0
_TRIES_ONCE = 3
_LONGEST_SLEEP_S = 0.5


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a spool still holds for its sink."""

    records: int
    """Sealed, or adopted, and not acknowledged; those in quarantine not counted."""
    streams: int
    quarantined: int
    oldest_age_s: float
    """Since the last acknowledgement of the stream that waits longest, or since it was last written to."""

    @property
    def is_nothing(self) -> bool:
        """Whether everything that may leave was acknowledged."""
        return not self.records and not self.quarantined


class Shipper:
    """Runs until told to stop; used by one thread."""

    def __init__(
        self,
        delivering: Delivering,
        directory: Path,
        recover: Callable[[], object] | None,
        alarms: Alarms,
    ) -> None:
        """*recover* ends the streams of dead processes; it may raise `AuditError` and OSError.

        None: that is done, and only streams that have ended are delivered.
        """
        self._directory = directory
        self._recover = recover
        self._alarms = alarms
        self._recover_at_s = 0.0
        self._loop = Loop(delivering, directory, None, alarms, ended_only=recover is None)

    @property
    def delivered_records(self) -> int:
        """Records that the sink has acknowledged so far; those sent twice count twice."""
        return self._loop.drain.courier.tally.delivered_records

    def run(self, stop: threading.Event, *, once: bool = False) -> None:
        """Deliver until *stop* is set; *once*: until nothing is left, or the sink fails three times running."""
        self._run(stop, lambda: once and (self._loop.drain.failures >= _TRIES_ONCE or self._is_through()))

    def finish(self, stop: threading.Event) -> None:
        """Deliver until nothing waits, whoever delivers it, and each refused record was tried again; or *stop*."""
        self._run(stop, lambda: not self._loop.has_refused and not self.what_waits().records)

    def what_waits(self) -> Waiting:
        """Count what is still to be delivered by this shipper, or by whoever is quicker.

        Raises:
            OSError: the spool cannot be read.
        """
        return what_waits(self._directory, ended_only=self._recover is None)

    def _run(self, stop: threading.Event, is_enough: Callable[[], bool]) -> None:
        from opentelemetry.instrumentation.utils import suppress_instrumentation

        loop = self._loop
        try:
            with suppress_instrumentation():
                while not stop.is_set():
                    self._recover_if_due()
                    idle_s = loop.turn()
                    self._alarms.repeat()
                    if idle_s <= 0:
                        continue
                    if is_enough():
                        return
                    stop.wait(min(idle_s, _LONGEST_SLEEP_S))
        finally:
            loop.close()

    def _is_through(self) -> bool:
        """Whether nothing more can be done now: no stream failed, none is found, each refused record was tried."""
        loop = self._loop
        return not loop.drain.failures and not loop.has_refused and not loop.finds_more()

    def _recover_if_due(self) -> None:
        if self._recover is None or time.monotonic() < self._recover_at_s:
            return
        self._recover_at_s = time.monotonic() + RECOVER_EVERY_S
        try:
            self._recover()
        except (AuditError, OSError) as error:
            self._alarms.note(
                "recover",
                f"streams of dead processes cannot be ended, nor their last records delivered: {error}. Run this "
                "as the service's user, with its environment; it is tried again",
            )
        else:
            self._alarms.over("recover", "streams of dead processes can be ended again")


def what_waits(directory: Path, now_s: float | None = None, *, ended_only: bool = False) -> Waiting:
    """Count what a spool still holds for its sink; *ended_only*: in streams to which nothing will be added.

    Raises:
        OSError: it cannot be read.
    """
    now_s = time.time() if now_s is None else now_s
    records = streams = 0
    oldest_s = now_s
    for service in service_names(directory):
        for stream in stream_directories(service_directory(directory, service)):
            count, since_s = _undelivered(stream, ended_only=ended_only)
            if count:
                records += count
                streams += 1
                oldest_s = min(oldest_s, since_s)
    return Waiting(records, streams, len(quarantined(directory)), max(0.0, now_s - oldest_s))


def _undelivered(stream: Path, *, ended_only: bool) -> tuple[int, float]:
    """How many records of a stream may leave and were not acknowledged, and since when that is so (Unix time)."""
    end = read_end(stream)
    try:
        if end is None and ended_only:
            return 0, 0.0
        if end is None:
            tail = read_tail(stream)
            last = 0 if tail is None else tail.signed_seq
        else:
            last = end.seq
        cursor = read_cursor(stream)
        if cursor.seq >= last:
            return 0, 0.0
        if cursor.at:
            since_s = unix_nanos(cursor.at) / NANOS_PER_SECOND
        else:
            since_s = min((path.stat().st_mtime for path in segments(stream)), default=time.time())
    except FileNotFoundError:  # retired meanwhile: it was delivered
        return 0, 0.0
    return last - cursor.seq, since_s
