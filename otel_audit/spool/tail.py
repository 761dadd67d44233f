"""Where a stream ends on disk: its last whole record, its last signed one, and what is torn behind them.

Spool stage, reading. Used on streams of other processes: to name a live one's head, to end a crashed one. It
reads from the end backwards to the last signed record but one and then forwards along the chain.

A power cut may leave zero bytes wherever a file was not synced, and whole records behind them. No record has a
zero byte in it, so a stream ends before its first one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_audit.evidence.canonical import MAX_RECORD_BYTES, decode, record_hash
from otel_audit.spool.layout import segments

_BLOCK_BYTES = 256 << 10
_SCAN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a stream as found on disk."""

    path: Path
    """The segment that holds it."""
    seq: int
    """Of the last whole record that follows the chain."""
    hash: str
    signed_seq: int
    """Of the last signed record up to there."""
    signed_hash: str
    observed: str
    """Of the last whole record."""
    is_closed: bool
    end_offset: int
    """Just after the last whole record, in bytes."""
    torn_bytes: int
    """What stands behind it, without zero bytes at the very end (unused space)."""
    has_hole: bool
    """True where a line feed stands among the torn bytes: more than a half-written last line."""

    def reference(self, stream: str) -> str:
        """`<stream>:<seq>:<record hash>` of the last signed record."""
        return f"{stream}:{self.signed_seq}:{self.signed_hash}"


def read_tail(stream_directory: Path, *, is_live: bool = False) -> Tail | None:
    """Find the end of a stream; None where there is not one whole record.

    *is_live*: its writer is alive, so no power was lost since, and the file need not be read from its beginning.

    Raises:
        OSError: a segment cannot be read.
    """
    for path in reversed(segments(stream_directory)):
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            end = size if is_live else _first_zero(file.fileno(), size)
            start, data = _from_last_signed_but_one(file.fileno(), end)
            beyond = os.pread(file.fileno(), size - end, end)
        tail = _follow(path, stream_directory.name, data, start, beyond)
        if tail is not None:
            return tail
    return None


def _first_zero(descriptor: int, size: int) -> int:
    """Offset of the first zero byte; *size* where there is none."""
    for start in range(0, size, _SCAN_BYTES):
        found = os.pread(descriptor, min(_SCAN_BYTES, size - start), start).find(b"\0")
        if found >= 0:
            return start + found
    return size


def _from_last_signed_but_one(descriptor: int, size: int) -> tuple[int, bytes]:
    """Offset and bytes of the file from the last signed line but one; all of it when there are fewer."""
    start, data = size, b""
    while start > 0:
        # twice as much each time: a file without signatures costs two readings of it, not one a block
        step = min(max(_BLOCK_BYTES, len(data)), start)
        start -= step
        data = os.pread(descriptor, step, start) + data
        found = 0
        position = len(data)
        while (mark := data.rfind(b',"sig":"', 0, position)) >= 0:
            line_start = data.rfind(b"\n", 0, mark) + 1
            if line_start == 0 and start > 0:
                break
            line_end = data.find(b"\n", mark)
            if line_end >= 0 and _is_signed(data[line_start:line_end]):
                found += 1
                if found == 2:
                    return start + line_start, data[line_start:]
            position = line_start
    return 0, data


def _is_signed(line: bytes) -> bool:
    members = decode(line)
    return members is not None and isinstance(members.get("sig"), str)


def _follow(path: Path, stream: str, data: bytes, start: int, beyond: bytes) -> Tail | None:
    """Walk along the chain from the first line of *data* for as long as it holds; *beyond* follows those."""
    offset = 0
    last: tuple[dict[str, Any], str] | None = None
    signed: tuple[int, str] | None = None
    while (line_end := data.find(b"\n", offset, offset + MAX_RECORD_BYTES + 1)) >= 0:
        line = data[offset:line_end]
        members = decode(line)
        if members is None or not _follows(members, stream, last, starts_file=start == 0):
            break
        last = (members, record_hash(line))
        if "sig" in members:
            signed = (members["seq"], last[1])
        offset = line_end + 1
    if last is None or signed is None:
        return None
    torn = (data[offset:] + beyond).rstrip(b"\0")
    return Tail(
        path=path,
        seq=last[0]["seq"],
        hash=last[1],
        signed_seq=signed[0],
        signed_hash=signed[1],
        observed=str(last[0].get("observed", "")),
        is_closed=last[0].get("event") == "audit.stream.close",
        end_offset=start + offset,
        torn_bytes=len(torn),
        has_hole=b"\n" in torn,
    )


def _follows(
    members: dict[str, Any], stream: str, last: tuple[dict[str, Any], str] | None, *, starts_file: bool
) -> bool:
    seq = members.get("seq")
    if members.get("stream") != stream or type(seq) is not int:
        return False
    if last is None:
        return not starts_file or seq == 1
    return seq == last[0]["seq"] + 1 and members.get("prev") == last[1]
