"""A second verifier of `otel-audit/1`, written from the page on the format alone; it shares nothing with the first.

Shapes of records come as tables, then paths of certificates, each stream by itself, what the streams say of each
other, the verdict. Where the page can be read in two ways, README.md says which was taken.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from typing import Any, TypeGuard

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from tests.second_verifier.asked import Answer, Body, Question
from tests.second_verifier.attributes import agrees

Json = dict[str, Any]
Check = Callable[[Any], bool]
SECOND = 10**9
TAMPERED = """malformed forked missing altered bad-signature wrong-root untrusted-key wrong-certificate misplaced
    truncated rolled-back index-mismatch retired-early""".split()
INCOMPLETE = """no-trust overdue-seal unwitnessed-end missing-stream declared-gap declared-drops
    clock-outside-certificate retired unsupported""".split()
ORDER = {kind: place for place, kind in enumerate(TAMPERED + INCOMPLETE)}


def is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def like(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None


def integer(least: int) -> Check:
    return lambda value: type(value) is int and value >= least


def listed(kind: str, most: int = 65_536) -> Check:
    return lambda value: is_array(value) and len(value) <= most and all(map(KINDS[kind], value))


def moment(text: str) -> int:
    """Nanoseconds since year 1 began; the calendar repeats itself after 400 years, and `date` knows no year 0."""
    cycle, year = divmod(int(text[:4]), 400)
    day = date(2000 + year, int(text[5:7]), int(text[8:10])).toordinal() + (cycle - 5) * 146_097
    hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
    return (((day * 24 + hour) * 60 + minute) * 60 + second) * SECOND + int(text[20:29])


def time(value: Any) -> bool:
    try:
        return KINDS["clock"](value) and moment(value) is not None
    except ValueError:  # a day that its month does not have
        return False


class Shape:
    """An object with these members, `name:kind` or `name?:kind` where it may be absent, and no others."""

    def __init__(self, text: str) -> None:
        pairs = [one.replace("$", "audit.").split(":") for one in text.split()]
        self.checks = {name.rstrip("?"): KINDS[kind] for name, kind in pairs}
        self.needed = {name for name, _ in pairs if not name.endswith("?")}

    def __call__(self, value: Any) -> bool:
        checks, keys = self.checks, value.keys() if is_object(value) else {""}
        return self.needed <= keys <= checks.keys() and all(checks[name](value[name]) for name in keys)


KINDS: dict[str, Check] = {
    "string": like(".*"), "text": like(".+"), "verb": like("[^a-z]+"), "id": like("[0-9a-f]{32}"),
    "hash": like("[0-9a-f]{64}"), "sig": like("[A-Za-z0-9_-]{86}"), "trace": like("(?!0+$)[0-9a-f]{32}"),
    "span": like("(?!0+$)[0-9a-f]{16}"), "count": integer(0), "number": integer(1), "integer": integer(1 - 2**53),
    "flag": lambda value: isinstance(value, bool), "time": time,
    "clock": like(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T([01][0-9]|2[0-3])(:[0-5][0-9]){2}\.[0-9]{9}Z"),
    "reference": lambda value: like("[0-9a-f]{32}:[1-9][0-9]{0,15}:[0-9a-f]{64}")(value)
    and int(value.split(":")[1]) < 2**53,
    "schema": like("otel-audit/1"), "outcome": like("success|failure|unknown"), "role": like("user|service|system"),
    "auth": like("session|basic|bearer|mtls|api-key|proxy-header|explicit|none"), "signing": like("seal|record"),
    "address": like("ipv4|ipv6|hostname"), "durability": like("disk|memory"),
    "end": like("shutdown|rotation|clock"), "strings": listed("string"), "flags": listed("flag"),
    "integers": listed("integer"), "references": listed("reference", 200), "ids": listed("id", 1000),
    "context": lambda value: is_object(value) and all(any(KINDS[kind](one) for kind in VALUES) for one in value.values()),
}  # fmt: skip
VALUES = ("string", "flag", "integer", "strings", "flags", "integers")
KINDS["actor"] = Shape("id:text type:role auth?:auth name?:text")
for _ in range(3):
    KINDS["actor"] = Shape("id:text type:role auth?:auth name?:text on_behalf_of?:actor")
KINDS["target"], KINDS["source"] = Shape("id:text type:text"), Shape("id:text type:address")
RECORD = Shape(
    "schema:schema stream:id seq:number prev?:hash time:time observed:time event:text actor:actor action:verb "
    "target?:target outcome:outcome source?:source trace_id?:trace span_id?:span context?:context sig?:sig"
)
OPEN, CLOSE, SEAL, RECOVERED = "audit.stream.open", "audit.stream.close", "audit.seal", "audit.stream.recovered"
SEALED = "$seal.size:count $seal.root:hash $seal.dropped:count $seal.skipped:count "
SHAPES = {
    OPEN: Shape(
        "$certificate:strings $predecessors:references $sign:signing $seal.interval_ms:integer $seal.next_by:time "
        "$heartbeat.interval_ms:integer $policy.digest:hash $fail_mode:string $durability:durability "
        "$coverage.digest?:hash service.name:text"
    ),
    "audit.policy": Shape("$policy.text:string $policy.digest:hash"),
    SEAL: Shape(SEALED + "$seal.next_by:time"),
    CLOSE: Shape(SEALED + "$reason:end $successor?:id"),
    RECOVERED: Shape(
        "$recovered.stream:id $recovered.seq:number $recovered.hash:hash $recovered.sealed:count "
        "$recovered.torn_bytes:count"
    ),
    "audit.stream.linked": Shape("$predecessors:references"),
    "audit.gap": Shape("$gap.count:count $gap.from:string $gap.to:string $reason:string"),
    "audit.retired": Shape(
        "$retired.place:string $retired.streams:ids $retired.records:count $retired.ended:time "
        "$retired.delivered:flag $policy.digest:hash"
    ),
}
LIFECYCLE = {event: shape.checks for event, shape in SHAPES.items()}
SYSTEM = {"id": "otel-audit", "type": "system"}
PAGE = {name for row in LIFECYCLE.values() for name in row} | {"audit.truncated", "audit.actor.claimed"}


def is_said_right(record: Json) -> bool:
    event, context = record["event"], record.get("context", {})
    said = {name: one for name, one in context.items() if name.startswith("audit.")}
    if event not in SHAPES:
        return said.keys() <= PAGE
    said |= {"service.name": context.get("service.name")} if event == OPEN else {}
    who = (record["actor"], record["action"], record["outcome"])
    if who != (SYSTEM, "EXECUTE", "success") or not SHAPES[event](said):
        return False
    if event == "audit.policy":
        return sha256(said["audit.policy.text"].encode()) == said["audit.policy.digest"]
    return event != CLOSE or (said["audit.reason"] == "rotation") == ("audit.successor" in said)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def jcs(value: Any) -> bytes:
    """RFC 8785 in this profile: names are ASCII and numbers integers, so Python sorts and spells the same."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def is_plain(value: Any, levels: int = 8) -> bool:
    if is_object(value):
        names = all(re.fullmatch("[!-~]{1,256}", name) for name in value)
        return levels > 0 and names and all(is_plain(one, levels - 1) for one in value.values())
    if is_array(value):
        return levels > 0 and all(is_plain(one, levels - 1) for one in value)
    return isinstance(value, str) or (isinstance(value, int) and abs(value) < 2**53)


def parse(body: bytes) -> Json | str:
    """The record, or why there is none. What repeats a member is spelt otherwise than what was read of it."""
    try:
        record = json.loads(body.decode()) if len(body) <= 65_536 else None
        if not is_object(record) or not is_plain(record) or jcs(record) != body:
            return "malformed"
    except (ValueError, RecursionError):
        return "malformed"
    if like("otel-audit/([2-9]|[1-9][0-9]+)")(record.get("schema")):
        return "unsupported"
    right = RECORD(record) and (record["seq"] == 1) == ("prev" not in record)
    return record if right and record["time"] <= record["observed"] and is_said_right(record) else "malformed"


FIELD = 2**255 - 19
EIGHTH = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
SMALL_ORDER = {0, 1, FIELD - 1, EIGHTH, FIELD - EIGHTH}  # the y of the points of order 1, 2, 4 and 8
UNREADABLE = (
    ValueError, TypeError, IndexError, UnsupportedAlgorithm,
    x509.DuplicateExtension, x509.ExtensionNotFound, x509.InvalidVersion, x509.UnsupportedGeneralNameType,
)  # fmt: skip


def is_good(own: x509.Certificate | None, record: Json) -> bool:
    """Whether it is signed, by the key of *own*."""
    key, sig = own.public_key() if own else None, str(record.get("sig", ""))
    if not isinstance(key, ed25519.Ed25519PublicKey) or not sig:
        return False
    y, raw = int.from_bytes(key.public_bytes_raw(), "little") % 2**255, base64.urlsafe_b64decode(sig + "==")
    if y >= FIELD or y in SMALL_ORDER or base64.urlsafe_b64encode(raw) != f"{sig}==".encode():
        return False
    try:
        key.verify(raw, b"otel-audit/1\n" + jcs({name: one for name, one in record.items() if name != "sig"}))
    except InvalidSignature:
        return False
    return True


def issued(child: x509.Certificate, parent: x509.Certificate) -> str:
    """Nothing where *parent* did not issue it; `weak` where its key or the digest is too weak, else `well`."""
    key, digest, how = parent.public_key(), child.signature_hash_algorithm, child.signature_algorithm_parameters
    if child.issuer.public_bytes() != parent.subject.public_bytes():
        return ""
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(child.signature, child.tbs_certificate_bytes)
            return "well"
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(how, ec.ECDSA):
            key.verify(child.signature, child.tbs_certificate_bytes, how)
            strong = key.curve.name in {"secp256r1", "secp384r1"}
        elif isinstance(key, rsa.RSAPublicKey) and isinstance(how, padding.PKCS1v15 | padding.PSS) and digest:
            key.verify(child.signature, child.tbs_certificate_bytes, how, digest)
            strong = key.key_size >= 2048
        else:
            return ""
    except InvalidSignature:
        return ""
    return "well" if strong and digest and digest.digest_size >= 32 else "weak"


def instant(when: datetime) -> int:
    return moment(f"{when.isoformat()[:19]}.000000000Z")


def is_right(opening: Json, path: Sequence[x509.Certificate], read: int) -> bool:
    """The rules of Keys; of the anchor, behind the first *read* elements, only name and key are looked at."""
    opened, service = moment(opening["observed"]), opening["context"]["service.name"]
    named = {NameOID.COMMON_NAME: opening["stream"], NameOID.ORGANIZATION_NAME: service}
    right = isinstance(path[0].public_key(), ed25519.Ed25519PublicKey) and len(path) <= 8
    right &= all(
        [one.value for one in path[0].subject.get_attributes_for_oid(oid)] == [named[oid]] for oid in named
    )
    for at, one in enumerate(path[:read]):
        constraints = one.extensions.get_extension_for_class(x509.BasicConstraints).value
        below = sum(each.subject != each.issuer for each in path[1:at])  # RFC 5280 §4.2.1.9: not the self-issued
        right &= constraints.path_length is None or below <= constraints.path_length
        right &= instant(one.not_valid_before_utc) <= opened <= instant(one.not_valid_after_utc)
        right &= {each.oid for each in one.extensions if each.critical} <= {
            x509.BasicConstraints.oid,
            x509.KeyUsage.oid,
        }
        right &= constraints.ca == (at > 0)
        right &= at == 0 or one.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    return right and all(issued(child, parent) == "well" for child, parent in pairwise(path))


def judge_path(opening: Json, anchors: Sequence[x509.Certificate]) -> tuple[x509.Certificate | None, str]:
    """The stream's own certificate, where it can be read, and the finding on its path, or nothing."""
    path, reached, right, is_anchor = list[x509.Certificate](), set[str](), False, False
    try:
        for text in opening["context"]["audit.certificate"]:
            path.append(x509.load_der_x509_certificate(base64.b64decode(text, validate=True)))
            is_anchor = any(
                (path[-1].subject, path[-1].public_key()) == (one.subject, one.public_key()) for one in anchors
            )
            if is_anchor:
                break
        reached = {"well"} if is_anchor else {issued(path[-1], one) for one in anchors} - {""}
        right = is_right(opening, path, len(path) - is_anchor) and (not anchors or "well" in reached)
    except UNREADABLE:
        pass
    fault = "untrusted-key" if anchors and not reached else "" if right else "wrong-certificate"
    return path[0] if path else None, fault


def root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(leaves[:half]) + root(leaves[half:])).digest()


@dataclass(eq=False)
class Row:
    """One record as it is held; *said* is its `context`."""

    record: Json
    digest: str
    sources: set[int] = field(default_factory=set[int])
    is_good: bool = False

    def __post_init__(self) -> None:
        self.seq, self.event, self.said = self.record["seq"], self.record["event"], self.record.get("context", {})
        self.stream, self.observed = self.record["stream"], moment(self.record["observed"])


class Stream:
    def __init__(self) -> None:
        self.rows: defaultdict[int, list[Row]] = defaultdict(list)
        self.own: x509.Certificate | None = None
        self.fault, self.opened = "no open", Json()

    def all(self, *events: str) -> list[Row]:
        rows = [row for seq in sorted(self.rows) for row in self.rows[seq]]
        return [row for row in rows if row.event in events or not events]

    def judge(self, anchors: Sequence[x509.Certificate]) -> None:
        for row in self.rows.get(1, ()):
            if row.event == OPEN and self.fault:
                self.opened, (self.own, self.fault) = row.said, judge_path(row.record, anchors)
        for row in self.all():
            row.is_good = is_good(self.own, row.record)
        self.signed = max((row.seq for row in self.all() if row.is_good), default=0)
        self.closed = min((row.seq for row in self.all(CLOSE) if row.is_good), default=2**53)
        self.sources = {source for row in self.all() for source in row.sources}


def verify(bodies: Sequence[Body], asked: Question) -> Answer:
    return Judge(bodies, asked).answer()


def verdict(kinds: set[str]) -> str:
    return "tampered" if kinds & {*TAMPERED} else "incomplete" if kinds else "verified"


class Judge:
    """Findings are (stream, seq, kind); those of no stream or no `seq` are of stream "" and 0."""

    def __init__(self, bodies: Sequence[Body], asked: Question) -> None:
        self.asked, self.pending, self.adopted = asked, 0, 0
        self.found: set[tuple[str, int, str]] = set() if asked.anchors else {("", 0, "no-trust")}
        self.streams: defaultdict[str, Stream] = defaultdict(Stream)
        self.indexed: list[tuple[Row, Body]] = []
        for body in bodies:
            record = parse(body.text)
            if isinstance(record, str):
                self.found.add(("", 0, record))
                continue
            rows, digest = self.streams[record["stream"]].rows[record["seq"]], sha256(body.text)
            if digest not in {row.digest for row in rows}:
                rows.append(Row(record, digest))
            row = next(row for row in rows if row.digest == digest)
            row.sources.add(body.source)
            self.indexed += [(row, body)]
        for stream in self.streams.values():
            stream.judge(asked.anchors)
        trusted = [stream for stream in self.streams.values() if asked.anchors and not stream.fault]
        spoken = [row for stream in trusted for row in stream.all() if row.is_good]
        self.voices = [row for row in spoken if row.observed <= asked.now]
        self.retired = [row for row in spoken if row.event == "audit.retired"]
        self.ends: defaultdict[str, list[Row]] = defaultdict(list)
        for row in self.voices:
            name = row.said.get("audit.recovered.stream") if row.event == RECOVERED else row.stream
            if name != row.stream and not self.is_foreign(name, row):
                self.ends[name].append(row)

    def add(self, row: Row, kind: str) -> None:
        self.found.add((row.stream, row.seq, kind))

    def is_foreign(self, name: str, by: Row) -> bool:
        service = self.streams[name].opened.get("service.name") if name in self.streams else None
        return service not in {None, self.streams[by.stream].opened["service.name"]}

    def is_due(self, by: Row | None) -> bool:
        return by is None or self.asked.now >= by.observed + self.asked.grace

    def is_cut(self, stream: Stream) -> bool:
        """Whether a source that was asked about a period may have left out the end."""
        last = stream.all()[-1]
        return self.asked.until is not None and last.is_good and last.observed > self.asked.until

    def answer(self) -> Answer:
        for name, stream in self.streams.items():
            end = max([stream.signed, *(row.said["audit.recovered.seq"] for row in self.ends[name])])
            for seq in [seq for seq in stream.rows if seq > end and self.ends[name]]:
                del stream.rows[seq]  # "On disk": torn
            self.chain(name, stream)
            for row in stream.all():
                self.row(stream, row)
            self.end(name, stream)
        for row, body in self.indexed:
            if (
                body.attributes
                and row.seq in self.streams[row.stream].rows
                and not agrees(body.attributes, row.record)
            ):
                self.add(row, "index-mismatch")
        for row in self.voices:
            self.claims(row)
        for witness in self.asked.witnesses:
            self.follow(witness, None)
        held = {name: stream for name, stream in self.streams.items() if stream.rows}
        answer = Answer(verdict({kind for _, _, kind in self.found}), pending=self.pending, adopted=self.adopted)
        if answer.verdict == "verified" and not held:
            answer.verdict = "empty"
        for name in held:
            mine = {(seq, ORDER[kind], kind) for stream, seq, kind in self.found if stream == name}
            answer.streams[name] = verdict({kind for _, _, kind in mine})
            answer.first |= {name: (kind, seq) for seq, _, kind in [min(mine)]} if mine else {}
        answer.loose = {kind for stream, _, kind in self.found if not stream}
        return answer

    def chain(self, name: str, stream: Stream) -> None:
        for before, seq in pairwise([0, *sorted(stream.rows)]):
            rows, digests = stream.rows[seq], {row.digest for row in stream.rows.get(seq - 1, ())}
            if seq > before + 1 and (before != 1 or self.asked.until is None):
                self.found.add((name, before + 1, "missing"))
            if digests and not {row.record["prev"] for row in rows} <= digests:
                self.found.add((name, before, "altered"))
            if len(rows) > 1:
                self.found.add((name, seq, "forked"))

    def row(self, stream: Stream, row: Row) -> None:
        """What a record gets wrong by itself, or in its stream."""
        said, opened, own = row.said, stream.opened, stream.own
        must = row.event in SHAPES or opened.get("audit.sign") == "record"
        longest = max(opened.get(f"audit.{name}.interval_ms", 300_000) for name in ("seal", "heartbeat"))
        misplaced = (row.event == OPEN) != (row.seq == 1) or row.seq > stream.closed
        if row.event in {OPEN, SEAL}:
            promised = moment(said["audit.seal.next_by"]) - row.observed
            misplaced |= not 0 <= promised <= 2 * longest * 10**6 + SECOND or (
                row.event == OPEN and longest > 300_000
            )
        if misplaced:
            self.add(row, "misplaced")
        if not row.is_good and (own if "sig" in row.record else must):
            self.add(row, "bad-signature")
        if row.seq == 1 and row.event == OPEN and stream.fault:
            self.add(row, stream.fault)
        if row.event == OPEN and opened and said["audit.certificate"][:1] != opened["audit.certificate"][:1]:
            self.add(row, "forked")
        leaves = [bytes.fromhex(stream.rows[at][-1].digest) for at in range(1, row.seq) if at in stream.rows]
        if row.event in {SEAL, CLOSE} and len(leaves) == row.seq - 1:
            if (said["audit.seal.size"], said["audit.seal.root"]) != (row.seq - 1, root(leaves).hex()):
                self.add(row, "wrong-root")
        if row.event == "audit.gap" or said.get("audit.seal.dropped") and row.event in {SEAL, CLOSE}:
            self.add(row, "declared-gap" if row.event == "audit.gap" else "declared-drops")
        if own and row.event != CLOSE:
            if not instant(own.not_valid_before_utc) <= row.observed <= instant(own.not_valid_after_utc):
                self.add(row, "clock-outside-certificate")

    def end(self, name: str, stream: Stream) -> None:
        rows, ends = stream.all(), self.ends[name]
        tail = [row for row in rows if row.seq > stream.signed]
        later = [row for row in rows if row.observed > self.asked.now]
        self.pending += len({*later} - {*tail} if ends else {*later, *tail})
        self.adopted += len(tail) if ends else 0
        for row in rows:
            if row.is_good and any(row.seq > end.said["audit.recovered.seq"] for end in ends):
                self.add(row, "rolled-back")
        due = [moment(row.said["audit.seal.next_by"]) for row in stream.all(OPEN, SEAL)]
        if not due or stream.closed < 2**53 or self.is_cut(stream):
            return
        if not ends and self.asked.now > due[-1] + self.asked.grace:
            self.add(rows[-1], "overdue-seal")
        named = {f"{name}:{row.seq}:{row.digest}" for row in stream.rows[rows[-1].seq]}
        if not ends or named & {*self.asked.witnesses} or len(rows[-1].sources) > 1:
            return
        slack = stream.opened.get("audit.seal.interval_ms", 0) * 10**6 + 5 * SECOND
        late = ends[0].observed > due[-1] or any(row.observed > tail[0].observed + slack for row in tail)
        if late and (rows[-1].seq >= ends[0].said["audit.recovered.seq"] or self.is_due(ends[0])):
            self.found.add((name, stream.signed, "unwitnessed-end"))

    def claims(self, row: Row) -> None:
        """What a record says of others."""
        said, named = row.said, row.said.get("audit.predecessors", [])
        if row.event in {OPEN, "audit.stream.linked"}:
            for reference in named:
                self.follow(reference, row)
        if row.event == RECOVERED:
            name = said["audit.recovered.stream"]
            self.follow(f"{name}:{said['audit.recovered.seq']}:{said['audit.recovered.hash']}", row)
            closed = name in self.streams and self.streams[name].closed < 2**53
            if name == row.stream or closed or any(one.said != said for one in self.ends[name]):
                self.add(row, "misplaced")
        if row.event == CLOSE and said.get("audit.successor", row.stream) not in self.streams:
            self.absent(said["audit.successor"], row)
        if row.event == "audit.retired":
            keep, ended = self.asked.keep, moment(said["audit.retired.ended"])
            here = said["audit.retired.place"] in {self.asked.places.get(at) for at in row.sources}
            if ended > row.observed:
                self.add(row, "misplaced")
            if here and keep is not None and ended + keep > row.observed:
                self.add(row, "retired-early")
            if here and keep is None and not said["audit.retired.delivered"]:
                self.add(row, "retired")

    def follow(self, named: str, by: Row | None) -> None:
        name, number, digest = named.split(":")
        seq, stream = int(number), self.streams.get(name)
        if stream is None or not stream.rows:
            if self.asked.until is None:
                self.absent(name, by)
            return
        if by and self.is_foreign(name, by):
            self.add(by, "misplaced")
        if seq > max(stream.rows) and self.is_due(by) and not self.is_cut(stream):
            self.found.add((name, seq, "truncated"))
        if seq in stream.rows and digest not in {row.digest for row in stream.rows[seq]}:
            self.found.add((name, seq, "altered"))

    def absent(self, name: str, by: Row | None) -> None:
        """A stream that no source holds: of every place from which *by* was read it has to be retired."""
        listed_at = {
            row.said["audit.retired.place"]
            for row in self.retired
            if by and name in row.said["audit.retired.streams"] and not self.is_foreign(row.stream, by)
        }
        places = {self.asked.places.get(at) for at in self.streams[by.stream].sources} if by else {None}
        if self.is_due(by) and not places <= listed_at:
            self.found.add(("", 0, "missing-stream"))
