"""What streams, sources and witnesses say of each other, once every stream has been read.

Only well-signed records of streams with a good path count; `stream.py` has kept no others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from otel_audit.evidence.rfc3339 import NANOS_PER_SECOND, unix_nanos
from otel_audit.verify.ended import ReadStream
from otel_audit.verify.reference import Naming, Reference, Retirement
from otel_audit.verify.standing import Marks, Terms

_ADOPTED_SLACK_NS = 5 * NANOS_PER_SECOND
"""How much later than first plus seal interval an adopted record may be observed."""

_NAMED = attrgetter("stream")
Report = Callable[[str, str | None, int | None, str, int], None]
"""Takes a finding: kind, stream, `seq`, message, count."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known besides the streams themselves."""

    places: Sequence[str | None]
    """Of each source, None where it has no name."""
    copies: Sequence[int]
    """Of each source, which copy it is: the same source given twice is one."""
    witness: Sequence[Reference]
    now_ns: int
    grace_ns: int
    keep_ns: int | None


class Streams:
    """Every stream that was read, and what they say of each other."""

    def __init__(self, checks: Mapping[str, ReadStream], terms: Terms, around: Surroundings) -> None:
        self._checks = checks
        self._terms = terms
        self._around = around
        self._namings: list[Naming] = []
        """By stream named; a list for each of a million would be as large again."""
        self._retirements: list[Retirement] = []
        for check in checks.values():
            if check.is_good:
                self._retirements += check.retirements
                self._namings += check.namings
        self._namings.sort(key=_NAMED)
        self._places: dict[tuple[str, str | None], set[str]] = defaultdict(set)
        """By stream and service: the places that say to have removed it."""
        for retirement in self._retirements:
            for stream in retirement.streams:
                self._places[stream, checks[retirement.by].service].add(retirement.place)
        self._witness: dict[str, list[Reference]] = defaultdict(list)
        for reference in around.witness:
            self._witness[reference.stream].append(reference)

    def marks(self, stream: str) -> Marks:
        """What reading *stream* should look out for."""
        seqs = {naming.seq for naming in self._naming(stream) if naming.seq}
        seqs.update(reference.seq for reference in self._witness.get(stream, ()))
        ended = [recovery.seq for recovery in self._recoveries(stream)]
        return Marks(frozenset(seqs), max(ended, default=None), min(ended, default=None))

    def needs_reading_again(self, check: ReadStream) -> bool:
        """Whether what has become known since *check* was made can only be judged by its records.

        It was read without knowing of any recovery.
        """
        marks = self.marks(check.stream)
        ended_at = marks.rolled_back_above
        if ended_at is None:
            return not all(map(check.was_looked_for, marks.seqs))
        # What is named above the last record may have been written since: a live stream is looked at once more.
        return ended_at < check.last_seq or any(check.at(seq) is None for seq in marks.seqs)

    def is_excluded(self, check: ReadStream) -> bool:
        """Whether a window does not have the stream: it had ended before, and all its records are older."""
        since = self._terms.since
        if since is None or check.has_record_since:
            return False
        return check.closed_at is not None or any(one.observed < since for one in self._recoveries(check.stream))

    def is_recovered(self, check: ReadStream) -> bool:
        """Whether a recovery has ended the stream."""
        return check.closed_at is None and bool(self._recoveries(check.stream))

    def judge(self, concerned: Mapping[str, ReadStream], report: Report) -> None:
        """Report every finding about *concerned* that takes more than one stream, or the present time, to see."""
        for check in concerned.values():
            self._judge_named(check, report)
            self._judge_end(check, report)
        for stream, namings in groupby(self._namings, key=_NAMED):
            judged = [n for n in namings if n.by in concerned and _is_in_run(n, concerned[n.by])]
            self._judge_namings(stream, judged, report)
        for stream in sorted(self._witness):
            if stream not in self._checks:
                report("missing-stream", stream, None, "a witness has seen it, and no source holds it", 1)
        since = self._terms.since
        for retirement in self._retirements:
            by = concerned.get(retirement.by)
            is_in_run = by is not None and retirement.at <= by.last_seq
            is_pending = retirement.observed > self._terms.now
            if is_in_run and not is_pending and (since is None or retirement.observed >= since):
                self._judge_retirement(retirement, report)

    def _naming(self, stream: str) -> Iterator[Naming]:
        """Whoever names *stream*."""
        at = bisect_left(self._namings, stream, key=_NAMED)
        while at < len(self._namings) and self._namings[at].stream == stream:
            yield self._namings[at]
            at += 1

    def _recoveries(self, stream: str) -> list[Naming]:
        """Those that end *stream*: by another stream of the same service."""
        return [
            naming
            for naming in self._naming(stream)
            if naming.kind == "recovered" and naming.by != stream and not self._is_foreign(naming)
        ]

    def _is_foreign(self, naming: Naming) -> bool:
        named = self._checks.get(naming.stream)
        if named is None or named.service is None:
            return False
        return named.service != self._checks[naming.by].service

    def _may_be_late(self, observed: str) -> bool:
        """Whether what was there when *observed* may still be on its way."""
        return unix_nanos(observed) + self._around.grace_ns > self._around.now_ns

    def _judge_named(self, check: ReadStream, report: Report) -> None:
        """Whether the records that others name are there, and are those."""
        observed: dict[int, str] = {}
        for naming in self._naming(check.stream):
            if naming.seq:
                first = observed.setdefault(naming.seq, naming.observed)
                is_late = self._may_be_late(naming.observed)
                who = f"record {naming.at} of stream {naming.by}"
                self._judge_reference(check, naming.seq, naming.hash, who, report, first=first, is_late=is_late)
        for witness in self._witness.get(check.stream, ()):
            first = observed.get(witness.seq, "")
            digest = bytes.fromhex(witness.hash)
            self._judge_reference(check, witness.seq, digest, "a witness", report, first=first, is_late=False)

    def _judge_reference(
        self,
        check: ReadStream,
        seq: int,
        record_hash: bytes,
        who: str,
        report: Report,
        *,
        first: str,
        is_late: bool,
    ) -> None:
        """*first* is when the first stream that names that record says so; empty where only a witness does."""
        if seq > check.last_seq:
            if not is_late and not check.is_cut:
                message = f"{who} names record {seq}, and there is none above {check.last_seq}"
                report("truncated", check.stream, seq, message, 1)
            return
        if self._terms.is_window and 1 < seq < check.run_start:
            return
        held = check.at(seq)
        if held is not None and not held.has(record_hash):
            report("altered", check.stream, seq, f"{who} names another record {seq} than this one", 1)
        elif held is not None and first and held.observed > first:
            report("clock-skew", check.stream, seq, f"{who} names it, and was observed before it", 1)

    def _judge_end(self, check: ReadStream, report: Report) -> None:
        """Promises that fell due, and ends that nobody vouches for."""
        if check.is_cut:
            return
        if check.closed_at is None:
            recoveries = self._recoveries(check.stream)
            if recoveries:
                self._judge_recovered(check, recoveries, report)
            elif (
                check.next_by is not None
                and unix_nanos(check.next_by) + self._around.grace_ns < self._around.now_ns
            ):
                message = f"the next seal was promised for {check.next_by}; there is none, no close and no recovery"
                report("overdue-seal", check.stream, check.last_seq, message, 1)
        if check.signed_seq and not self._is_pinned(check):
            message = "nothing else names or holds this end; whoever can write here could take from it"
            report("unpinned", check.stream, check.signed_seq, message, 1)

    def _is_pinned(self, check: ReadStream) -> bool:
        named = [naming.seq for naming in self._naming(check.stream) if naming.by != check.stream]
        named += [reference.seq for reference in self._witness.get(check.stream, ())]
        return max(named, default=0) >= check.signed_seq or self._copies_of_end(check) > 1

    def _copies_of_end(self, check: ReadStream) -> int:
        return len({self._around.copies[source] for source in check.last_holders})

    def _judge_recovered(self, check: ReadStream, recoveries: Sequence[Naming], report: Report) -> None:
        tail = check.tail
        if tail is not None:
            message = "what follows the last signed record is vouched for by the recovery only"
            report("adopted", check.stream, tail.first_seq, message, tail.records)
        end = check.at(check.last_seq)
        # Without one signed record there is no last one; what is wrong with record 1 has been said
        if (
            not check.signed_seq
            or self._copies_of_end(check) > 1
            or any(
                witness.seq == check.last_seq and end is not None and end.has(bytes.fromhex(witness.hash))
                for witness in self._witness.get(check.stream, ())
            )
        ):
            return
        recovery = min(recoveries, key=lambda naming: naming.observed)
        if recovery.seq > check.last_seq and self._may_be_late(recovery.observed):
            return
        if check.next_by is not None and recovery.observed > check.next_by:
            message = f"recovered at {recovery.observed}, after the promise for {check.next_by} had lapsed"
            report("unwitnessed-end", check.stream, check.signed_seq, message, 1)
        elif tail is not None:
            latest = unix_nanos(tail.first_observed) + check.seal_interval_ms * 1_000_000 + _ADOPTED_SLACK_NS
            if unix_nanos(tail.latest_observed) > latest:
                message = f"an adopted record was observed at {tail.latest_observed}, when a seal was overdue"
                report("unwitnessed-end", check.stream, check.signed_seq, message, 1)

    def _judge_namings(self, stream: str, namings: Sequence[Naming], report: Report) -> None:
        """Whether the ones who name *stream* had a right to, and whether it is there at all."""
        named = self._checks.get(stream)
        differ = len({naming[5:] for naming in self._recoveries(stream)}) > 1
        for naming in namings:
            by_name = f"stream {stream}"
            if self._is_foreign(naming):
                report("misplaced", naming.by, naming.at, f"{by_name} is one of another service", 1)
            elif naming.kind != "recovered":
                continue
            elif naming.by == stream:
                report("misplaced", naming.by, naming.at, "a stream recovers itself", 1)
            elif named is not None and named.closed_at is not None:
                report("misplaced", naming.by, naming.at, f"{by_name} was recovered and has a close", 1)
            elif differ:
                report("misplaced", naming.by, naming.at, f"{by_name} was recovered twice, differently", 1)
        if named is not None:
            return
        unexcused = [naming for naming in namings if not self._is_excused(naming)]
        if unexcused:
            by, at = unexcused[0].by, unexcused[0].at
            message = f"named by record {at} of stream {by}, and no source holds it"
            report("missing-stream", stream, None, message, len(unexcused))

    def _is_excused(self, naming: Naming) -> bool:
        """Whether the named stream may be absent: still on its way, before the window, or retired.

        Retired wherever it is named: what was retired in one place excuses nothing in another.
        """
        since = self._terms.since
        if self._may_be_late(naming.observed) or (since is not None and naming.observed < since):
            return True
        service = self._checks[naming.by].service
        listing = self._places.get((naming.stream, service), set[str]())
        return all(self._around.places[source] in listing for source in self._checks[naming.by].holders)

    def _judge_retirement(self, retirement: Retirement, report: Report) -> None:
        by, at, keep_ns = retirement.by, retirement.at, self._around.keep_ns
        if retirement.ended > retirement.observed:
            report("misplaced", by, at, "audit.retired.ended is later than the record that says it", 1)
        if retirement.place not in self._around.places:
            return
        count = len(retirement.streams)
        kept_ns = unix_nanos(retirement.observed) - unix_nanos(retirement.ended)
        if keep_ns is not None and kept_ns < keep_ns:
            report(
                "retired-early", by, at, f"{count} streams were removed before they had been kept long enough", 1
            )
        elif retirement.delivered:
            message = f"{count} streams were removed after delivery, from here: place {retirement.place}"
            report("retired-delivered", by, at, message, 1)
        elif keep_ns is None:
            message = f"{count} streams were removed undelivered; say with --keep how long they had to be kept"
            report("retired", by, at, message, 1)


def _is_in_run(naming: Naming, by: ReadStream) -> bool:
    """Whether the record that says it is in the run of stream *by*, which record 1 and every recovery count as."""
    return naming.at == 1 or naming.kind == "recovered" or by.run_start <= naming.at <= by.last_seq


def newest_first(opened: Mapping[str, str]) -> list[str]:
    """Streams in the order in which reading them knows most: newer ones name older ones."""
    # Sorted twice, as a pair for each of a million would be a hundred megabytes
    streams = sorted(opened, reverse=True)
    streams.sort(key=opened.__getitem__, reverse=True)
    return streams
