"""The streams of a spool as the exporter reads them: on disk, or in memory.

Export stage. A stream on disk is delivered by whoever holds its `export.lock`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from otel_audit.evidence.canonical import MAX_RECORD_BYTES, decode
from otel_audit.export.outbox import Extent, Line, Voucher
from otel_audit.export.precedence import Named
from otel_audit.spool.delivered import Cursor, read_cursor, write_cursor
from otel_audit.spool.ends import read_end, sync_segment
from otel_audit.spool.layout import ENDED, EXPORT_LOCK, segments
from otel_audit.spool.live import LiveStream
from otel_audit.spool.ownership import Ownership, is_held, is_held_here
from otel_audit.spool.recovery import recovered_by
from otel_audit.spool.storage import MemorySlot, MemoryStorage
from otel_audit.spool.tail import read_tail

_WHOLE_LINE_BYTES = MAX_RECORD_BYTES + 1
_SCAN_BYTES = 1 << 20
_READ_BYTES = 64 << 10
"""At once; Python's own 8 KiB are a system call for every ten records."""


class DiskLines:
    """A stream's directory. *live*: this process writes, or wrote, the stream."""

    def __init__(self, directory: Path, ownership: Ownership, live: LiveStream | None = None) -> None:
        self.stream = directory.name
        self.directory = directory
        self._ownership = ownership
        self._live = live
        self._tail: tuple[int, Extent] | None = None

    def extent(self) -> Extent | None:
        """See `Lines.extent`."""
        live = self._live
        if live is not None and not live.is_broken:
            signed_seq, is_closed = live.stream.signed_seq, live.stream.is_closed
            live.sync(signed_seq)
            return Extent(signed_seq, is_closed and live.stream.signed_seq == signed_seq, signed_seq)
        end = read_end(self.directory)
        if end is None:
            return self._unended()
        signed_seq = int(end.reference.split(":")[1]) if end.reference else 0
        return Extent(end.seq, True, signed_seq)

    def _unended(self) -> Extent | None:
        """Of a stream that another process writes, or that nobody has ended yet."""
        size = sum(path.stat().st_size for path in segments(self.directory))
        if self._tail is None or self._tail[0] != size:
            tail = read_tail(self.directory, is_live=is_held(self.directory))
            if tail is None:
                return None
            sync_segment(tail.path)
            self._tail = (size, Extent(tail.signed_seq, False, tail.signed_seq))
        return self._tail[1]

    def read(self, cursor: Cursor) -> Iterator[Line]:
        """See `Lines.read`."""
        for path in segments(self.directory):
            if path.name >= cursor.segment:
                yield from read_lines(path, cursor.offset if path.name == cursor.segment else 0)

    def voucher(self) -> Voucher | None:
        """See `Lines.voucher`; None also where the stream that says it is no longer kept: then it was delivered."""
        by = recovered_by(self.directory)
        if by is None:
            return None
        needle = f'"audit.recovered.stream":"{self.stream}"'.encode()
        opened, unsigned = b"", list[bytes]()
        seq = signed_seq = 0
        for path in segments(self.directory.parent / by):
            for line in read_lines(path, 0):
                seq += 1
                opened = opened or line.body
                unsigned.append(line.body)
                if needle in line.body:
                    return Voucher(Named(by, signed_seq), opened, tuple(unsigned))
                if _is_signed(line.body):
                    signed_seq, unsigned = seq, []
        return None

    def reached(self, stream: str) -> int | None:
        """See `Lines.reached`.

        What a dead process left is waited for: somebody ends it, and then delivers it. What a living one writes is
        waited for where somebody delivers it.
        """
        directory = self.directory.parent / stream
        try:
            seq = read_cursor(directory).seq
            if seq == 0 and not directory.exists():
                return None
            return seq if self._may_arrive(directory) else None
        except FileNotFoundError:  # retired meanwhile: it was delivered, or never will be
            return None

    def _may_arrive(self, directory: Path) -> bool:
        """Whether somebody delivers a stream, or will once it has ended."""
        if (directory / ENDED).exists() or is_held(directory, EXPORT_LOCK):
            return True
        is_recovered = is_held_here(directory) or recovered_by(directory) is not None
        return is_recovered or not is_held(directory)

    def cursor(self) -> Cursor:
        """See `Lines.cursor`; from the beginning where the file is not what the cursor was made for."""
        cursor = read_cursor(self.directory)
        if not cursor.segment:
            return cursor
        try:
            with (self.directory / cursor.segment).open("rb") as file:
                file.seek(max(0, cursor.offset - 1))
                return cursor if cursor.offset == 0 or file.read(1) == b"\n" else Cursor()
        except (FileNotFoundError, IsADirectoryError):
            return Cursor()

    def save(self, cursor: Cursor) -> None:
        """See `Lines.save`."""
        write_cursor(self.directory, cursor)
        if self._live is not None and self._live.delivery is not None:
            self._live.delivery.reach(cursor.seq)

    def refuse(self, seq: int) -> None:
        """See `Lines.refuse`."""
        if self._live is not None and self._live.delivery is not None:
            self._live.delivery.refuse(seq)

    def release(self) -> None:
        """See `Lines.release`."""
        self._ownership.release()


def _is_signed(body: bytes) -> bool:
    members = decode(body) if b',"sig":"' in body else None
    return members is not None and "sig" in members


def read_lines(path: Path, offset: int) -> Iterator[Line]:
    """Whole lines from *offset* on; of one that is too long for a record, only the beginning."""
    name = path.name
    with path.open("rb", buffering=_READ_BYTES) as file:
        file.seek(offset)
        while line := file.readline(_WHOLE_LINE_BYTES):
            offset += len(line)
            kept = line
            while not line.endswith(b"\n"):
                line = file.readline(_SCAN_BYTES)
                if not line:
                    return  # torn, unused, or just being written
                offset += len(line)
            yield Line(kept.removesuffix(b"\n"), name, offset)


class MemoryLines:
    """A stream of `OTEL_AUDIT_DIR=memory:`; what was delivered makes room for what comes."""

    def __init__(self, storage: MemoryStorage, live: LiveStream) -> None:
        self.stream = live.stream.id
        self._storage = storage
        self._slot: MemorySlot = storage.slots[self.stream]
        self._live = live
        self._released = 0
        """Lines that were delivered and let go of; an offset is a count of lines here."""

    def extent(self) -> Extent | None:
        """See `Lines.extent`."""
        stream = self._live.stream
        if self._live.is_broken:
            raise OSError(errno.EIO, f"stream {stream.id} was given up")
        signed_seq, is_closed = stream.signed_seq, stream.is_closed
        return Extent(signed_seq, is_closed and stream.signed_seq == signed_seq, signed_seq)

    def read(self, cursor: Cursor) -> Iterator[Line]:
        """See `Lines.read`."""
        if self._released and not cursor.segment:
            return
        for number, line in enumerate(self._slot.lines, self._released + 1):
            yield Line(line[:-1], "memory", number)

    def voucher(self) -> None:
        """Nothing is recovered in memory."""

    def reached(self, stream: str) -> None:
        """See `Lines.reached`; what this process does not deliver is not there."""

    def cursor(self) -> Cursor:
        """See `Lines.cursor`."""
        return Cursor()

    def save(self, cursor: Cursor) -> None:
        """See `Lines.save`."""
        self._storage.release(self._slot, cursor.offset - self._released)
        self._released = cursor.offset
        if self._live.delivery is not None:
            self._live.delivery.reach(cursor.seq)

    def refuse(self, seq: int) -> None:
        """See `Lines.refuse`."""
        if self._live.delivery is not None:
            self._live.delivery.refuse(seq)

    def release(self) -> None:
        """See `Lines.release`."""
        self._storage.slots.pop(self.stream, None)


def size_bytes(stream_directory: Path) -> int:
    """Bytes of a stream's segments; 0 where it was removed meanwhile."""
    try:
        return sum(os.stat(path).st_size for path in segments(stream_directory))  # noqa: PTH116 - one call
    except FileNotFoundError:
        return 0
