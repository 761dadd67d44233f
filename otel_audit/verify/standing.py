"""How a stream stands while it is being read, and what it is held against: plain values of `stream.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from otel_audit.verify.certificates import Anchor, Path, check_path


@dataclass(frozen=True, slots=True)
class Terms:
    """What a verification holds every stream against."""

    anchors: Sequence[Anchor]
    now: str
    """As a record's time; what was observed later is pending."""
    since: str | None = None
    until: str | None = None

    @property
    def is_window(self) -> bool:
        """Whether only a period is asked about."""
        return self.since is not None or self.until is not None


@dataclass(frozen=True, slots=True)
class Marks:
    """What is already known of a stream before it is read."""

    seqs: frozenset[int] = frozenset()
    """Records that somebody names: their hashes are kept."""
    ended_at: int | None = None
    """The last whole record, where a recovery has ended the stream there: unsigned ones above are torn."""
    rolled_back_above: int | None = None
    """The lowest such record that any recovery claims: well-signed ones above should not be."""
    period_to: int = 0
    """A run ends behind this record, though others observed after the period come first: see `Window.reach`."""


@dataclass(slots=True)
class Tail:
    """Unsigned records after the last signed one."""

    first_seq: int = 0
    records: int = 0
    future: int = 0
    """Of them, observed after *now*."""
    first_observed: str = ""
    latest_observed: str = ""

    def add(self, seq: int, observed: str, *, is_future: bool) -> None:
        """Take in one more."""
        if not self.records:
            self.first_seq = seq
            self.first_observed = self.latest_observed = observed
        elif observed > self.latest_observed:
            self.latest_observed = observed
        self.records += 1
        self.future += is_future


@dataclass(frozen=True, slots=True)
class End:
    """How a stream stood at the record where a recovery ended it."""

    records: int
    last_seq: int
    last_observed: str
    hashes: list[str]
    holders: set[int]
    tail: Tail


@dataclass(slots=True)
class Opening:
    """What record 1 declares."""

    service: str
    certificate: str
    path: Path
    opened: str
    signs_records: bool
    seal_interval_ms: int
    longest_interval_ms: int
    """Of seals and heartbeats."""
    rank: str
    """Hash of the record; of two opens that are as good, the lower counts, whatever the order of sources."""

    @classmethod
    def of(cls, context: Mapping[str, Any], stream: str, observed: str, record_hash: str, terms: Terms) -> Opening:
        """What record 1 of *stream* declares in its *context*; with its path of certificates checked."""
        certificates: list[str] = context["audit.certificate"]
        service: str = context["service.name"]
        seal_ms: int = context["audit.seal.interval_ms"]
        return cls(
            service=service,
            certificate=certificates[0] if certificates else "",
            path=check_path(certificates, stream=stream, service=service, opened=observed, trust=terms.anchors),
            opened=observed,
            signs_records=context["audit.sign"] == "record",
            seal_interval_ms=seal_ms,
            longest_interval_ms=max(seal_ms, context["audit.heartbeat.interval_ms"]),
            rank=record_hash,
        )


@dataclass(slots=True)
class Current:
    """Hashes of the records at one `seq`, while there may be more of them (where the stream is forked)."""

    hashes: list[str] = field(default_factory=list[str])
    observed: str = ""


class Held(NamedTuple):
    """What is kept of the records at one `seq`."""

    seq: int
    hashes: bytes
    """Of each of them, 32 bytes (more than one where the stream is forked)."""
    observed: str

    def has(self, record_hash: bytes) -> bool:
        """Whether one of them has the hash *record_hash*, 32 bytes."""
        return any(self.hashes[at : at + 32] == record_hash for at in range(0, len(self.hashes), 32))
