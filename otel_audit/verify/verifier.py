"""Is it whole and unaltered? Sources in, one verdict out.

Reads every stream once, the newest first because they name older ones, and a second time only where
something that was learnt later can be judged by its records alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from otel_audit.errors import SourceError
from otel_audit.evidence.canonical import decode
from otel_audit.evidence.rfc3339 import from_datetime, nanos_of, unix_nanos
from otel_audit.sources.chain import chain, first_key
from otel_audit.sources.source import Lane, LaneGone, Source
from otel_audit.verify.certificates import anchors
from otel_audit.verify.conclusion import Conclusion
from otel_audit.verify.ended import ReadStream, left_of
from otel_audit.verify.index import differs
from otel_audit.verify.reading import Disorder, OwnLane, Progress, Tally, check_stream
from otel_audit.verify.reference import Reference
from otel_audit.verify.resolve import Streams, Surroundings, newest_first
from otel_audit.verify.standing import Marks, Terms
from otel_audit.verify.stream import StreamCheck
from otel_audit.verify.verdict import Issuer, Verdict

_REMOTE_GRACE = timedelta(minutes=2)
_SHARED_SERVICES = 10_000
"""Names that are kept once; what has more services than that is no honest archive, and costs a little more."""


def verify(
    sources: Iterable[Source],
    *,
    trust: Sequence[x509.Certificate],
    now: datetime | None = None,
    grace: timedelta | None = None,
    keep: timedelta | None = None,
    place: str | None = None,
    witness: Sequence[Reference] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    service: str | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Check all records of *sources* together against the format, and say what was found.

    *trust* are issuers, which count as name and key alone. *now* is the moment that promises are held
    against, by default that at which reading begins. *grace* is how late delivery may be; None: two minutes
    if any source is remote. *keep* is how long ended streams had to be kept before they were retired. *place*
    names those sources that do not name themselves. *witness* are records that were seen elsewhere. *since*
    and *until* (exclusive) ask about a period, *service* about one service. *progress* is told how far
    it has come. Data are never an error; memory grows with streams and references, not records.

    Raises:
        SourceError: a source cannot be read.
    """
    given = list(sources)
    moment = datetime.now(UTC) if now is None else now
    terms = Terms(
        anchors(trust),
        from_datetime(moment),
        None if since is None else from_datetime(since),
        None if until is None else from_datetime(until),
    )
    reading = _Reading(given, terms, progress)
    reading.list_lanes()
    if grace is None:
        # Asked when all is listed: a directory knows it then
        grace = timedelta(0) if all(source.local for source in given) else _REMOTE_GRACE
    names = [source.name for source in given]
    around = Surroundings(
        places=[source.place or place for source in given],
        copies=[names.index(name) for name in names],
        witness=witness,
        now_ns=unix_nanos(terms.now),
        grace_ns=nanos_of(grace),
        keep_ns=None if keep is None else nanos_of(keep),
    )
    checks, tallies = reading.read_all(around)
    del reading
    relied_on = {check.anchor for check in checks.values() if check.is_good}
    conclusion = Conclusion(checks, Streams(checks, terms, around), terms, service)
    conclusion.take_tallies(tallies)
    if not trust:
        conclusion.report("no-trust", None, None, "no issuer was given: nobody answers for these keys", 1)
    issuers = sorted(
        (_issuer(anchor) for anchor in relied_on if anchor is not None), key=lambda issuer: issuer.sha256
    )
    return conclusion.verdict(tuple(issuers))


class _Reading:
    """Reads all streams, and some again."""

    def __init__(
        self,
        sources: Sequence[Source],
        terms: Terms,
        progress: Progress | None,
    ) -> None:
        self._checks: dict[str, ReadStream] = {}
        self._tallies: dict[str, list[Tally]] = {}
        self._lone_tallies: list[Tally] = []
        self._sources = sources
        self._terms = terms
        self._services: dict[str, str] = {}
        self._progress = progress
        self._lanes: list[tuple[int, dict[str, Lane]]] = []
        """By source, and again for what had to be sorted: a lane a stream, and not a list of a million lists."""
        self._disordered: dict[int, list[Lane]] = defaultdict(list)
        self._named: dict[str, set[int]] = defaultdict(set)
        """Records that were named so far, of streams still to be read: newer ones, which name older ones, come
        first."""

    def list_lanes(self) -> None:
        """List what there is to read."""
        for at, source in enumerate(self._sources):
            found: dict[str, list[Lane]] = defaultdict(list)
            for lane in source.lanes():
                stream = lane.stream or first_key(lane)[0]
                if stream is None:
                    self._disordered[at].append(lane)
                else:
                    found[stream].append(lane)
                if self._progress is not None:
                    self._progress.listed(1)
            self._lanes.append((at, {stream: chain(lanes) for stream, lanes in found.items()}))

    def read_all(self, around: Surroundings) -> tuple[dict[str, ReadStream], list[Tally]]:
        """Read every stream; returns what is left of each, and what is no record."""
        for reference in around.witness:
            self._named[reference.stream].add(reference.seq)
        for stream in self._read_newest_first():
            self._read_again(stream)
        streams = Streams(self._checks, self._terms, around)
        for stream in list(self._checks):
            if streams.needs_reading_again(self._checks[stream]):
                self._read_again(stream, streams.marks(stream))
        return self._checks, self._lone_tallies + [one for tallies in self._tallies.values() for one in tallies]

    def _read_newest_first(self) -> list[str]:
        """Read every stream; returns those to read once more, now that all is in order."""
        again: set[str] = set()
        for stream in newest_first(self._opened()):
            while not self._read(stream):
                again.add(stream)
        return sorted(again | self._put_in_order())

    def _put_in_order(self) -> set[str]:
        """Sort what was set aside; returns the streams that were found in it."""
        streams: set[str] = set()
        while self._disordered:
            at, lanes = self._disordered.popitem()
            found: dict[str, Lane] = {}
            for lane in self._sources[at].reorder(lanes, differs):
                if lane.stream is None:
                    self._lone_tallies.append(_tally_all(lane, self._progress))
                else:
                    found[lane.stream] = lane
            self._lanes.append((at, found))
            streams.update(found)
        return streams

    def _opened(self) -> dict[str, str]:
        opened: dict[str, str] = {}
        for _, lanes in self._lanes:
            for stream, lane in lanes.items():
                opened[stream] = max(opened.get(stream, ""), lane.opened)
        return opened

    def _lanes_of(self, stream: str) -> list[OwnLane]:
        return [OwnLane(at, lanes[stream]) for at, lanes in self._lanes if stream in lanes]

    def _known_text(self, text: str) -> str:
        """*text*, the id of a stream or the name of a service, as it is kept already: a million copies add up."""
        for _, lanes in self._lanes:
            kept = lanes[text].stream if text in lanes else None
            if kept is not None and kept == text:
                return kept
        if len(self._services) < _SHARED_SERVICES:
            return self._services.setdefault(text, text)
        return self._services.get(text, text)

    def _remove(self, stream: str, gone: Lane) -> None:
        for _, lanes in self._lanes:
            if lanes.get(stream) is gone:
                del lanes[stream]

    def _read_again(self, stream: str, marks: Marks | None = None) -> None:
        """Read what was put in order; a stream must not drop out without a word.

        A period is read no further than its run: that another lane is in no order may show only now.
        """
        todo, lanes = {stream}, sum(len(found) for _, found in self._lanes)
        while todo:
            one = todo.pop()
            if self._read(one, marks if one == stream else None):
                continue
            lanes -= 1
            if lanes < 0:  # more than there were: one that had been put in order is in none
                raise SourceError(f"stream {one}: its files were rewritten while they were read; read again")
            todo |= {one} | self._put_in_order()

    def _read(self, stream: str, marks: Marks | None = None) -> bool:
        """Read *stream*; False where a lane turned out not to be in order, and was set aside."""
        before = self._checks.pop(stream, None)
        if marks is None:
            known = set[int]() if before is None else {*(held.seq for held in before.held), *before.absent}
            marks = Marks(frozenset(known | self._named.pop(stream, set[int]())))
        lanes = self._lanes_of(stream)
        self._tallies.pop(stream, None)
        check = StreamCheck(stream, self._terms, marks)
        try:
            tallies = check_stream(check, lanes, self._progress)
        except LaneGone:
            # All of it or nothing: half a stream would look like one that was tampered with.
            gone = [own.lane for own in lanes if _is_gone(own.lane)]
            if not gone:
                raise SourceError(
                    f"{lanes[0].lane.name}: removed and back again while it was read; read again"
                ) from None
            for lane in gone:
                self._remove(stream, lane)
            return self._read(stream, marks)
        except Disorder as disorder:
            at = next(own.source for own in lanes if own.lane is disorder.lane)
            self._disordered[at].append(disorder.lane)
            self._remove(stream, disorder.lane)
            self._named[stream] |= marks.seqs
            return False
        window = check.window
        if window.is_cut and window.reach > check.last_seq:
            return self._read(stream, replace(marks, period_to=window.reach))
        if any(tally.malformed or tally.unsupported for tally in tallies):
            self._tallies[stream] = tallies
        if check.records:
            self._checks[stream] = left = left_of(check, self._known_text, lanes[0].lane.opened)
            if left.is_good:
                for naming in left.namings:
                    if naming.stream not in self._checks:
                        self._named[naming.stream].add(naming.seq)
        return True


def _is_gone(lane: Lane) -> bool:
    try:
        first_key(lane)
    except LaneGone:
        return True
    return False


def _tally_all(lane: Lane, progress: Progress | None) -> Tally:
    tally = Tally()
    at = 0
    for batch in lane.batches():
        # Each of them once: a bomb is ten thousand million of the same
        for body, times in Counter(batch.bodies).items():
            first = 0 if tally.malformed else batch.bodies.index(body)
            place = at + first if batch.places is None else batch.places[first]
            tally.take(body, decode(body), lane, place, times)
        at += len(batch.bodies)
        if progress is not None:
            progress.read(len(batch.bodies))
    return tally


def _issuer(certificate: x509.Certificate) -> Issuer:
    return Issuer(certificate.subject.rfc4514_string(), certificate.fingerprint(hashes.SHA256()).hex())
