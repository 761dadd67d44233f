"""A second verifier of `otel-audit/1`, written from the format's page alone; words in quotes are the page's own.

It shares no code with the first, keeps every record in memory, and leaves out the warnings: it is here to be right
and to be read beside the page. Where the page can be read in two ways, README.md says which was taken.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509 import Certificate

from tests.second_verifier.index import agrees
from tests.second_verifier.keys import judge_path, verifies
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
    places: Collection[str] = ()
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


class Stream:
    """The records of one stream, by `seq`: more than one at a `seq` that is forked."""

    def __init__(self, anchors: Sequence[Certificate]) -> None:
        self.records: dict[int, dict[bytes, Json]] = defaultdict(dict)
        self.holders: dict[bytes, set[int]] = defaultdict(set)
        self.anchors = anchors

    def settle(self) -> None:
        """Read the open: what the rest is judged by."""
        opens = [one for one in self.records.get(1, {}).values() if one["event"] == OPEN]
        self.open = opens[0] if opens else None
        self.certificate, self.path_finding = judge_path(self.open, self.anchors) if self.open else (None, "")
        self.is_good = bool(self.open and self.anchors and not self.path_finding)
        key = self.certificate and self.certificate.public_key()
        raw = key.public_bytes_raw() if isinstance(key, ed25519.Ed25519PublicKey) else b""
        self.signed = {body for _, body, one in self.all() if verifies(raw, one)}

    def all(self) -> list[tuple[int, bytes, Json]]:
        return [(seq, body, one) for seq, two in sorted(self.records.items()) for body, one in two.items()]

    def closes(self) -> list[int]:
        return [seq for seq, _, one in self.all() if one["event"] == CLOSE]

    def tear(self, last: int) -> None:
        """ "In a recovered stream unsigned lines after the recovered record are torn too"."""
        for seq, body, one in self.all():
            if seq > last and "sig" not in one:
                del self.records[seq][body]
        self.records = defaultdict(dict, {seq: here for seq, here in self.records.items() if here})


def root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + root(leaves[:half]) + root(leaves[half:])).digest()


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
                self.add(record["stream"], record["seq"], "index-mismatch")

    def add(self, stream: str, seq: int, kind: str) -> None:
        self.found.add((stream, seq, kind))

    def answer(self) -> Answer:
        """Every finding, then what they come to."""
        if not self.asked.anchors:
            self.add("", 0, "no-trust")
        for stream in self.streams.values():
            stream.settle()
        self.excused = {
            one
            for said in self.voices(RETIRED)
            if said["context"]["audit.retired.place"] in self.asked.places
            for one in said["context"]["audit.retired.streams"]
        }
        self.ends = self.recoveries()
        for name, stream in self.streams.items():
            if name in self.ends:
                stream.tear(self.ends[name]["context"]["audit.recovered.seq"])
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

    def voices(self, event: str) -> Iterator[Json]:
        """ "Only well-signed records of streams with a good path", and none observed after now: earliest first."""
        heard = [
            record
            for stream in self.streams.values()
            if stream.is_good
            for _, body, record in stream.all()
            if record["event"] == event and body in stream.signed and moment(record["observed"]) <= self.asked.now
        ]
        return iter(sorted(heard, key=lambda one: (one["observed"], one["stream"], one["seq"])))

    def recoveries(self) -> dict[str, Json]:
        """The recovery that ends each stream that has one."""
        ended: dict[str, tuple[tuple[int, str], Json]] = {}
        for one in self.voices(RECOVERED):
            said, place = one["context"], (one["stream"], one["seq"])
            target = said["audit.recovered.stream"]
            says = (said["audit.recovered.seq"], said["audit.recovered.hash"])
            other = self.streams.get(target)
            if (
                target == one["stream"]
                or (other and (other.closes() or self.is_foreign(one["stream"], other)))
                or ended.setdefault(target, (says, one))[0] != says
            ):
                self.add(*place, "misplaced")
        return {target: one for target, (_, one) in ended.items()}

    def is_foreign(self, name: str, other: Stream) -> bool:
        own = self.streams[name].open
        return bool(own and other.open and own["context"]["service.name"] != other.open["context"]["service.name"])

    def chain(self, name: str, stream: Stream) -> None:
        """forked, missing, altered, wrong-root."""
        present = sorted(stream.records)
        first = stream.records.get(1, {})
        certificates = {
            tuple(one["context"]["audit.certificate"]) for one in first.values() if one["event"] == OPEN
        }
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
                if (
                    record["event"] == OPEN
                    and certificates
                    and tuple(said["audit.certificate"]) not in certificates
                ):
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
        if ("sig" in record or must) and body not in stream.signed:
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
        if ended > seen:
            self.add(name, seq, "misplaced")
        is_here = said["audit.retired.place"] in self.asked.places
        heard = is_here and stream.is_good and body in stream.signed and seen <= self.asked.now
        if heard and self.asked.keep is not None and seen - ended < self.asked.keep:
            self.add(name, seq, "retired-early")
        if heard and self.asked.keep is None and not said["audit.retired.delivered"]:
            self.add(name, seq, "retired")

    def end(self, name: str, stream: Stream) -> None:
        """What may follow the last signed record, and when it had to."""
        signed = [seq for seq, body, _ in stream.all() if body in stream.signed]
        promises = [
            moment(one["context"]["audit.seal.next_by"])
            for _, _, one in stream.all()
            if one["event"] in {OPEN, "audit.seal"}
        ]
        last, highest = max(signed, default=0), max(stream.records, default=0)
        tail = [(body, one) for seq, body, one in stream.all() if seq > last and "sig" not in one]
        recovery, times = self.ends.get(name), [moment(one["observed"]) for _, _, one in stream.all()]
        if recovery is None:
            if stream.closes():
                return
            self.pending.update(body for body, _ in tail)
            goes_on = self.asked.until is not None and max(times, default=0) > self.asked.until
            if promises and not goes_on and self.asked.now > promises[-1] + self.asked.grace:
                self.add(name, highest, "overdue-seal")
            return
        where = recovery["context"]["audit.recovered.seq"]
        for seq, body, _ in stream.all():
            if seq > where and body in stream.signed:
                self.add(name, seq, "rolled-back")
        self.adopted.update(body for body, _ in tail if body not in self.pending)
        times = [moment(one["observed"]) for _, one in tail]
        interval = stream.open["context"]["audit.seal.interval_ms"] * 10**6 if stream.open else 0
        is_late = bool(promises) and moment(recovery["observed"]) > promises[-1]
        is_late = is_late or any(one > times[0] + interval + 5 * SECOND for one in times)
        if is_late and not self.is_shared(name, stream, highest):
            self.add(name, last, "unwitnessed-end")

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
        asked = self.asked
        for reference in asked.witnesses:
            self.follow(reference, asked.now - asked.grace - 1)
        for event in (OPEN, "audit.stream.linked"):
            for one in self.voices(event):
                for reference in one["context"]["audit.predecessors"]:
                    other = self.streams.get(reference[:32])
                    if other and self.is_foreign(one["stream"], other):
                        self.add(one["stream"], one["seq"], "misplaced")
                    else:
                        self.follow(reference, moment(one["observed"]))
        for one in self.voices(RECOVERED):
            said = one["context"]
            if (one["stream"], one["seq"], "misplaced") not in self.found:
                reference = ":".join(str(said[f"audit.recovered.{part}"]) for part in ("stream", "seq", "hash"))
                self.follow(reference, moment(one["observed"]))
        for one in self.voices(CLOSE):
            if "audit.successor" in one["context"]:
                self.follow(f"{one['context']['audit.successor']}:0:", moment(one["observed"]))

    def follow(self, reference: str, said_at: int) -> None:
        """Look for what *reference* names; seq 0 is no particular record."""
        name, number, wanted = reference.split(":")
        stream, seq = self.streams.get(name), int(number)
        is_due = self.asked.now > said_at + self.asked.grace
        if stream is None:
            if name not in self.excused and is_due and self.asked.until is None:
                self.add("", 0, "missing-stream")
            return
        if seq > max(stream.records, default=0):
            if is_due:
                self.add(name, seq, "truncated")
            return
        hashes = {hashlib.sha256(body).hexdigest() for body in stream.records.get(seq, {})}
        if seq and hashes and wanted not in hashes:
            self.add(name, seq, "altered")


def verdict(kinds: Iterator[str]) -> str:
    """The worst wins."""
    seen = set(kinds)
    return "tampered" if seen & set(TAMPERED) else "incomplete" if seen else "verified"


def intervals(opened: Json) -> tuple[int, int]:
    return opened["audit.seal.interval_ms"], opened["audit.heartbeat.interval_ms"]
