"""Whole archives, edited by someone who may hold keys: the input is a list of edits, each four bytes and a word.

Whatever comes of it, the verifier ends with a verdict, and with the same one whichever way the bodies reach it:
one lane a stream, in runs or one by one, merged from two copies, or all mixed together.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

from cryptography import x509

from otel_audit.verify import Verdict, verify
from tests.attacks import edits
from tests.attacks.world import ISSUER_DER, NOW, World
from tests.memory_source import MemoryLane, MemorySource
from tests.vectors.stream import SECOND, encode, merkle_root, signature

REGRESSIONS = (b"\xe7\x03\x01\x01\xf7sn\x01\x00e|\x9e|s~se|",)
_NAMES = sorted(edits.EDITS)
_SPECIAL = ("rechain", "reseal", "copy", "swap", "period")
_MAX_EDITS = 12


@cache
def _world() -> World:
    return World(Path(tempfile.gettempdir()) / "never-written")


def seeds() -> Iterator[bytes]:
    """One edit of each kind, and each followed by signing everything again."""
    for kind in range(len(_NAMES) + len(_SPECIAL)):
        for at in (0, 1, 4, 6, 9):
            edit = bytes([kind, at % 5, at, 7 * at + kind]) + b"noise|"
            yield edit
            yield edit + bytes([len(_NAMES), at % 5, 0, 0]) + b"|"


def target(data: bytes) -> None:
    lines = {label: list(one) for label, one in _world().honest.items()}
    since: datetime | None = None
    for part in data.split(b"|")[:_MAX_EDITS]:
        if len(part) < 4:
            continue
        kind, label = part[0] % (len(_NAMES) + len(_SPECIAL)), sorted(lines)[part[1] % len(lines)]
        if kind < len(_NAMES):
            noise = part[4:]
            number = int.from_bytes(part[3:6], "little")
            lines[label] = edits.apply(lines[label], edits.Edit(_NAMES[kind], label, part[2], number, noise))
            continue
        special = _SPECIAL[kind - len(_NAMES)]
        if special == "period":
            since = datetime.fromtimestamp(NOW / SECOND, UTC) - timedelta(days=1) + timedelta(seconds=part[2])
        elif special == "copy":
            lines[label] += lines[sorted(lines)[part[2] % len(lines)]]
        elif special == "swap" and lines[label]:
            first, second = part[2] % len(lines[label]), part[3] % len(lines[label])
            lines[label][first], lines[label][second] = lines[label][second], lines[label][first]
        elif special in ("rechain", "reseal"):
            lines[label] = _again(label, lines[label], part[2], has_roots=special == "reseal")
    _judge(lines, since)


def _again(label: str, lines: Sequence[bytes], start: int, *, has_roots: bool) -> list[bytes]:
    """Write a stream anew from line *start* on, as whoever holds its key could: chain, roots, signatures."""
    key = _world().streams[label].key
    written: list[bytes] = list(lines[:start])
    for line in lines[start:]:
        members = edits.read(line)
        if members is None:
            written.append(line)
            continue
        if written and isinstance(members.get("seq"), int) and members["seq"] != 1:
            members["prev"] = hashlib.sha256(written[-1]).hexdigest()
        context = members.get("context")
        if has_roots and isinstance(context, dict) and "audit.seal.root" in context:
            held = cast("dict[str, Any]", context)
            held["audit.seal.size"] = len(written)
            held["audit.seal.root"] = merkle_root([hashlib.sha256(one).digest() for one in written]).hex()
        if "sig" in members:
            members["sig"] = signature(key, members)
        written.append(encode(members))
    return written


def _judge(lines: dict[str, list[bytes]], since: datetime | None) -> None:
    world = _world()
    every = [line for one in lines.values() for line in one]
    lanes = [MemoryLane(label, world.id(label), tuple(one)) for label, one in lines.items()]
    slow = [MemoryLane(lane.name, lane.stream, lane.bodies, attributes=[None] * len(lane.bodies)) for lane in lanes]
    mixed = list(every)
    random.Random(7).shuffle(mixed)
    first = _said([MemorySource(given=lanes)], since)
    ways = {
        "one by one": [MemorySource(given=slow)],
        "mixed": [MemorySource(mixed)],
        "two copies": [MemorySource(given=lanes), MemorySource(given=slow)],
    }
    # Each takes as long as the first: one of them an input, chosen by what it holds
    way = list(ways)[zlib.crc32(b"".join(every)) % len(ways)]
    assert first == _said(ways[way], since), way


def _said(sources: Sequence[MemorySource], since: datetime | None) -> Any:
    verdict: Verdict = verify(
        sources,
        trust=[x509.load_der_x509_certificate(ISSUER_DER)],
        now=datetime.fromtimestamp(NOW / SECOND, UTC),
        grace=timedelta(0),
        since=since,
    )
    found = sorted((one.kind, one.stream or "", one.seq or 0, one.severity) for one in verdict.findings)
    streams = sorted((one.stream, one.verdict, one.records, one.sealed, one.last_seq) for one in verdict.streams)
    if any(one.kind == "forked" for one in verdict.findings):
        # Which of two records of one seq is counted is a matter of their order; the format leaves it open
        return verdict.status, found, streams
    return verdict.status, found, streams, verdict.pending, verdict.adopted
