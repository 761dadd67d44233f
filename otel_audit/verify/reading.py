"""From lanes to checked streams: bodies are parsed, copies merged, and what no source has in order is set aside.

The only part of the verifier that touches sources. A body that is no record belongs to no stream; it is counted.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

import orjson

from otel_audit.evidence.canonical import decode
from otel_audit.evidence.record import problem
from otel_audit.sources.source import Attributes, Lane
from otel_audit.verify.index import compare
from otel_audit.verify.run import follow
from otel_audit.verify.stream import StreamCheck

_LATER_SCHEMA = re.compile(r"otel-audit/(?!1\Z)[1-9][0-9]*")


class Disorder(Exception):  # noqa: N818 - a state of the source, not a fault
    """A lane is not what it was taken for: one stream, in order of `seq`."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane.name)
        self.lane = lane


@dataclass(slots=True)
class Tally:
    """Bodies that are no records of this schema."""

    malformed: int = 0
    unsupported: int = 0
    first: str = ""
    """Where the first malformed one stands, and why it is none."""

    def take(self, body: bytes, members: dict[str, Any] | None, lane: Lane, at: int, times: int = 1) -> None:
        """Count a body that is no record, and stands there *times*; *at* is its place in the lane, from 0."""
        if members is not None:
            schema = members.get("schema")
            later = _LATER_SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
            if later is not None:
                self.unsupported += times
                return
        if not self.malformed:
            reason = "not a canonical JSON object" if members is None else problem(members)
            self.first = f"{lane.name}, line {at + 1}: {reason} ({len(body)} bytes)"
        self.malformed += times


class Progress(Protocol):
    """Who is told how far a verification has come; often, so it should cost nothing."""

    def listed(self, lanes: int) -> None:
        """So many lanes more have been found: streams, or files."""

    def read(self, bodies: int) -> None:
        """So many bodies more were read."""


class OwnLane(NamedTuple):
    """A lane and which source it is of."""

    source: int
    lane: Lane


class _Parsed(NamedTuple):
    seq: int
    source: int
    members: dict[str, Any]
    digest: bytes
    attributes: Attributes | None


def check_stream(check: StreamCheck, lanes: Sequence[OwnLane], progress: Progress | None) -> list[Tally]:
    """Feed *check* from all *lanes*; returns for each of them what is no record.

    Raises:
        Disorder: a lane holds another stream, or runs backwards.
        SourceError: a lane cannot be read.
    """
    tallies = [Tally() for _ in lanes]
    if len(lanes) == 1:
        _check_lane(check, lanes[0], tallies[0], progress)
    else:
        parsed = [_parse(check, own, tallies[at], progress) for at, own in enumerate(lanes)]
        for record in heapq.merge(*parsed, key=lambda record: record.seq):
            _take(check, record)
    check.finish()
    return tallies


def _take(check: StreamCheck, record: _Parsed) -> None:
    check.take(record.members, record.digest, record.source)
    if record.attributes is not None:
        for kind, message in compare(record.members, record.attributes):
            check.note_index(kind, record.seq, message)


def _check_lane(check: StreamCheck, own: OwnLane, tally: Tally, progress: Progress | None) -> None:
    """The only lane of a stream: plain records in runs, others one by one."""
    at_batch = 0
    for batch in own.lane.batches():
        bodies, attributes = batch.bodies, batch.attributes
        at = 0
        while at < len(bodies):
            run = check.plain_run()
            if run is not None:
                start, at = at, follow(run, bodies, at)
                check.take_run(run)
                if attributes is not None:
                    _compare_run(check, bodies[start:at], attributes[start:at])
                if at == len(bodies):
                    break
            beside = None if attributes is None else attributes[at]
            # The same again is the same again, record or not
            times = 1 if attributes is not None else _times(bodies, at)
            record = _parsed(check, own, bodies[at], tally, at=at_batch + at, attributes=beside, times=times)
            if record is not None:
                if record.seq < check.last_seq:
                    raise Disorder(own.lane)
                _take(check, record)
            at += times
        at_batch += len(bodies)
        if progress is not None:
            progress.read(len(bodies))


def _compare_run(check: StreamCheck, bodies: Sequence[bytes], attributes: Sequence[Attributes | None]) -> None:
    """Compare the index of a run of records that *check* has just taken."""
    for seq, (body, beside) in enumerate(zip(bodies, attributes, strict=True), check.last_seq + 1 - len(bodies)):
        if beside is not None:
            for kind, message in compare(orjson.loads(body), beside):
                check.note_index(kind, seq, message)


def _times(bodies: Sequence[bytes], at: int) -> int:
    """How often `bodies[at]` stands there in a row: ten thousand million line feeds are a few megabytes, packed."""
    body, end = bodies[at], at + 1
    while end < len(bodies) and bodies[end] == body:
        end += 1
    return end - at


def _parsed(
    check: StreamCheck,
    own: OwnLane,
    body: bytes,
    tally: Tally,
    *,
    at: int,
    attributes: Attributes | None,
    times: int = 1,
) -> _Parsed | None:
    members = decode(body)
    if members is None or problem(members) is not None:
        tally.take(body, members, own.lane, at, times)
        return None
    if members["stream"] != check.stream:
        raise Disorder(own.lane)
    return _Parsed(members["seq"], own.source, members, sha256(body).digest(), attributes)


def _parse(check: StreamCheck, own: OwnLane, tally: Tally, progress: Progress | None) -> Iterator[_Parsed]:
    """One lane of several, to be merged with the others."""
    last = at_batch = 0
    for batch in own.lane.batches():
        attributes = batch.attributes
        for at, body in enumerate(batch.bodies):
            beside = None if attributes is None else attributes[at]
            record = _parsed(check, own, body, tally, at=at_batch + at, attributes=beside)
            if record is None:
                continue
            if record.seq < last:
                raise Disorder(own.lane)
            last = record.seq
            yield record
        at_batch += len(batch.bodies)
        if progress is not None:
            progress.read(len(batch.bodies))
