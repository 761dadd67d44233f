"""Hands a process's sealed records to a log record processor of the OpenTelemetry SDK, in order, whole streams.

Export stage. Records are read back from the spool, never from memory that a crash loses; how far each stream came
stands beside it (`handed`), so that the next process of the service goes on where this one died. Handed on is not
delivered: what the processor does with a record nobody tells us. After each batch it is flushed, so that its own
queue never holds more than that batch.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import orjson
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LogRecordLimits, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import AnyValue

from otel_audit.evidence.canonical import decode
from otel_audit.evidence.record import problem
from otel_audit.evidence.rfc3339 import unix_nanos
from otel_audit.export.outbox import Extent, Line
from otel_audit.export.streams import DiskLines, MemoryLines
from otel_audit.spool.delivered import Cursor, read_cursor
from otel_audit.spool.ends import read_end
from otel_audit.spool.layout import stream_directories, write_durably
from otel_audit.spool.live import LiveStream
from otel_audit.spool.ownership import acquire
from otel_audit.spool.storage import DiskStorage, MemoryStorage
from otel_audit.spool.writer import Writer
from otel_audit.verify.index import expected_attributes

HANDED = "handed"
_LOCK = "handed.lock"

_BATCH_RECORDS = 256
_BATCH_BYTES = 2 << 20
"""What the processor gets between two flushes: half of the stock one's batch of 512, half of gRPC's 4 MiB."""

_LOOK_EVERY_S = 30.0
"""How often streams of other processes are looked for; a crashed one is ended within a minute."""

_LATEST_NANO = 2**64 - 1
_UNLIMITED = LogRecordLimits(*4 * (LogRecordLimits.UNSET,))

_TROUBLE = "handover"
_ONE_WAY = "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT is set, and the log record processor gets none of them"

is_handing_on: ContextVar[bool] = ContextVar("otel_audit_handing_on", default=False)
"""True in whatever the processor does on our account: what is logged there is no event of the application."""


class _HandedLines(DiskLines):
    """A stream's directory with a cursor of its own: handed on is not delivered."""

    def cursor(self) -> Cursor:
        """See `Lines.cursor`; from the beginning where the note cannot be understood."""
        return read_cursor(self.directory, HANDED)

    def save(self, cursor: Cursor) -> None:
        """See `Lines.save`."""
        write_durably(self.directory / HANDED, orjson.dumps(asdict(cursor)))


class _NotFlushed(Exception):  # noqa: N818 - a state of somebody else, not a fault of ours
    """The next processor says that it still holds records of the batch."""


class _Followed:
    """One stream that is being handed on."""

    def __init__(self, lines: _HandedLines | MemoryLines) -> None:
        self.lines = lines
        self.cursor = lines.cursor()
        self.resource: Resource | None = None

    def is_gone(self) -> bool:
        """Whether retention has removed it."""
        return isinstance(self.lines, _HandedLines) and not self.lines.directory.exists()


class Handover:
    """Follows the streams of a service and hands their sealed records to *next_*; any thread may ask it to."""

    def __init__(self, next_: LogRecordProcessor) -> None:
        self.next = next_
        self.forget_parent()

    def forget_parent(self) -> None:
        """At first, and in a forked child, which follows no stream."""
        self._lock = threading.Lock()
        self._followed: dict[str, _Followed] = {}
        self._done: set[str] = set()
        self._opened: dict[str, LiveStream] = {}
        self._looked_at_s = float("-inf")

    def notice(self, live: LiveStream | None) -> None:
        """Follow a stream that this process writes; costs a look into a dictionary."""
        if live is not None and live.stream.id not in self._followed:
            self._opened[live.stream.id] = live

    def look(self) -> None:
        """Have the next `hand_on` look for streams of other processes, however long ago that was."""
        self._looked_at_s = float("-inf")

    def hand_on(self, writer: Writer, timeout_s: float) -> bool:
        """Hand on all that is sealed; False when *timeout_s* passed, or something failed (an alarm says what)."""
        deadline_s = time.monotonic() + timeout_s
        if not self._lock.acquire(timeout=max(0.0, timeout_s)):
            return False
        token = is_handing_on.set(True)
        try:
            is_done = self._try(writer, partial(self._follow, writer))
            for stream in list(self._followed):
                is_done &= self._try(writer, partial(self._hand_on, stream, deadline_s))
        finally:
            is_handing_on.reset(token)
            self._lock.release()
        if is_done:
            writer.alarms.over(_TROUBLE, "sealed records are handed on again")
        return is_done

    def _try(self, writer: Writer, step: Callable[[], bool]) -> bool:
        try:
            return step()
        except OSError as error:
            writer.alarms.note(
                _TROUBLE,
                f"{error}: sealed records cannot be handed on: look at the disk. Nothing is lost; it is retried",
            )
        except _NotFlushed:
            name = type(self.next).__name__
            writer.alarms.note(
                _TROUBLE,
                f"{name} says that it could not flush: see where it exports to; records are handed to it again",
            )
        except Exception as error:  # noqa: BLE001 - the next processor is anybody's code
            name = type(self.next).__name__
            writer.alarms.note(
                _TROUBLE, f"{name} raised {error!r}: mend it; nothing is lost, records are handed to it again"
            )
        return False

    def _follow(self, writer: Writer) -> bool:
        storage = writer.storage
        self.notice(writer.live)
        while self._opened:
            self._take_own(writer, self._opened.popitem()[1])
        if isinstance(storage, DiskStorage) and time.monotonic() - self._looked_at_s >= _LOOK_EVERY_S:
            self._looked_at_s = time.monotonic()
            for directory in stream_directories(storage.service_directory):
                if directory.name not in self._followed and directory.name not in self._done:
                    self._take_ended(directory)
        return True

    def _take_own(self, writer: Writer, live: LiveStream) -> None:
        storage = writer.storage
        if isinstance(storage, MemoryStorage):
            if live.delivery is None:
                self._followed[live.stream.id] = _Followed(MemoryLines(storage, live))
            else:
                writer.alarms.note("handover-memory", f"records in memory leave by one way only: {_ONE_WAY}")
        elif isinstance(storage, DiskStorage):
            directory = storage.directory_of(live.stream.id)
            ownership = acquire(directory, _LOCK)
            if ownership is not None:
                self._followed[live.stream.id] = _Followed(_HandedLines(directory, ownership, live))

    def _take_ended(self, directory: Path) -> None:
        """Follow what a process that is gone left; living ones hand on their own."""
        end = read_end(directory)
        if end is None:
            return
        ownership = acquire(directory, _LOCK)
        if ownership is None:
            return
        followed = _Followed(_HandedLines(directory, ownership))
        if end.seq <= followed.cursor.seq:
            ownership.release()
            self._done.add(directory.name)
        else:
            self._followed[directory.name] = followed

    def _hand_on(self, stream: str, deadline_s: float) -> bool:
        followed = self._followed[stream]
        while True:
            extent = followed.lines.extent()
            if extent is None or followed.cursor.seq >= extent.seq:
                if (extent is not None and extent.is_whole) or followed.is_gone():
                    del self._followed[stream]
                    self._done.add(stream)
                    followed.lines.release()
                return True
            if time.monotonic() >= deadline_s or not self._hand_on_batch(followed, extent):
                return False

    def _hand_on_batch(self, followed: _Followed, extent: Extent) -> bool:
        count = size = 0
        cursor = followed.cursor
        for line in followed.lines.read(cursor):
            seq = cursor.seq + 1
            if seq > extent.seq or count >= _BATCH_RECORDS or size >= _BATCH_BYTES:
                break
            self.next.on_emit(self._log_record(followed, line))
            cursor = Cursor(line.segment, line.end, seq)
            count += 1
            size += len(line.body)
        if cursor.seq > extent.signed_seq:
            self._vouch(followed)
        if not count:
            raise OSError(
                errno.ENODATA, f"stream {followed.lines.stream} ends at {cursor.seq}, {extent.seq} were sealed"
            )
        if self.next.force_flush() is False:
            raise _NotFlushed
        followed.lines.save(cursor)
        followed.cursor = cursor
        return True

    def _vouch(self, followed: _Followed) -> None:
        """Adopted records leave with the recovery that vouches for them; it may go twice ("Recovery")."""
        voucher = followed.lines.voucher()
        if voucher is not None:
            self.next.on_emit(log_record(voucher.lines[-1], resource_of(voucher.opened)))

    def _log_record(self, followed: _Followed, line: Line) -> ReadWriteLogRecord:
        if followed.resource is None:
            first = next(followed.lines.read(Cursor()), line)
            followed.resource = resource_of(first.body)
        return log_record(line.body, followed.resource)


def resource_of(opened: bytes) -> Resource:
    """The resource that a stream's open record declares; none where it is not one."""
    members = _members(opened)
    context: dict[str, Any] = {} if members is None else members.get("context", {})
    return Resource({name: value for name, value in context.items() if not name.startswith("audit.")})


def log_record(body: bytes, resource: Resource) -> ReadWriteLogRecord:
    """A record as the SDK carries it: its bytes as the body, the projection as attributes ("OTLP projection").

    What is no record goes as it stands, without attributes: the verifier names it, and an exporter that cannot
    encode one record loses the whole batch (opentelemetry-exporter-otlp 1.45).
    """
    record = LogRecord(body=body.decode("utf-8", "replace"))
    # not of the context of whoever flushes, which LogRecord takes them from
    record.trace_id, record.span_id = 0, 0
    members = _members(body)
    if members is not None:
        record.attributes = cast("dict[str, AnyValue]", expected_attributes(members))
        record.event_name = members["event"]
        # OTLP has no time before 1970 nor after July 2554; the body says what was meant
        record.timestamp = min(max(0, unix_nanos(members["time"])), _LATEST_NANO)
        record.observed_timestamp = min(max(0, unix_nanos(members["observed"])), _LATEST_NANO)
        record.trace_id = int(members.get("trace_id", "0"), 16)
        record.span_id = int(members.get("span_id", "0"), 16)
    return ReadWriteLogRecord(record, resource, _scope(), _UNLIMITED)


def _members(body: bytes) -> dict[str, Any] | None:
    members = decode(body)
    return None if members is None or problem(members) is not None else members


@cache
def _scope() -> InstrumentationScope:
    return InstrumentationScope("otel-audit", version("otel-audit"))
