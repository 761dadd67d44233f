"""A state directory as a crash, a disk or an intruder may have left it: cursors, ends, streams, quarantine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from otel_audit.export.encoding import Encoder
from otel_audit.export.outbox import Outbox
from otel_audit.export.quarantine import Quarantine
from otel_audit.export.streams import DiskLines
from otel_audit.spool.delivered import Cursor, delivered_at, read_cursor
from otel_audit.spool.ends import heads_to_name, read_end
from otel_audit.spool.layout import DELIVERED, ENDED, EXPORT_LOCK, QUARANTINE, make_directory
from otel_audit.spool.ownership import acquire
from otel_audit.spool.tail import read_tail
from tests.attacks.world import World, stream

REGRESSIONS: tuple[bytes, ...] = ()
_STREAM = stream("first").id
_SEPARATOR = b"\xff\xfe"


@cache
def _home() -> Path:
    home = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    make_directory(home / "shop" / _STREAM)
    make_directory(home / QUARANTINE)
    return home


@cache
def _honest() -> bytes:
    return b"".join(line + b"\n" for line in World(_home()).honest["first"])


def seeds() -> Iterator[bytes]:
    reference = f"{_STREAM}:3:{'a' * 64}"
    end = b'{"how":"closed","reference":"%s","seq":12,"observed":"x","names":[],"retired":[]}' % reference.encode()
    cursor = b'{"segment":"000000000001.jsonl","offset":0,"seq":3,"at":"2026-03-01T08:00:00.000000000Z"}'
    name = f"{_STREAM}-000000000003.record".encode()
    for lines in (_honest(), _honest()[:3000] + bytes(300), b"{}\n"):
        yield _SEPARATOR.join((cursor, end, name, lines))
        yield _SEPARATOR.join((b"", b"", name, lines))
        yield _SEPARATOR.join((cursor, b"[]", b"x", lines))


def target(data: bytes) -> None:
    cursor, end, name, lines, *_ = (*data.split(_SEPARATOR), b"", b"", b"", b"")
    directory = _home() / "shop" / _STREAM
    held = (
        _home()
        / QUARANTINE
        / f"{_STREAM}-{name.decode('latin-1').replace('/', '').replace(chr(0), '')[:100]}.record"
    )
    for path, content in (
        (directory / DELIVERED, cursor),
        (directory / ENDED, end),
        (directory / "000000000001.jsonl", lines),
        (held, b"x"),
    ):
        if content:
            path.write_bytes(content)
    try:
        _read(directory)
    finally:
        for path in (directory / DELIVERED, directory / ENDED, directory / "000000000001.jsonl", held):
            path.unlink(missing_ok=True)


def _read(directory: Path) -> None:
    read_tail(directory)
    assert isinstance(read_cursor(directory), Cursor)
    ended = read_end(directory)
    list(heads_to_name(directory.parent))
    if ended is not None:
        delivered_at(directory, _STREAM, ended)
    quarantine = Quarantine(_home())
    for stream_id, seq in quarantine.held():
        quarantine.body(stream_id, seq)
    ownership = acquire(directory, EXPORT_LOCK)
    assert ownership is not None
    outbox = Outbox(DiskLines(directory, ownership), Encoder(), ("otel-audit", "0"))
    try:
        batch = outbox.take()
        if batch is not None:
            outbox.request(batch, batch.entries)
    finally:
        outbox.lines.release()
