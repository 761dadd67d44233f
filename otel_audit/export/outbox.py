"""What of one stream is to be delivered next, in order, and how far that came.

Export stage. Only sealed records are taken, and only once they are on disk; "a batch ends with a signed record"
("OTLP projection"). A run without a signature that is longer than a request goes out as several: its seal is on
disk when the first of them leaves, and the cursor moves with each, behind what was acknowledged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson

from otel_audit.evidence.members import timestamp
from otel_audit.export.encoding import Encoder, NotARecord, resource_head, resource_logs
from otel_audit.export.precedence import NAMING, HoldsBack, Named, named_by
from otel_audit.spool.delivered import Cursor

MAX_REQUEST_BYTES = (4 << 20) - (64 << 10)
"""gRPC's default limit of a received message (4 MiB), less room for framing."""

ENOUGH_BYTES = 512 << 10
"""A batch ends with the first signed record behind so many bytes: some 300 records, or a longer run."""

BREATH_RECORDS = 32
"""After so many the interpreter lock is offered to others: a request that waits for it waits 0.3 ms, not 5 ms.

The processor is offered with it: beside eleven busy processes on two cores each offer took 27 ms. So it is made
only where there are other threads; `otel-audit ship` has none.
"""


class Line(NamedTuple):
    """One line of a stream, without its line feed."""

    body: bytes
    segment: str
    end: int
    """Offset just after it, its line feed included."""


class Entry(NamedTuple):
    """One record on its way."""

    body: bytes
    log_record: bytes
    """As a field of a request; empty where the line is no record, and can only be put aside."""
    seq: int
    is_signed: bool
    segment: str
    end: int
    named: tuple[Named, ...] = ()
    """What must have arrived before it leaves."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a stream may leave."""

    seq: int
    """Of the last record that may."""
    is_whole: bool
    """Nothing will follow it."""
    signed_seq: int
    """Records behind this are adopted, and leave with the recovery."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that are sent together."""

    entries: tuple[Entry, ...]
    voucher: bytes
    """The recovery that vouches for adopted records among them, as a part of a request of its own; mostly empty."""


@dataclass(frozen=True, slots=True)
class Voucher:
    """What must leave with the adopted records of a stream."""

    behind: Named
    """The last signed record before `lines`; it must have arrived first."""
    opened: bytes
    """The open record of the stream that they stand in."""
    lines: tuple[bytes, ...]
    """The recovery, behind the unsigned records that it signs with it."""


class Lines(Protocol):
    """Where a stream lies."""

    stream: str

    def extent(self) -> Extent | None:
        """How much may leave, all of it on disk by now; None while that is not known.

        Raises:
            OSError: it cannot be read or synced.
        """
        ...

    def read(self, cursor: Cursor) -> Iterator[Line]:
        """Whole lines behind *cursor*.

        Raises:
            OSError: they cannot be read.
        """
        ...

    def voucher(self) -> Voucher | None:
        """The recovery record of this stream; None where there is none to be had."""
        ...

    def reached(self, stream: str) -> int | None:
        """How far another stream of the service was delivered (`seq`); None where it is not to be waited for."""
        ...

    def cursor(self) -> Cursor:
        """How far it was delivered."""
        ...

    def save(self, cursor: Cursor) -> None:
        """Note how far it was delivered.

        Raises:
            OSError: it cannot be noted.
        """
        ...

    def refuse(self, seq: int) -> None:
        """The sink refuses that record."""
        ...

    def release(self) -> None:
        """Let others deliver what remains."""
        ...


class Outbox:
    """The undelivered rest of one stream; used by one thread."""

    def __init__(self, lines: Lines, encoder: Encoder, scope: tuple[str, str]) -> None:
        self.lines = lines
        self.stream = lines.stream
        self.cursor = lines.cursor()
        self.is_done = False
        """Nothing remains, and nothing will follow."""
        self.held_back_by: tuple[Named, ...] = ()
        """What its next record names and what has not arrived; see `precedence`."""
        self.failures = 0
        self.not_before_s = 0.0
        """Not to be tried before then (monotonic), because it just failed."""
        self.accepted = b""
        """A record of it that the sink has just taken; what can show that a refusal is about another record."""
        self._encoder = encoder
        self._scope = scope
        self._head: tuple[bytes, bytes] | None = None
        self._taken: Batch | None = None

    def take(self, limit_bytes: int = MAX_REQUEST_BYTES, holds_back: HoldsBack = lambda _: False) -> Batch | None:
        """The next records, at most *limit_bytes* as a request; the same ones until `advance`. None: none for now.

        It ends before a record that names what is still on its way (`held_back_by`).

        Raises:
            OSError: the stream cannot be read, or not be synced.
        """
        if self._taken and not any(entry.named and holds_back(entry.named) for entry in self._taken.entries):
            return self._taken  # whatever holds back the record behind it
        self._taken = None
        if self.held_back_by and holds_back(self.held_back_by):
            return None
        self.held_back_by = ()
        self._taken = self._fill(limit_bytes, holds_back)
        return self._taken

    def request(self, batch: Batch, entries: tuple[Entry, ...]) -> bytes:
        """The request that carries *entries*, some of the batch."""
        assert self._head is not None
        records = resource_logs(self._head, [entry.log_record for entry in entries])
        return records + batch.voucher

    def control(self, batch: Batch, suspect: Entry) -> bytes:
        """A request whose record is likely good: if it is refused too, the fault is not the *suspect*'s.

        It carries one that the sink has already; before it has any, the last of the batch, ahead of its turn.
        """
        assert self._head is not None
        others = (
            entry.log_record for entry in reversed(batch.entries) if entry.log_record and entry is not suspect
        )
        record = self.accepted or next(others, b"")
        return resource_logs(self._head, [record]) if record else b""

    def advance(self, entry: Entry) -> None:
        """Everything up to *entry* was acknowledged, or put aside; noted durably.

        Raises:
            OSError: it cannot be noted; the next process sends it again.
        """
        cursor = Cursor(entry.segment, entry.end, entry.seq, timestamp(time.time_ns()))
        self._taken = None
        self.cursor = cursor
        self.lines.save(cursor)

    def _fill(self, limit_bytes: int, holds_back: HoldsBack) -> Batch | None:
        extent = self.lines.extent()
        if extent is None:
            return None
        if self.cursor.seq >= extent.seq:
            self.is_done = extent.is_whole
            return None
        limit_bytes -= len(b"".join(self._opened()))
        voucher: bytes | None = None
        entries: list[Entry] = []
        size = 0
        seq, signed = self.cursor.seq, 0
        for line in self.lines.read(self.cursor):
            entry = self._entry(line, seq + 1)
            if entry.seq > extent.seq:
                break
            is_held = bool(entry.named) and self._waits_for(entry.named, holds_back)
            if entry.seq > extent.signed_seq and voucher is None and not is_held:
                voucher = self._voucher(limit_bytes, holds_back)
                is_held = voucher is None
                limit_bytes -= len(voucher or b"")
            if is_held:
                entries = entries[:signed]
                break
            size += len(entry.log_record)
            if entries and size > limit_bytes:
                entries = entries[: signed or None]
                break
            entries.append(entry)
            seq = max(seq, entry.seq)
            if entry.is_signed:
                signed = len(entries)
                if size >= ENOUGH_BYTES:
                    break
            if len(entries) % BREATH_RECORDS == 0 and threading.active_count() > 1:
                time.sleep(0)
        return Batch(tuple(entries), voucher or b"") if entries else None

    def _waits_for(self, named: tuple[Named, ...], holds_back: HoldsBack) -> bool:
        is_held = holds_back(named)
        self.held_back_by = named if is_held else ()
        return is_held

    def _entry(self, line: Line, expected_seq: int) -> Entry:
        try:
            members: dict[str, Any] = orjson.loads(line.body)
            log_record = self._encoder.log_record(line.body, members)
        except (orjson.JSONDecodeError, NotARecord):
            return Entry(line.body, b"", expected_seq, False, line.segment, line.end)
        named = named_by(members) if members["event"] in NAMING else ()
        return Entry(line.body, log_record, members["seq"], "sig" in members, line.segment, line.end, named)

    def _opened(self) -> tuple[bytes, bytes]:
        if self._head is None:
            first = next(self.lines.read(Cursor()), None)
            self._head = head_of(b"" if first is None else first.body, self._scope)
        return self._head

    def _voucher(self, limit_bytes: int, holds_back: HoldsBack) -> bytes | None:
        """None while what stands before it is on its way.

        Known limit: a recovery that signs more unsigned records than half a request holds leaves without them,
        and until they follow their stream has a hole at the far end.
        """
        found = self.lines.voucher()
        if found is None:
            return b""
        if self._waits_for((found.behind,), holds_back):
            return None
        made = request_of(found.lines, found.opened, self._encoder, self._scope)
        if len(made) > limit_bytes // 2:
            made = request_of(found.lines[-1:], found.opened, self._encoder, self._scope)
        return made


def head_of(open_record: bytes, scope: tuple[str, str]) -> tuple[bytes, bytes]:
    """Resource and scope of a stream, as its open record says; an empty resource where that is none."""
    try:
        context = orjson.loads(open_record)["context"]
        resource = {name: value for name, value in context.items() if not name.startswith("audit.")}
        return resource_head(resource, *scope)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, NotARecord):
        return resource_head({}, *scope)  # the bodies say what they say all the same


def request_of(bodies: Sequence[bytes], open_record: bytes, encoder: Encoder, scope: tuple[str, str]) -> bytes:
    """A request that carries records of one stream; empty where one is none."""
    try:
        log_records = [encoder.log_record(body, orjson.loads(body)) for body in bodies]
    except (orjson.JSONDecodeError, NotARecord):
        return b""
    return resource_logs(head_of(open_record, scope), log_records)
