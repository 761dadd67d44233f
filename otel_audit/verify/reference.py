"""What one stream's signed record says of another stream, and what a witness says of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from otel_audit.evidence.record import CLOSE, LINKED, MAX_INTEGER, OPEN, RECOVERED, REFERENCE


@dataclass(frozen=True, slots=True)
class Reference:
    """`<stream>:<seq>:<record hash>`: a record that existed when this was said."""

    stream: str
    seq: int
    hash: str
    """Lower-case hex SHA-256 of the record's bytes."""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read `<stream>:<seq>:<record hash>`.

        Raises:
            ValueError: *text* is not of that form.
        """
        match = REFERENCE.fullmatch(text)
        if match is None or int(match[2]) > MAX_INTEGER:
            raise ValueError(f"{text[:120]!r}: expected <stream>:<seq>:<record hash>")
        return cls(match[1], int(match[2]), match[3])

    def __str__(self) -> str:
        return f"{self.stream}:{self.seq}:{self.hash}"


class Naming(NamedTuple):
    """A predecessor, a successor or a recovered stream, as a well-signed record names it."""

    kind: Literal["predecessor", "successor", "recovered"]
    by: str
    at: int
    """`seq` of the record that says it."""
    observed: str
    """Of the record that says it."""
    stream: str
    seq: int
    """0 for a successor, of which only the stream is named."""
    hash: bytes
    """32 bytes; none for a successor."""
    sealed: int = 0
    """Of a recovery: the last signed `seq` found."""
    torn_bytes: int = 0


def namings(context: Mapping[str, Any], event: str, by: str, at: int, observed: str) -> list[Naming]:
    """What record *at* of stream *by*, a well-signed *event* with *context*, says of other streams."""
    if event in (OPEN, LINKED):
        named = [Reference.parse(text) for text in context["audit.predecessors"]]
        return [
            Naming("predecessor", by, at, observed, one.stream, one.seq, bytes.fromhex(one.hash)) for one in named
        ]
    if event == CLOSE and "audit.successor" in context:
        return [Naming("successor", by, at, observed, context["audit.successor"], 0, b"")]
    if event == RECOVERED:
        stream, seq, record_hash, sealed, torn_bytes = (
            context[f"audit.recovered.{name}"] for name in ("stream", "seq", "hash", "sealed", "torn_bytes")
        )
        digest = bytes.fromhex(record_hash)
        return [Naming("recovered", by, at, observed, stream, seq, digest, sealed, torn_bytes)]
    return []


class Retirement(NamedTuple):
    """An `audit.retired`: whole ended streams that are gone from one place."""

    by: str
    at: int
    observed: str
    place: str
    streams: tuple[str, ...]
    ended: str
    delivered: bool

    @classmethod
    def of(cls, context: Mapping[str, Any], by: str, at: int, observed: str) -> Retirement:
        """What record *at* of stream *by*, a well-signed `audit.retired` with *context*, says."""
        place, streams, ended, delivered = (
            context[f"audit.retired.{name}"] for name in ("place", "streams", "ended", "delivered")
        )
        return cls(by, at, observed, place, tuple(streams), ended, delivered)
