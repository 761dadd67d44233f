"""Where a stream ends on disk: its last whole record, its last signed one, and what is torn behind them.

Spool stage, reading. Used on streams of other processes: to name a live one's head, to end a crashed one. It
reads from the end backwards to the last signed record but one and then forwards along the chain. Where the chain
does not hold, or the file has more or fewer lines than records, somebody altered it: then every line is read, and
the stream ends with its highest record, so that whatever is missing or altered below stays to be found.

A power cut may leave zero bytes wherever a file was not synced, and whole records behind them. No record has a
zero byte in it, so a stream ends before its first one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from otel_audit.evidence.canonical import MAX_RECORD_BYTES, decode, record_hash
from otel_audit.evidence.record import is_time
from otel_audit.spool.layout import segments

_BLOCK_BYTES = 256 << 10
_SCAN_BYTES = 1 << 20
_BACKWARDS_BYTES = 128 << 20
"""At most so much is read at once: what 1,000 of the longest records take, twice."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a stream as found on disk."""

    path: Path
    """The segment that holds it."""
    seq: int
    """Of the last whole record."""
    hash: str
    signed_seq: int
    """Of the last signed record up to there; 0 where there is none."""
    signed_hash: str
    observed: str
    """Of the last whole record."""
    is_closed: bool
    is_intact: bool
    """Whether the lines that were read follow each other, and are as many as the records."""
    end_offset: int
    """Just after the last whole line before a hole, in bytes."""
    torn_bytes: int
    """What stands behind it, without zero bytes at the very end (unused space)."""
    has_hole: bool
    """True where a line feed stands among the torn bytes: more than a half-written last line."""

    def reference(self, stream: str) -> str:
        """`<stream>:<seq>:<record hash>` of the last signed record; empty where there is none."""
        return f"{stream}:{self.signed_seq}:{self.signed_hash}" if self.signed_seq else ""


class _Record(NamedTuple):
    members: dict[str, Any]
    seq: int
    hash: str


class _Found(NamedTuple):
    last: _Record
    signed: _Record | None


class _Extent(NamedTuple):
    """How far the whole lines of a file reach."""

    lines: int
    end: int
    """Just after the last of them, in bytes."""
    size: int


def read_tail(stream_directory: Path, *, is_live: bool = False) -> Tail | None:
    """Find the end of a stream; None where not one line is a record of it.

    *is_live*: its writer is alive, so no power was lost since, and the file need not be read from its beginning.

    Raises:
        OSError: a segment cannot be read.
    """
    for path in reversed(segments(stream_directory)):
        with path.open("rb") as file:
            tail = _tail(path, file, stream_directory.name, is_live=is_live)
        if tail is not None:
            return tail
    return None


def has_line(path: Path) -> bool:
    """Whether one whole line stands before the first hole of a segment.

    Raises:
        OSError: the segment cannot be read.
    """
    with path.open("rb") as file:
        return _extent(file.fileno()).lines > 0


def begins_with_hole(path: Path) -> bool:
    """Whether a power cut took the first line of a segment and left others behind it.

    Raises:
        OSError: the segment cannot be read.
    """
    if has_line(path):
        return False
    with path.open("rb") as file:
        return any(b"\n" in block for block in iter(lambda: file.read(_SCAN_BYTES), b""))


def _tail(path: Path, file: BinaryIO, stream: str, *, is_live: bool) -> Tail | None:
    extent = _live_extent(file.fileno()) if is_live else _extent(file.fileno())
    found = _followed(file.fileno(), extent.end, stream)
    first = int(path.stem) if path.stem.isdecimal() else 0
    is_intact = found is not None and (is_live or extent.lines == found.last.seq - first + 1)
    if not is_intact:
        found = _searched(file, extent.end, stream)
    if found is None:
        return None
    last, signed = found
    torn = os.pread(file.fileno(), extent.size - extent.end, extent.end).rstrip(b"\0")
    return Tail(
        path=path,
        seq=last.seq,
        hash=last.hash,
        signed_seq=signed.seq if signed else 0,
        signed_hash=signed.hash if signed else "",
        observed=last.members["observed"],
        is_closed=last.members.get("event") == "audit.stream.close",
        is_intact=is_intact,
        end_offset=extent.end,
        torn_bytes=len(torn),
        has_hole=b"\n" in torn,
    )


def _live_extent(descriptor: int) -> _Extent:
    size = os.fstat(descriptor).st_size
    behind = os.pread(descriptor, MAX_RECORD_BYTES + 1, max(0, size - MAX_RECORD_BYTES - 1))
    return _Extent(0, size - len(behind) + behind.rfind(b"\n") + 1, size)


def _extent(descriptor: int) -> _Extent:
    """The whole lines before the first zero byte."""
    size = os.fstat(descriptor).st_size
    lines = end = 0
    for start in range(0, size, _SCAN_BYTES):
        block = os.pread(descriptor, min(_SCAN_BYTES, size - start), start)
        zero = block.find(b"\0")
        stop = len(block) if zero < 0 else zero
        line_feed = block.rfind(b"\n", 0, stop)
        if line_feed >= 0:
            lines += block.count(b"\n", 0, stop)
            end = start + line_feed + 1
        if zero >= 0:
            break
    return _Extent(lines, end, size)


def _followed(descriptor: int, end: int, stream: str) -> _Found | None:
    """Walk along the chain, from the last signed record but one to the end; None where it does not hold."""
    data = _from_last_signed_but_one(descriptor, end, stream)
    if data is None:
        return None
    last = signed = None
    offset = 0
    while offset < len(data):
        line_end = data.find(b"\n", offset, offset + MAX_RECORD_BYTES + 1)
        record = _record(data[offset:line_end], stream) if line_end >= 0 else None
        if record is None:
            return None
        if last is not None and (record.seq != last.seq + 1 or record.members.get("prev") != last.hash):
            return None
        last = record
        if "sig" in record.members:
            signed = record
        offset = line_end + 1
    return None if last is None else _Found(last, signed)


def _from_last_signed_but_one(descriptor: int, end: int, stream: str) -> bytes | None:
    """What stands from the last signed line but one to *end*; all of it when there are fewer.

    None where that is more than a stream that seals leaves.
    """
    start, data = end, b""
    while start > 0:
        # twice as much each time: a file without signatures costs two readings of it, not one a block
        step = min(max(_BLOCK_BYTES, len(data)), start)
        if len(data) + step > _BACKWARDS_BYTES:
            return None
        start -= step
        data = os.pread(descriptor, step, start) + data
        found = 0
        position = len(data)
        while (mark := data.rfind(b',"sig":"', 0, position)) >= 0:
            line_start = data.rfind(b"\n", 0, mark) + 1
            if line_start == 0 and start > 0:
                break
            line_end = data.find(b"\n", mark)
            record = _record(data[line_start:line_end], stream) if line_end >= 0 else None
            if record is not None and "sig" in record.members:
                found += 1
                if found == 2:
                    return data[line_start:]
            position = line_start
    return data


def _searched(file: BinaryIO, end: int, stream: str) -> _Found | None:
    """The highest record of the stream among all whole lines before *end*, wherever it stands."""
    last: _Record | None = None
    signed: _Record | None = None
    for line in _lines(file, end):
        record = _record(line, stream)
        if record is None:
            continue
        if last is None or record.seq > last.seq:
            last = record
        if "sig" in record.members and (signed is None or record.seq > signed.seq):
            signed = record
    return None if last is None else _Found(last, signed)


def _lines(file: BinaryIO, end: int) -> Iterator[bytes]:
    """Lines without their line feed; over-long ones in pieces, none of which is a record."""
    while file.tell() < end and (line := file.readline(MAX_RECORD_BYTES + 2)):
        yield line.removesuffix(b"\n")


def _record(line: bytes, stream: str) -> _Record | None:
    """Of a line that can be a record of the stream; the verifier says whether it is a good one."""
    members = decode(line)
    if members is None or members.get("stream") != stream or not is_time(members.get("observed")):
        return None
    seq = members.get("seq")
    return _Record(members, seq, record_hash(line)) if type(seq) is int and seq > 0 else None
