"""Is it whole and unaltered? Sources in, one verdict out.

Reads every stream once, the newest first because they name older ones, and a second time only where
something that was learnt later can be judged by its records alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from otel_audit.verify.index import differs
from otel_audit.verify.reading import Disorder, OwnLane, Tally, check_stream
from otel_audit.verify.reference import Reference
from otel_audit.verify.resolve import Streams, Surroundings, newest_first
from otel_audit.verify.standing import Marks, Terms
from otel_audit.verify.stream import StreamCheck
from otel_audit.verify.verdict import Issuer, Verdict

_REMOTE_GRACE = timedelta(minutes=2)


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
    progress: Callable[[int], None] | None = None,
) -> Verdict:
    """Check all records of *sources* together against the format, and say what was found.

    *trust* are issuers, which count as name and key alone. *now* is the moment that promises are held
    against, by default that at which reading begins. *grace* is how late delivery may be; None: two minutes
    if any source is remote. *keep* is how long ended streams had to be kept before they were retired. *place*
    names those sources that do not name themselves. *witness* are records that were seen elsewhere. *since*
    and *until* (exclusive) ask about a period, *service* about one service. *progress* is told how many
    bodies more were read. Data are never an error; memory grows with streams and references, not records.

    Raises:
        SourceError: a source cannot be read.
    """
    given = list(sources)
    moment = datetime.now(UTC) if now is None else now
    if grace is None:
        grace = timedelta(0) if all(source.local for source in given) else _REMOTE_GRACE
    terms = Terms(
        anchors(trust),
        from_datetime(moment),
        None if since is None else from_datetime(since),
        None if until is None else from_datetime(until),
    )
    names = [source.name for source in given]
    around = Surroundings(
        places=[source.place or place for source in given],
        copies=[names.index(name) for name in names],
        witness=witness,
        now_ns=unix_nanos(terms.now),
        grace_ns=nanos_of(grace),
        keep_ns=None if keep is None else nanos_of(keep),
    )
    reading = _Reading(given, terms, around, progress)
    reading.read_all()
    conclusion = Conclusion(reading.checks, Streams(reading.checks, terms, around), terms, service)
    conclusion.take_tallies(reading.tallies)
    if not trust:
        conclusion.report("no-trust", None, None, "no issuer was given: nobody answers for these keys", 1)
    relied_on = {check.opening.path.anchor for check in reading.checks.values() if check.opening and check.is_good}
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
        around: Surroundings,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.checks: dict[str, StreamCheck] = {}
        self._tallies: dict[str, list[Tally]] = {}
        self._lone_tallies: list[Tally] = []
        self._sources = sources
        self._terms = terms
        self._around = around
        self._progress = progress
        self._lanes: dict[str, list[OwnLane]] = defaultdict(list)
        self._disordered: dict[int, list[Lane]] = defaultdict(list)
        self._named: dict[str, set[int]] = defaultdict(set)
        """Records that were named so far; those of newer streams are known when an older one is read."""
        for reference in around.witness:
            self._named[reference.stream].add(reference.seq)

    @property
    def tallies(self) -> list[Tally]:
        """Of every lane: what is no record in it."""
        return self._lone_tallies + [tally for tallies in self._tallies.values() for tally in tallies]

    def read_all(self) -> None:
        opened: dict[str, str] = {}
        for at, source in enumerate(self._sources):
            found: dict[str, list[Lane]] = defaultdict(list)
            for lane in source.lanes():
                stream = lane.stream or first_key(lane)[0]
                if stream is None:
                    self._disordered[at].append(lane)
                else:
                    found[stream].append(lane)
            for stream, lanes in found.items():
                lane = chain(lanes)
                self._lanes[stream].append(OwnLane(at, lane))
                opened[stream] = max(opened.get(stream, ""), lane.opened)
        for stream in self._read_newest_first(opened):
            self._read_again(stream)
        streams = Streams(self.checks, self._terms, self._around)
        for stream, check in list(self.checks.items()):
            if streams.needs_reading_again(check):
                self._read_again(stream, streams.marks(stream))

    def _read_newest_first(self, opened: Mapping[str, str]) -> Iterable[str]:
        """Read every stream; returns those to read once more, now that all is in order."""
        again: set[str] = set()
        for stream in newest_first(opened):
            while not self._read(stream):
                again.add(stream)
        return sorted(again | self._put_in_order())

    def _put_in_order(self) -> set[str]:
        """Sort what was set aside; returns the streams that were found in it."""
        found: set[str] = set()
        while self._disordered:
            at, lanes = self._disordered.popitem()
            for lane in self._sources[at].reorder(lanes, differs):
                if lane.stream is None:
                    self._lone_tallies.append(_tally_all(lane))
                else:
                    self._lanes[lane.stream].append(OwnLane(at, lane))
                    found.add(lane.stream)
        return found

    def _read_again(self, stream: str, marks: Marks | None = None) -> None:
        """Read what was put in order; a stream must not drop out without a word.

        A period is read no further than its run: that another lane is in no order may show only now.
        """
        todo, lanes = {stream}, sum(map(len, self._lanes.values()))
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
        if marks is None:
            marks = Marks(frozenset(self._named[stream]))
        check = StreamCheck(stream, self._terms, marks)
        lanes = self._lanes[stream]
        self.checks.pop(stream, None)
        try:
            tallies = check_stream(check, lanes, self._progress)
        except LaneGone:
            # All of it or nothing: half a stream would look like one that was tampered with.
            self._lanes[stream] = [own for own in lanes if not _is_gone(own.lane)]
            if len(self._lanes[stream]) == len(lanes):
                raise SourceError(
                    f"{lanes[0].lane.name}: removed and back again while it was read; read again"
                ) from None
            return self._read(stream, marks)
        except Disorder as disorder:
            at = next(at for at, own in enumerate(lanes) if own.lane is disorder.lane)
            self._disordered[lanes[at].source].append(disorder.lane)
            del lanes[at]
            self._tallies.pop(stream, None)
            return False
        self._tallies.pop(stream, None)
        if any(tally.malformed or tally.unsupported for tally in tallies):
            self._tallies[stream] = tallies
        if check.records:
            self.checks[stream] = check
        if check.is_good:
            for naming in check.namings:
                self._named[naming.stream].add(naming.seq)
        return True


def _is_gone(lane: Lane) -> bool:
    try:
        first_key(lane)
    except LaneGone:
        return True
    return False


def _tally_all(lane: Lane) -> Tally:
    tally = Tally()
    at = 0
    for batch in lane.batches():
        for body in batch.bodies:
            tally.take(body, decode(body), lane, at)
            at += 1
    return tally


def _issuer(certificate: x509.Certificate) -> Issuer:
    return Issuer(certificate.subject.rfc4514_string(), certificate.fingerprint(hashes.SHA256()).hex())
