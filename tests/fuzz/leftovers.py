"""A state directory as a crash, a disk or an intruder may have left it: cursors, ends, streams, quarantine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path

from otel_audit.export.encoding import Encoder
from otel_audit.export.handover import log_record, resource_of
from otel_audit.export.outbox import Outbox
from otel_audit.export.quarantine import Quarantine
from otel_audit.export.streams import DiskLines
from otel_audit.spool.delivered import Cursor, delivered_at, read_cursor
from otel_audit.spool.ends import heads_to_name, read_end
from otel_audit.spool.layout import DELIVERED, ENDED, EXPORT_LOCK, QUARANTINE, make_directory, segments
from otel_audit.spool.live import Clock
from otel_audit.spool.mentions import read_mentions
from otel_audit.spool.ownership import acquire
from otel_audit.spool.recovery import recovered_by
from otel_audit.spool.steadiness import may_remove
from otel_audit.spool.tail import read_tail
from tests.attacks.world import World, stream

REGRESSIONS: tuple[bytes, ...] = ()
_STREAM = stream("first").id
_NOW = Clock(lambda: 1_800_000_000_000_000_000, lambda: 10_000_000_000)
_SEPARATOR = b"\xff\xfe"
_CLOCK, _CLAIM = "clock", "recovering"


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
    boot = Path("/proc/sys/kernel/random/boot_id")
    clock = b'{"boot":"%s","unix_nano":1,"up_nano":1,"hold_until_up_nano":1}' % (
        boot.read_bytes().strip() if boot.exists() else b""
    )
    for note in (clock, clock.replace(b":1,", b':"1",'), b'{"boot":1}'):
        for claim in (b'{"by":"%s"}' % _STREAM.encode(), b'{"by":"a\\u0000"}', b'{"by":".."}', b'{"by":[]}'):
            yield _SEPARATOR.join((b"", b"", b"", _honest()[:3000], note, claim))


def target(data: bytes) -> None:
    cursor, end, name, lines, clock, claim, *_ = (*data.split(_SEPARATOR), *[b""] * 6)
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
        (_home() / _CLOCK, clock),
        (directory / _CLAIM, claim),
    ):
        if content:
            path.write_bytes(content)
    try:
        _read(directory)
    finally:
        for name_ in (DELIVERED, ENDED, "000000000001.jsonl", _CLAIM):
            (directory / name_).unlink(missing_ok=True)
        for path in (held, _home() / _CLOCK):
            path.unlink(missing_ok=True)


def _read(directory: Path) -> None:
    read_tail(directory)
    assert isinstance(read_cursor(directory), Cursor)
    ended = read_end(directory)
    list(heads_to_name(directory.parent))
    if ended is not None:
        delivered_at(directory, _STREAM, ended)
    may_remove(_home(), _NOW, timedelta(days=1))
    by = recovered_by(directory)
    if by is not None:
        read_mentions(directory.parent / by)
        segments(directory.parent / by)
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
            resource = resource_of(batch.entries[0].body)
            for entry in batch.entries:
                log_record(entry.body, resource)
    finally:
        outbox.lines.release()
