"""A second verifier of `otel-audit/1`, written from the format's page alone; words in quotes are the page's own.

It shares no code with the first, keeps every record in memory, and leaves out the warnings: it is here to be right
and to be read beside the page. Where the page can be read in two ways, README.md says which was taken.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.x509 import Certificate

from tests.second_verifier.index import agrees
from tests.second_verifier.records import (
    CLOSE,
    LIFECYCLE,
    OPEN,
    RECOVERED,
    RETIRED,
    SECOND,
    Json,
    instant,
    moment,
    parse,
)
from tests.second_verifier.streams import Stream, certificate_of, end_of, intervals, references_of, root

TAMPERED = (
    "malformed", "forked", "missing", "altered", "bad-signature", "wrong-root", "untrusted-key",
    "wrong-certificate", "misplaced", "truncated", "rolled-back", "index-mismatch", "retired-early",
)  # fmt: skip
INCOMPLETE = (
    "no-trust", "overdue-seal", "unwitnessed-end", "missing-stream", "declared-gap", "declared-drops",
    "clock-outside-certificate", "retired", "unsupported",
)  # fmt: skip
ORDER = {kind: place for place, kind in enumerate(TAMPERED + INCOMPLETE)}


@dataclass(frozen=True)
class Body:
    """One body as a source hands it over, with the attributes that stood beside it."""

    text: bytes
    attributes: Mapping[str, object] | None = None
    source: int = 0


@dataclass(frozen=True)
class Question:
    """What a verifier is given beside the bodies; times and durations in nanoseconds."""

    anchors: Sequence[Certificate]
    now: int
    grace: int = 0
    keep: int | None = None
    places: Mapping[int, str | None] = field(default_factory=dict[int, str | None])
    """Of each source its name, if it has one."""
    witnesses: Sequence[str] = ()
    until: int | None = None
    """The end of the period asked about; the bodies are then those of "Windows"."""


@dataclass
class Answer:
    """The verdicts, each stream's first finding, the kinds of findings without a `seq`, two counts."""

    verdict: str = "verified"
    streams: dict[str, str] = field(default_factory=dict[str, str])
    first: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    loose: set[str] = field(default_factory=set[str])
    pending: int = 0
    adopted: int = 0


def verify(bodies: Sequence[Body], asked: Question) -> Answer:
    """Judge *bodies*."""
    return Judge(bodies, asked).answer()


class Judge:
    """One verification: `found` collects (stream, seq, kind); a stream of "" is none."""

    def __init__(self, bodies: Sequence[Body], asked: Question) -> None:
        self.asked = asked
        self.streams: dict[str, Stream] = {}
        self.found: set[tuple[str, int, str]] = set()
        self.pending: set[bytes] = set()
        self.adopted: set[bytes] = set()
        for body in bodies:
            record = parse(body.text)
            if isinstance(record, str):
                self.found.add(("", 0, record))
                continue
            stream = self.streams.setdefault(record["stream"], Stream(asked.anchors))
            stream.records[record["seq"]][body.text] = record
            stream.holders[body.text].add(body.source)
            if not agrees(body.attributes or {}, record):
                stream.contradicted.add(body.text)

    def add(self, stream: str, seq: int, kind: str) -> None:
        self.found.add((stream, seq, kind))

    def answer(self) -> Answer:
        """Every finding, then what they come to."""
        if not self.asked.anchors:
            self.add("", 0, "no-trust")
        for stream in self.streams.values():
            stream.settle()
        self.ends = self.recoveries()
        for name, stream in self.streams.items():
            stream.tear(max((end_of(one) for one in self.ends.get(name, ())), default=2**53))
        self.streams = {name: stream for name, stream in self.streams.items() if stream.records}
        for name, stream in self.streams.items():
            self.chain(name, stream)
            for seq, body, record in stream.all():
                self.record(name, stream, seq, body, record)
            self.end(name, stream)
        self.references()
        answer = Answer(pending=len(self.pending), adopted=len(self.adopted))
        answer.loose = {kind for name, _, kind in self.found if not name}
        for name in self.streams:
            own = sorted((seq, ORDER[kind], kind) for one, seq, kind in self.found if one == name)
            answer.streams[name] = verdict(kind for _, _, kind in own)
            if own:
                answer.first[name] = (own[0][2], own[0][0])
        answer.verdict = verdict(kind for _, _, kind in self.found)
        if answer.verdict == "verified" and not self.streams:
            answer.verdict = "empty"
        return answer

    def voices(self, event: str, *, pending: bool = False) -> list[Json]:
        """ "Only well-signed records of streams with a good path", and none observed after now: earliest first."""
        heard = [
            record
            for stream in self.streams.values()
            if stream.is_good
            for _, body, record in stream.all()
            if record["event"] == event
            and body in stream.signed
            and (pending or moment(record["observed"]) <= self.asked.now)
        ]
        return sorted(heard, key=lambda one: (one["observed"], one["stream"], one["seq"]))

    def recoveries(self) -> defaultdict[str, list[Json]]:
        """Those that end each stream: by another stream, of the same service, earliest first."""
        ends: defaultdict[str, list[Json]] = defaultdict(list)
        for one in self.voices(RECOVERED):
            target = one["context"]["audit.recovered.stream"]
            if target != one["stream"] and not self.is_foreign(one["stream"], target):
                ends[target].append(one)
        return ends

    def is_foreign(self, name: str, other: str) -> bool:
        """Whether two streams that are held are of different services."""
        opens = [self.streams[one].open for one in (name, other) if one in self.streams]
        return len({one["context"]["service.name"] for one in opens if one}) > 1

    def chain(self, name: str, stream: Stream) -> None:
        """forked, missing, altered, wrong-root."""
        present = sorted(stream.records)
        first = stream.records.get(1, {})
        certificates = {certificate_of(one) for one in first.values() if one["event"] == OPEN}
        leaves: list[bytes] | None = []
        run = self.run_start(stream)
        for before, seq in zip([0, *present], present, strict=False):
            here = stream.records[seq]
            if seq != before + 1 and not (before <= 1 and seq == run):
                self.add(name, before + 1, "missing")
                leaves = None
            if len(here) > 1:
                self.add(name, seq, "forked")
            hashes = {hashlib.sha256(body).hexdigest() for body in stream.records.get(seq - 1, {})}
            for record in here.values():
                if seq == before + 1 and seq > 1 and record["prev"] not in hashes:
                    self.add(name, before, "altered")
                said = record.get("context", {})
                if record["event"] == OPEN and certificates and certificate_of(record) not in certificates:
                    self.add(name, seq, "forked")
                is_seal = record["event"] in {"audit.seal", CLOSE}
                if is_seal and leaves is not None and self.asked.until is None:
                    sound = said["audit.seal.size"] == seq - 1 and said["audit.seal.root"] == root(leaves).hex()
                    if not sound:
                        self.add(name, seq, "wrong-root")
            if leaves is not None:
                leaves.append(hashlib.sha256(min(here)).digest())

    def run_start(self, stream: Stream) -> int:
        """In a window, the first record after record 1: nothing is asked about what lies between them."""
        return min((seq for seq in stream.records if seq > 1), default=0) if self.asked.until is not None else 0

    def record(self, name: str, stream: Stream, seq: int, body: bytes, record: Json) -> None:
        """What one record shows of itself, by its stream's open."""
        event, said, seen = record["event"], record.get("context", {}), moment(record["observed"])
        opened: Json = stream.open["context"] if stream.open else {}
        must = event in LIFECYCLE or opened.get("audit.sign") == "record"
        if body not in stream.signed and (stream.has_key if "sig" in record else must):
            self.add(name, seq, "bad-signature")
        if (event == OPEN) != (seq == 1) or any(close < seq for close in stream.closes()):
            self.add(name, seq, "misplaced")
        if event == OPEN:
            opened = said
            if stream.path_finding:
                self.add(name, seq, stream.path_finding)
            if max(intervals(said)) > 300_000:
                self.add(name, seq, "misplaced")
        if "audit.seal.next_by" in said and opened and event in LIFECYCLE:
            latest = seen + 2 * max(intervals(opened)) * 10**6 + SECOND
            if not seen <= moment(said["audit.seal.next_by"]) <= latest:
                self.add(name, seq, "misplaced")
        if body in stream.contradicted:
            self.add(name, seq, "index-mismatch")
        if seen > self.asked.now:
            self.pending.add(body)
        self.admissions(name, stream, seq, body, record)

    def admissions(self, name: str, stream: Stream, seq: int, body: bytes, record: Json) -> None:
        """What the log itself says that it lacks, and what it says of the retention."""
        event, said, seen = record["event"], record.get("context", {}), moment(record["observed"])
        if event in {"audit.seal", CLOSE} and said["audit.seal.dropped"]:
            self.add(name, seq, "declared-drops")
        if event == "audit.gap":
            self.add(name, seq, "declared-gap")
        own = stream.certificate
        if own and event != CLOSE:
            valid = instant(own.not_valid_before_utc) <= seen <= instant(own.not_valid_after_utc)
            if not valid:
                self.add(name, seq, "clock-outside-certificate")
        if event != RETIRED:
            return
        ended = moment(said["audit.retired.ended"])
        heard = stream.is_good and body in stream.signed and seen <= self.asked.now
        if heard and ended > seen:
            self.add(name, seq, "misplaced")
        heard = heard and said["audit.retired.place"] in self.asked.places.values()
        if heard and self.asked.keep is not None and seen - ended < self.asked.keep:
            self.add(name, seq, "retired-early")
        if heard and self.asked.keep is None and not said["audit.retired.delivered"]:
            self.add(name, seq, "retired")

    def end(self, name: str, stream: Stream) -> None:
        """What may follow the last signed record, and when it had to."""
        signed = [seq for seq, body, _ in stream.all() if body in stream.signed]
        promises = [
            moment(one["context"]["audit.seal.next_by"])
            for _, body, one in stream.all()
            if one["event"] in {OPEN, "audit.seal"} and body in stream.signed
        ]
        last, highest = max(signed, default=0), max(stream.records, default=0)
        tail = [(body, one) for seq, body, one in stream.all() if seq > last and body not in stream.signed]
        recoveries, times = self.ends.get(name, []), [moment(one["observed"]) for _, _, one in stream.all()]
        for seq in signed:
            if recoveries and seq > min(map(end_of, recoveries)):
                self.add(name, seq, "rolled-back")
        if stream.closes():
            return
        if not recoveries:
            self.pending.update(body for body, _ in tail)
            goes_on = self.asked.until is not None and max(times, default=0) > self.asked.until
            if promises and not goes_on and self.asked.now > promises[-1] + self.asked.grace:
                self.add(name, highest, "overdue-seal")
            return
        self.adopted.update(body for body, _ in tail)
        self.pending -= self.adopted
        times = [moment(one["observed"]) for _, one in tail]
        interval = stream.open["context"]["audit.seal.interval_ms"] * 10**6 if stream.open else 0
        recovered = moment(recoveries[0]["observed"])
        is_late = bool(promises) and recovered > promises[-1]
        is_late = is_late or any(one > times[0] + interval + 5 * SECOND for one in times)
        is_whole = end_of(recoveries[0]) <= highest or self.is_due(recovered)
        if last and is_late and is_whole and not self.is_shared(name, stream, highest):
            self.add(name, last, "unwitnessed-end")

    def is_due(self, said_at: int) -> bool:
        """Whether what was there then has arrived by now, or never will."""
        return self.asked.now >= said_at + self.asked.grace

    def is_shared(self, name: str, stream: Stream, highest: int) -> bool:
        """Whether "a witness, or another source, has the same last record"."""
        for body in stream.records.get(highest, {}):
            if f"{name}:{highest}:{hashlib.sha256(body).hexdigest()}" in self.asked.witnesses:
                return True
            if len(stream.holders[body]) > 1:
                return True
        return False

    def references(self) -> None:
        """altered, truncated, misplaced, missing-stream: by predecessors, recoveries, successors, witnesses."""
        for reference in self.asked.witnesses:
            self.follow(reference)
        for event in (OPEN, "audit.stream.linked", RECOVERED, CLOSE):
            for one in self.voices(event):
                for reference in references_of(one):
                    if self.is_foreign(one["stream"], reference[:32]) or self.is_wrong_recovery(one):
                        self.add(one["stream"], one["seq"], "misplaced")
                    self.follow(reference, one)

    def is_wrong_recovery(self, one: Json) -> bool:
        """ "A recovery of itself or of a stream that has a close, two recoveries of one stream that differ"."""
        said = one["context"]
        if one["event"] != RECOVERED:
            return False
        target = said["audit.recovered.stream"]
        has_close = target in self.streams and bool(self.streams[target].closes())
        parts = ("seq", "hash", "sealed", "torn_bytes")
        every = {tuple(it["context"][f"audit.recovered.{part}"] for part in parts) for it in self.ends[target]}
        return target == one["stream"] or has_close or len(every) > 1

    def follow(self, reference: str, by: Json | None = None) -> None:
        """Look for what *reference* names, a witness's where *by* is None; seq 0 is no particular record."""
        name, number, wanted = reference.split(":")
        stream, seq = self.streams.get(name), int(number)
        is_due = by is None or self.is_due(moment(by["observed"]))
        if stream is None:
            if is_due and self.asked.until is None and not (by and self.is_excused(name, by)):
                self.add("", 0, "missing-stream")
            return
        if seq > max(stream.records):
            if is_due:
                self.add(name, seq, "truncated")
            return
        hashes = {hashlib.sha256(body).hexdigest() for body in stream.records.get(seq, {})}
        if seq and hashes and wanted not in hashes:
            self.add(name, seq, "altered")

    def is_excused(self, name: str, by: Json) -> bool:
        """Whether *name* was retired, by its own service, in every place from which *by* was read."""
        said = [
            it["context"]["audit.retired.place"]
            for it in self.voices(RETIRED, pending=True)
            if name in it["context"]["audit.retired.streams"] and not self.is_foreign(it["stream"], by["stream"])
        ]
        sources = {source for here in self.streams[by["stream"]].holders.values() for source in here}
        return all(self.asked.places.get(source) in said for source in sources)


def verdict(kinds: Iterator[str]) -> str:
    """The worst wins."""
    seen = set(kinds)
    return "tampered" if seen & set(TAMPERED) else "incomplete" if seen else "verified"
