"""How far a stream was delivered: one small file beside its records.

Spool stage. Written by whoever delivers, after each acknowledgement; read by whoever continues, and by retention.
An index and no evidence: without it everything is sent once more, which is harmless.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from otel_audit.evidence.record import MAX_INTEGER, is_time
from otel_audit.spool.ends import End
from otel_audit.spool.layout import DELIVERED, QUARANTINE, write_durably

_SEGMENT = re.compile(r"[0-9]{1,16}\.jsonl")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything of a stream before this was acknowledged, or stands in quarantine."""

    segment: str = ""
    """File name of the segment that it stands in; empty: nothing was delivered."""
    offset: int = 0
    """Bytes of that segment, at the beginning of a line."""
    seq: int = 0
    """Of the last record before it."""
    at: str = ""
    """When that was acknowledged, as a record would say it."""


def read_cursor(stream_directory: Path, name: str = DELIVERED) -> Cursor:
    """How far the stream was delivered; from the beginning where the file *name* is not there or makes no sense.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        match orjson.loads((stream_directory / name).read_bytes()):
            case {"segment": str(segment), "offset": int(offset), "seq": int(seq), "at": str(at)} if (
                _SEGMENT.fullmatch(segment) and 0 <= offset <= MAX_INTEGER and (is_time(at) or not at)
            ):
                return Cursor(segment, offset, seq, at)
            case _:
                return Cursor()
    except (FileNotFoundError, orjson.JSONDecodeError):
        return Cursor()


def write_cursor(stream_directory: Path, cursor: Cursor) -> None:
    """Note how far the stream was delivered; returns once that would survive a power cut.

    Raises:
        OSError: it cannot be written; what was delivered since will be delivered once more.
    """
    write_durably(stream_directory / DELIVERED, orjson.dumps(asdict(cursor)))


def delivered_at(stream_directory: Path, stream: str, end: End) -> str | None:
    """When the last record of an ended stream was acknowledged; None before, or while one is in quarantine."""
    if end.how == "empty":
        return end.observed
    cursor = read_cursor(stream_directory)
    if cursor.seq < end.seq or quarantined(stream_directory.parent.parent, stream):
        return None
    return cursor.at


def quarantined(directory: Path, stream: str = "") -> list[Path]:
    """Records that the sink refuses, each alone in a file `<stream>-<seq>` of the state *directory*, in order."""
    return sorted((directory / QUARANTINE).glob(f"{stream or '[0-9a-f]*'}-*.record"))
