"""What is left of a stream once it has been read: about a kilobyte, as there may be a million of them.

Between `stream.py`, which reads one stream at a time with all that takes, and `resolve.py` and `conclusion.py`,
which hold all of them against each other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from cryptography import x509

from otel_audit.verify.notes import Noted
from otel_audit.verify.reference import Naming, Retirement
from otel_audit.verify.standing import Held, Tail
from otel_audit.verify.stream import StreamCheck

_SEQ = attrgetter("seq")


@dataclass(frozen=True, slots=True)
class ReadStream:
    """A stream as its records leave it; texts are RFC 3339 as the records carry them."""

    stream: str
    service: str | None
    """`service.name` as the open has it, None without an open."""
    is_good: bool
    """Whether what this stream says of others counts."""
    is_open_signed: bool
    anchor: x509.Certificate | None
    fault: str | None
    """Which rule of its path of certificates is broken, other than to reach an anchor."""
    opened: str | None
    """None without an open."""
    seal_interval_ms: int
    records: int
    future: int
    first_seq: int
    last_seq: int
    last_observed: str
    signed_seq: int
    next_by: str | None
    """What the last signed record promises; None also where there is a close, which keeps every promise."""
    closed_at: int | None
    tail: Tail | None
    """Unsigned records after the last signed one, None where there are none."""
    notes: tuple[Noted, ...]
    namings: tuple[Naming, ...]
    retirements: tuple[Retirement, ...]
    holders: frozenset[int]
    """Sources that hold any record of it."""
    last_holders: frozenset[int]
    """Sources that hold its last record."""
    held: tuple[Held, ...]
    """Marked records, the last signed and the last one, in order of `seq`."""
    absent: tuple[int, ...]
    """Records that were looked for, and are not among them."""
    has_record_since: bool
    """Whether a record is observed in the period or after it."""
    is_cut: bool
    """Whether the window ended before the stream did."""
    run_start: int
    """First `seq` after record 1 that the window has."""

    def at(self, seq: int) -> Held | None:
        """The record *seq*, if it is one of those held."""
        at = bisect_left(self.held, seq, key=_SEQ)
        return self.held[at] if at < len(self.held) and self.held[at].seq == seq else None

    def was_looked_for(self, seq: int) -> bool:
        """Whether reading it would have noticed the record *seq*."""
        at = bisect_left(self.absent, seq)
        return self.at(seq) is not None or (at < len(self.absent) and self.absent[at] == seq)


def left_of(check: StreamCheck, known: Callable[[str], str], hint: str) -> ReadStream:
    """What to keep of a stream that `check` has finished reading.

    Equal texts are kept once: *known* gives ids and services as they are kept already, *hint* is a time that is.
    """
    opening = check.opening
    opened = None if opening is None else opening.opened
    opened = hint if opened == hint else opened
    held = tuple(
        Held(seq, bytes.fromhex("".join(one.hashes)), one.observed) for seq, one in sorted(check.held.items())
    )
    holders = _shared(check.holders)
    return ReadStream(
        stream=check.stream,
        service=None if check.service is None else known(check.service),
        is_good=check.is_good,
        is_open_signed=check.is_open_signed,
        anchor=None if opening is None else opening.path.anchor,
        fault=None if opening is None else opening.path.fault,
        opened=opened,
        seal_interval_ms=0 if opening is None else opening.seal_interval_ms,
        records=check.records,
        future=check.future,
        first_seq=check.first_seq,
        last_seq=check.last_seq,
        last_observed=check.last_observed,
        signed_seq=check.signed_seq,
        next_by=check.next_by if check.closed_at is None else None,
        closed_at=check.closed_at,
        tail=check.tail if check.tail.records else None,
        notes=tuple(check.notes.noted()),
        namings=tuple(
            one._replace(stream=known(one.stream), observed=hint if one.observed == hint else one.observed)
            for one in check.namings
        ),
        retirements=tuple(check.retirements),
        holders=holders,
        last_holders=holders if check.last_holders == check.holders else _shared(check.last_holders),
        held=held,
        absent=tuple(sorted(check.marks.seqs - check.held.keys())),
        has_record_since=check.window.has_record_since,
        is_cut=check.window.is_cut,
        run_start=check.window.run_start,
    )


_ONLY_SOURCE: frozenset[int] = frozenset((0,))


def _shared(sources: set[int]) -> frozenset[int]:
    return _ONLY_SOURCE if sources == {0} else frozenset(sources)
