"""A second verifier of `otel-audit/1`, written from the page on the format alone; it shares nothing with the first.

Where the page can be read in two ways, README.md says which was taken.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509 import Certificate
from cryptography.x509.oid import NameOID

from tests.second_verifier.asked import ORDER, Answer, Body, Question, verdict
from tests.second_verifier.records import (
    CLOSE,
    LIFECYCLE,
    OPEN,
    RECOVERED,
    SEAL,
    SECOND,
    Json,
    agrees,
    is_good,
    moment,
    parse,
    root,
)  # fmt: skip

CA, USAGE, NEVER = x509.BasicConstraints, x509.KeyUsage, 2**53
UNREADABLE = (
    ValueError, TypeError, UnsupportedAlgorithm,
    x509.DuplicateExtension, x509.ExtensionNotFound, x509.InvalidVersion, x509.UnsupportedGeneralNameType,
)  # fmt: skip


def issued(child: Certificate, parent: Certificate) -> bool:
    try:
        child.verify_directly_issued_by(parent)
    except ValueError:  # also where the digest is one that the library does not look at
        return child.issuer == parent.subject and isinstance(child.signature_hash_algorithm, hashes.SHA1)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def is_strong(child: Certificate, parent: Certificate) -> bool:
    key, digest = parent.public_key(), child.signature_hash_algorithm
    large = isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048
    large |= isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in {"secp256r1", "secp384r1"}
    return isinstance(key, Ed25519PublicKey) or (large and digest is not None and digest.digest_size >= 32)


def is_valid(one: Certificate, at: int) -> bool:
    span = (one.not_valid_before_utc, one.not_valid_after_utc)
    first, last = (moment(f"{when.isoformat()[:19]}.000000000Z") for when in span)
    return first <= at <= last


def is_right(opening: Json, path: Sequence[Certificate], read: int) -> bool:
    """The rules of Keys; of the anchor, behind the first *read* elements, only name and key are looked at."""
    named = {NameOID.COMMON_NAME: opening["stream"], NameOID.ORGANIZATION_NAME: opening["context"]["service.name"]}
    right = isinstance(path[0].public_key(), Ed25519PublicKey) and len(path) <= 8
    for oid, name in named.items():
        right &= [one.value for one in path[0].subject.get_attributes_for_oid(oid)] == [name]
    for at, one in enumerate(path[:read]):
        constraints = one.extensions.get_extension_for_class(CA).value
        below = sum(each.subject != each.issuer for each in path[1:at])  # RFC 5280 §4.2.1.9: not the self-issued
        right &= constraints.path_length is None or below <= constraints.path_length
        right &= constraints.ca == (at > 0) and is_valid(one, moment(opening["observed"]))
        right &= {each.oid for each in one.extensions if each.critical} <= {CA.oid, USAGE.oid}
        right &= at == 0 or one.extensions.get_extension_for_class(USAGE).value.key_cert_sign
    return right and all(issued(child, parent) and is_strong(child, parent) for child, parent in pairwise(path))


def judge_path(opening: Json, anchors: Sequence[Certificate]) -> tuple[Certificate | None, str]:
    """The stream's own certificate, where it can be read, and the finding on its path, or nothing."""
    path, own, above, ends, right = list[Certificate](), None, list[Certificate](), False, False
    try:
        for text in opening["context"]["audit.certificate"]:
            path.append(x509.load_der_x509_certificate(base64.b64decode(text, validate=True)))
            own = path[0] if isinstance(path[0].public_key(), Ed25519PublicKey) else None
            ends = any(
                (path[-1].subject, path[-1].public_key()) == (one.subject, one.public_key()) for one in anchors
            )
            if ends:
                break
        above = [one for one in anchors if path and not ends and issued(path[-1], one)]
        reached = ends or not anchors or any(is_strong(path[-1], one) for one in above)
        right = bool(own) and reached and is_right(opening, path, len(path) - ends)
    except UNREADABLE:
        pass  # `right` stays False
    return own, "untrusted-key" if anchors and not ends and not above else "" if right else "wrong-certificate"


class Row:
    """One record as it is held."""

    def __init__(self, record: Json, text: bytes) -> None:
        self.record, self.digest, self.said = record, hashlib.sha256(text).hexdigest(), record.get("context", {})
        self.stream, self.seq, self.event = str(record["stream"]), int(record["seq"]), str(record["event"])
        self.observed, self.sources, self.is_good = moment(record["observed"]), set[int](), False
        self.indexes: list[Mapping[str, object]] = []


class Stream:
    """The records of one stream, its certificate, the finding on that, and the `context` of its open."""

    def __init__(self, rows: set[Row], anchors: Sequence[Certificate]) -> None:
        self.opened, self.start, self.is_cut, self.fault = Json(), 0, False, "no open"
        self.own: Certificate | None = None
        for row in sorted(rows, key=lambda row: row.digest):
            if (row.seq, row.event) == (1, OPEN) and self.fault:
                own, fault = judge_path(row.record, anchors)
                if not (self.opened and fault):
                    self.opened, self.own, self.fault = row.said, own, fault
        key = self.own.public_key() if self.own else None
        for row in rows:
            row.is_good = isinstance(key, Ed25519PublicKey) and is_good(key, row.record)
        self.signed = max((row.seq for row in rows if row.is_good), default=0)
        self.sources = {source for row in rows for source in row.sources}
        self.hold(rows)

    def hold(self, rows: Iterable[Row]) -> None:
        self.rows = self.run = sorted(rows, key=lambda row: (row.seq, row.digest))
        self.closed = min((row.seq for row in self.rows if row.is_good and row.event == CLOSE), default=NEVER)
        self.digests = {one.seq: {row.digest for row in self.rows if row.seq == one.seq} for one in self.rows}

    def cut(self, since: int, until: int) -> None:
        """ "Windows": record 1, and the run around what was observed in the period."""
        inside = [row.seq for row in self.rows if since <= row.observed < until]
        signed = [row for row in self.rows if row.is_good]
        first = min(inside, default=NEVER)
        before = [row.seq for row in signed if row.observed < since and row.seq < first]
        last = max(inside + before[-1:], default=0)
        after = [row.seq for row in signed if row.observed >= until and row.seq > last]
        self.start, self.is_cut = max(before, default=1), bool(after)
        self.hold(row for row in self.rows if row.seq == 1 or self.start <= row.seq <= min([NEVER, *after]))
        # Of what a run begins with, before the period, only chain and signature count.
        self.run = [row for row in self.rows if self.start == 1 or row.seq > self.start]


def verify(bodies: Sequence[Body], asked: Question) -> Answer:
    return Judge(bodies, asked).answer()


class Judge:
    """Findings are (stream, seq, kind); those of no stream or no `seq` are of stream "" and 0."""

    def __init__(self, bodies: Sequence[Body], asked: Question) -> None:
        self.asked, self.pending, self.adopted = asked, 0, 0
        self.since = -NEVER * SECOND if asked.since is None else asked.since
        self.found: set[tuple[str, int, str]] = set() if asked.anchors else {("", 0, "no-trust")}
        rows, streams = dict[bytes, Row](), defaultdict[str, set[Row]](set)
        for body in bodies:
            record = parse(body.text)
            if isinstance(record, str):
                self.found.add(("", 0, record))
                continue
            row = rows.setdefault(body.text, Row(record, body.text))
            row.sources.add(body.source)
            row.indexes += [body.attributes] if body.attributes else []
            streams[row.stream].add(row)
        self.held = {name: Stream(several, asked.anchors) for name, several in streams.items()}
        trusted = [stream for stream in self.held.values() if asked.anchors and not stream.fault]
        spoken = [row for stream in trusted for row in stream.rows if row.is_good]
        self.voices = [row for row in spoken if row.observed <= asked.now]
        self.retired = [row for row in spoken if row.event == "audit.retired"]
        self.ends: defaultdict[str, list[Row]] = defaultdict(list)
        for row in self.voices:
            name = row.said["audit.recovered.stream"] if row.event == RECOVERED else row.stream
            if name != row.stream and not self.is_foreign(name, row):
                self.ends[name].append(row)
        for name, stream in self.held.items():
            above = max([stream.signed, *(row.said["audit.recovered.seq"] for row in self.ends[name])])
            stream.hold(row for row in stream.rows if not self.ends[name] or row.seq <= above)  # torn, "On disk"
        self.held = {name: stream for name, stream in self.held.items() if stream.rows}
        self.streams = {name: stream for name, stream in self.held.items() if not self.is_over(stream, name)}
        for stream in self.streams.values() if asked.is_window else ():
            stream.cut(self.since, NEVER * SECOND if asked.until is None else asked.until)

    def add(self, row: Row, kind: str, *, when: object = True) -> None:
        if when:
            self.found.add((row.stream, row.seq, kind))

    def is_foreign(self, name: str, by: Row) -> bool:
        service = self.held[name].opened.get("service.name") if name in self.held else None
        return service not in {None, self.held[by.stream].opened["service.name"]}

    def is_due(self, by: Row | None) -> bool:
        return by is None or self.asked.now >= by.observed + self.asked.grace

    def is_over(self, stream: Stream, name: str) -> bool:
        """Whether it ended before the period."""
        ended = stream.closed < NEVER or any(row.observed < self.since for row in self.ends[name])
        return ended and all(row.observed < self.since for row in stream.rows)

    def answer(self) -> Answer:
        for name, stream in self.streams.items():
            self.chain(name, stream)
            for row in stream.rows:
                self.signature(stream, row)
                if row.seq == 1 or row in stream.run:
                    self.row(stream, row)
            self.end(name, stream)
        for row in self.voices:
            if row.stream in self.streams and (row.event == RECOVERED or row in self.streams[row.stream].rows):
                self.claims(row)
        for witness in self.asked.witnesses:
            self.follow(witness, None)
        worst = verdict({kind for _, _, kind in self.found}) if self.streams or self.found else "empty"
        answer = Answer(worst, pending=self.pending, adopted=self.adopted)
        for name in self.streams:
            mine = sorted((seq, ORDER[kind], kind) for stream, seq, kind in self.found if stream == name)
            answer.streams[name] = verdict({kind for _, _, kind in mine})
            if mine:
                answer.first[name] = mine[0][2], mine[0][0]
        answer.loose = {kind for stream, _, kind in self.found if not stream}
        return answer

    def chain(self, name: str, stream: Stream) -> None:
        for before, seq in pairwise([0, *stream.digests]):
            if seq > before + 1 and (before != 1 or seq != stream.start):
                self.found.add((name, before + 1, "missing"))
        for row in stream.rows:
            if row.record.get("prev") not in stream.digests.get(row.seq - 1, {row.record.get("prev")}):
                self.found.add((name, row.seq - 1, "altered"))
            self.add(row, "forked", when=len(stream.digests[row.seq]) > 1)

    def signature(self, stream: Stream, row: Row) -> None:
        must = row.event in LIFECYCLE or stream.opened.get("audit.sign") == "record"
        self.add(row, "bad-signature", when=not row.is_good and (stream.own if "sig" in row.record else must))
        self.add(row, stream.fault, when=(row.seq, row.event) == (1, OPEN) and stream.fault)

    def row(self, stream: Stream, row: Row) -> None:
        """What a record gets wrong by itself, or in its stream."""
        said, opened, own = row.said, stream.opened, stream.own
        outside = own and row.event != CLOSE and not is_valid(own, row.observed)
        self.add(row, "clock-outside-certificate", when=outside)
        self.add(row, "misplaced", when=(row.event == OPEN) != (row.seq == 1) or row.seq > stream.closed)
        self.add(row, "index-mismatch", when=not all(agrees(each, row.record) for each in row.indexes))
        self.add(row, "declared-gap", when=row.event == "audit.gap")
        if row.event in {OPEN, SEAL}:
            longest = max(opened.get(f"audit.{name}.interval_ms", 300_000) for name in ("seal", "heartbeat"))
            promised = moment(said["audit.seal.next_by"]) - row.observed
            self.add(row, "misplaced", when=not 0 <= promised <= 2 * longest * 10**6 + SECOND)
            self.add(row, "misplaced", when=row.event == OPEN and longest > 300_000)
        if row.event == OPEN:
            other = opened.get("audit.certificate", said["audit.certificate"])[:1] != said["audit.certificate"][:1]
            self.add(row, "forked", when=other)
        if row.event in {SEAL, CLOSE}:
            self.add(row, "declared-drops", when=said["audit.seal.dropped"])
            leaves = [bytes.fromhex(max(stream.digests[at])) for at in stream.digests if at < row.seq]
            right = (said["audit.seal.size"], said["audit.seal.root"]) == (row.seq - 1, root(leaves).hex())
            self.add(row, "wrong-root", when=not self.asked.is_window and len(leaves) == row.seq - 1 and not right)

    def end(self, name: str, stream: Stream) -> None:
        rows, ends = stream.rows, self.ends[name]
        tail = {row for row in rows if row.seq > stream.signed}
        later = {row for row in stream.run if row.observed > self.asked.now}
        self.pending += len(later - tail if ends else later | tail)
        self.adopted += len(tail) if ends else 0
        lowest = min((end.said["audit.recovered.seq"] for end in ends), default=NEVER)
        self.found |= {(name, row.seq, "rolled-back") for row in stream.run if row.is_good and row.seq > lowest}
        due = [moment(row.said["audit.seal.next_by"]) for row in rows if row.event in {OPEN, SEAL}]
        if not due or stream.closed < NEVER or stream.is_cut:
            return
        self.add(rows[-1], "overdue-seal", when=not ends and self.asked.now > due[-1] + self.asked.grace)
        named = {f"{name}:{rows[-1].seq}:{digest}" for digest in stream.digests[rows[-1].seq]}
        if not ends or named & {*self.asked.witnesses} or len(rows[-1].sources) > 1:
            return
        first = next((row.observed for row in rows if row in tail), 0)
        slack = stream.opened.get("audit.seal.interval_ms", 0) * 10**6 + 5 * SECOND
        end = min(ends, key=lambda row: row.observed)
        late = end.observed > due[-1] or any(row.observed > first + slack for row in tail)
        if stream.signed and late and (rows[-1].seq >= end.said["audit.recovered.seq"] or self.is_due(end)):
            self.found.add((name, stream.signed, "unwitnessed-end"))

    def claims(self, row: Row) -> None:
        """What a record says of others."""
        said, stream = row.said, self.streams[row.stream]
        for reference in said["audit.predecessors"] if row.event in {OPEN, "audit.stream.linked"} else ():
            self.follow(reference, row)
        if row.event == RECOVERED:
            name = said["audit.recovered.stream"]
            self.follow(f"{name}:{said['audit.recovered.seq']}:{said['audit.recovered.hash']}", row)
            wrong = name == row.stream or (name in self.held and self.held[name].closed < NEVER)
            self.add(row, "misplaced", when=wrong or any(one.said != said for one in self.ends[name]))
        if row.event == CLOSE and "audit.successor" in said:
            self.add(row, "misplaced", when=self.is_foreign(said["audit.successor"], row))
            self.absent(said["audit.successor"], row)
        if row.event == "audit.retired" and row.observed >= self.since:
            kept, keep = row.observed - moment(said["audit.retired.ended"]), self.asked.keep
            here = said["audit.retired.place"] in {self.asked.places.get(at) for at in stream.sources}
            self.add(row, "misplaced", when=kept < 0)
            self.add(row, "retired-early", when=here and keep is not None and kept < keep)
            self.add(row, "retired", when=here and keep is None and not said["audit.retired.delivered"])

    def follow(self, named: str, by: Row | None) -> None:
        name, number, digest = named.split(":")
        seq, stream = int(number), self.streams.get(name)
        if by:
            self.add(by, "misplaced", when=self.is_foreign(name, by))
        if stream is None:
            self.absent(name, by)
            return
        if seq > stream.rows[-1].seq and self.is_due(by) and not stream.is_cut:
            self.found.add((name, seq, "truncated"))
        if digest not in stream.digests.get(seq, {digest}):
            self.found.add((name, seq, "altered"))

    def absent(self, name: str, by: Row | None) -> None:
        """A stream that no source holds has to be retired from every place from which *by* was read."""
        listing = [row for row in self.retired if name in row.said["audit.retired.streams"]]
        at = {row.said["audit.retired.place"] for row in listing if by and not self.is_foreign(row.stream, by)}
        places = {self.asked.places.get(source) for source in self.streams[by.stream].sources} if by else {None}
        if (
            name not in self.held
            and self.is_due(by)
            and not places <= at
            and (by is None or by.observed >= self.since)
        ):
            self.found.add(("", 0, "missing-stream"))
