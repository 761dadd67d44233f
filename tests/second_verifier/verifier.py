"""A second verifier of `otel-audit/1`, written from the page on the format alone; periods are in `windows.py`."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, partial
from itertools import groupby, pairwise
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.second_verifier.asked import Answer, Body, Question

Json = dict[str, Any]
OBJECT: type[Any] = dict
ARRAY: type[Any] = list
SECOND, NEVER = 10**9, 2**53
OPEN, CLOSE, SEAL, RECOVERED = "audit.stream.open", "audit.stream.close", "audit.seal", "audit.stream.recovered"
SYSTEM = {"id": "otel-audit", "type": "system"}
AUTH = "session|basic|bearer|mtls|api-key|proxy-header|explicit|none"
ACTOR = f"id:text type:user|service|system name:?text auth:?{AUTH}"
SEALED = "@seal.size:count @seal.root:hash @seal.dropped:count @seal.skipped:count"
TABLE = {
    "record": """schema:otel-audit/1 stream:id seq:number prev:?hash time:time observed:time event:text actor:actor3
        action:[^a-z]+ target:?target outcome:success|failure|unknown source:?source context:?context
        trace_id:?(?!0+$)[0-9a-f]{32} span_id:?(?!0+$)[0-9a-f]{16} sig:?[A-Za-z0-9_-]{86}""",
    "actor0": ACTOR, **{f"actor{n}": f"{ACTOR} on_behalf_of:?actor{n - 1}" for n in (1, 2, 3)},
    "target": "id:text type:text", "source": "id:text type:ipv4|ipv6|hostname",
    OPEN: """@certificate:string[65536] @predecessors:reference[200] @sign:seal|record @seal.interval_ms:integer
        @heartbeat.interval_ms:integer @seal.next_by:time @policy.digest:hash @fail_mode:string
        @durability:disk|memory @coverage.digest:?string service.name:text""",
    SEAL: f"{SEALED} @seal.next_by:time", CLOSE: f"{SEALED} @reason:shutdown|rotation|clock @successor:?id",
    RECOVERED: """@recovered.stream:id @recovered.seq:number @recovered.hash:hash @recovered.sealed:count
        @recovered.torn_bytes:count""",
    "audit.policy": "@policy.text:string @policy.digest:hash",
    "audit.stream.linked": "@predecessors:reference[200]",
    "audit.gap": "@gap.count:count @gap.from:string @gap.to:string @reason:string",
    "audit.retired": """@retired.place:string @retired.streams:id[1000] @retired.records:count @retired.ended:time
        @retired.delivered:flag @policy.digest:hash""",
}  # fmt: skip
SHAPES = {
    kind: dict(one.replace("@", "audit.", 1).split(":", 1) for one in row.split()) for kind, row in TABLE.items()
}
LIFECYCLE = {name: row for name, row in SHAPES.items() if name.startswith("audit.")}
PAGE = {name for row in LIFECYCLE.values() for name in row} | {"audit.truncated", "audit.actor.claimed"}
VALUES = ("string", "flag", "integer", "string[65536]", "flag[65536]", "integer[65536]")
PATTERNS = {
    "text": "str:.+", "string": "str:.*", "id": "str:[0-9a-f]{32}", "hash": "str:[0-9a-f]{64}", "flag": "bool:.*",
    "integer": "int:.*", "count": r"int:\d+", "number": r"int:[1-9]\d*",
    "reference": r"str:[0-9a-f]{32}:[1-9]\d{0,15}:[0-9a-f]{64}",
    "time": r"str:\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{9}Z",
}  # fmt: skip
INDEX = """actor.id actor.type actor.auth actor.name actor.on_behalf_of.id action outcome target.id target.type
    source.id source.type schema.version=schema sequence.stream_id=stream sequence.number=seq
    sequence.previous_hash=prev integrity.value=sig"""
FIELD = 2**255 - 19
EIGHTH = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
SMALL_ORDER = {0, 1, FIELD - 1, EIGHTH, FIELD - EIGHTH}  # the y of the points of order 1, 2, 4 and 8
UNREADABLE = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.DuplicateExtension,
              x509.ExtensionNotFound, x509.InvalidVersion, x509.UnsupportedGeneralNameType)  # fmt: skip


def fits(value: Any, kind: str) -> bool:
    """Of a kind: `?` may be absent, `[n]` is at most n of one, a row of the table, or a pattern."""
    if kind[0] == "?":
        return value is None or fits(value, kind[1:])
    if kind[-1] == "]":
        one, most = kind[:-1].split("[")
        return isinstance(value, ARRAY) and len(value) <= int(most) and all(fits(each, one) for each in value)
    if kind == "context":
        return isinstance(value, OBJECT) and all(any(fits(one, each) for each in VALUES) for one in value.values())
    if row := SHAPES.get(kind):
        named = isinstance(value, OBJECT) and value.keys() <= row.keys()
        return named and all(fits(value.get(name), row[name]) for name in row)
    form = PATTERNS.get(kind, f"str:(?:{kind})")
    if not re.fullmatch(f"(?as){form}", f"{type(value).__name__}:{value}"):
        return False
    return moment(value) > -(NEVER**2) if kind == "time" else kind != "reference" or int(value[33:-65]) < NEVER


def moment(text: str) -> int:
    """Nanoseconds since year 1 began; the calendar repeats itself after 400 years, `datetime` knows no year 0."""
    cycle, year = divmod(int(text[:4]), 400)
    since = datetime.fromisoformat(f"{2000 + year}{text[4:19]}") - datetime.min  # noqa: DTZ901
    return ((since.days + (cycle - 5) * 146_097) * 86_400 + since.seconds) * SECOND + int(text[20:29])


def jcs(value: Any) -> bytes:
    """RFC 8785 in this profile: names are ASCII and numbers integers, so Python sorts and spells the same."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def is_plain(value: Any, levels: int = 8) -> bool:
    if isinstance(value, (OBJECT, ARRAY)):
        items = value.items() if isinstance(value, OBJECT) else [("x", one) for one in value]
        named = all(re.fullmatch("[!-~]{1,256}", name) for name, _ in items)
        return named and levels > 0 and all(is_plain(one, levels - 1) for _, one in items)
    return isinstance(value, str) or (isinstance(value, int) and abs(value) < NEVER)


@lru_cache(2_000)
def parse(body: bytes) -> Json | str:
    """The record, or why there is none. What repeats a member is spelt otherwise than what was read of it."""
    with suppress(ValueError, RecursionError):
        record: Json = json.loads(body.decode())
        if len(body) <= 65_536 and isinstance(record, OBJECT) and is_plain(record) and jcs(record) == body:
            if fits(record.get("schema"), "otel-audit/([2-9]|[1-9][0-9]+)"):
                return "unsupported"
            right = fits(record, "record") and (record["seq"] == 1) == ("prev" not in record)
            if right and record["time"] <= record["observed"] and is_said_right(record["event"], record):
                return Json(record)
    return "malformed"


def is_said_right(event: str, record: Json) -> bool:
    """What a lifecycle record says, in `context` and otherwise; any other has no `audit.` names but the page's."""
    known, context = LIFECYCLE.get(event, PAGE), record.get("context", {})
    said = {name: one for name, one in context.items() if name.startswith("audit.") or name in known}
    if event not in LIFECYCLE:
        return said.keys() <= PAGE
    right = fits(said, event) and record | {"actor": SYSTEM, "action": "EXECUTE", "outcome": "success"} == record
    if event == "audit.policy" and right:
        return hashlib.sha256(said["audit.policy.text"].encode()).hexdigest() == str(said["audit.policy.digest"])
    return right and (event != CLOSE or (said["audit.reason"] == "rotation") == ("audit.successor" in said))


def is_good(key: ed25519.Ed25519PublicKey, record: Json) -> bool:
    """Whether it is signed, by that key, and in the one encoding."""
    sig, signed = str(record.get("sig", "")), {name: one for name, one in record.items() if name != "sig"}
    y, raw = int.from_bytes(key.public_bytes_raw(), "little") % 2**255, base64.urlsafe_b64decode(sig + "==")
    with suppress(InvalidSignature):
        key.verify(raw, b"otel-audit/1\n" + jcs(signed))
        return y < FIELD and y not in SMALL_ORDER and base64.urlsafe_b64encode(raw) == f"{sig}==".encode()
    return False


def root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(leaves[:half]) + root(leaves[half:])).digest()


def projection(record: Json) -> Json:
    """Every attribute of "OTLP projection" by name; None where the record has no such member."""
    without: Json = dict.fromkeys(["audit.certificate", "audit.policy.text"])
    named = {name: one for name, one in record.get("context", {}).items() if name not in without}
    for row in INDEX.split():
        name, _, path = row.partition("=")
        one: Any = record
        for part in (path or name).split("."):
            one = one.get(part, {})
        named[f"audit.{name}"] = one or None
    named |= {"audit.record.id": f"{record['stream']}-{record['seq']}", "event.name": record["event"]}
    named["audit.sequence.end"] = record["event"] == CLOSE or None
    return named | {"audit.integrity.canonicalization": "otel-audit/1" if "sig" in record else None}


def agrees(attributes: Mapping[str, object], record: Json) -> bool:
    """Whether each attribute that the table knows, by its name or its `_` form, is or begins what is said."""
    named = projection(record)
    for name, given in attributes.items():
        meant = [name] if name in named else [each for each in named if each.replace(".", "_") == name]
        if meant and not any(begins(given, named[each]) for each in meant):
            return False
    return True


def begins(given: object, value: object) -> bool:
    """Integers, booleans and arrays also as their JSON text, that of an array in any spelling."""
    spelt = value if isinstance(value, str) else jcs(value).decode()
    if value is None or not isinstance(given, str):  # None: a column's default
        return given in (None, "", False, "false") if value is None else json.dumps(given) == json.dumps(value)
    with suppress(ValueError, RecursionError):  # cut, or no JSON at all
        return spelt.startswith(given) or (isinstance(value, ARRAY) and jcs(json.loads(given)).decode() == spelt)
    return False


def issued(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Names equal, signature good; of one with SHA-1, at which the library does not look, the names."""
    with suppress(*UNREADABLE):
        child.verify_directly_issued_by(parent)
        return True
    return child.issuer == parent.subject and getattr(child.signature_hash_algorithm, "name", "") == "sha1"


def is_strong(child: x509.Certificate, parent: x509.Certificate) -> bool:
    key, digest = parent.public_key(), child.signature_hash_algorithm
    large = isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048
    large |= isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in {"secp256r1", "secp384r1"}
    return isinstance(key, ed25519.Ed25519PublicKey) or (large and digest is not None and digest.digest_size >= 32)


def is_valid(one: x509.Certificate, at: str) -> bool:
    first, last = one.not_valid_before_utc, one.not_valid_after_utc
    return f"{first.isoformat()[:19]}.000000000Z" <= at <= f"{last.isoformat()[:19]}.000000000Z"


def judge_path(opening: Json, anchors: Sequence[x509.Certificate]) -> tuple[x509.Certificate | None, str]:
    """The stream's own certificate, where it can be read, and the finding on its path, or nothing."""
    path, own, ends = list[x509.Certificate](), None, False
    fault = "untrusted-key" if anchors else "wrong-certificate"
    names, oids = (opening["stream"], opening["context"]["service.name"]), x509.oid.NameOID
    with suppress(*UNREADABLE):
        for text in opening["context"]["audit.certificate"]:
            path.append(x509.load_der_x509_certificate(base64.b64decode(text, validate=True)))
            own = path[0] if isinstance(path[0].public_key(), ed25519.Ed25519PublicKey) else None
            last = (path[-1].subject, path[-1].public_key())
            if ends := any(last == (one.subject, one.public_key()) for one in anchors):
                break
        above = [one for one in anchors for last in path[-1:] if not ends and issued(last, one)]
        fault = "wrong-certificate" if ends or above else fault
        right = own is not None and len(path) <= 8
        for oid, name in zip((oids.COMMON_NAME, oids.ORGANIZATION_NAME), names, strict=True):
            right &= [said.value for one in path[:1] for said in one.subject.get_attributes_for_oid(oid)] == [name]
        for at, one in enumerate(path[:-1] if ends else path):  # of an anchor only name and key are looked at
            basic = one.extensions.get_extension_for_class(x509.BasicConstraints)
            usage = one.extensions.get_extension_for_class(x509.KeyUsage) if at else None
            below = [each for each in path[1:at] if each.subject != each.issuer]  # RFC 5280 §4.2.1.9
            right &= basic.value.ca == (at > 0) and (usage is None or usage.value.key_cert_sign)
            right &= basic.value.path_length is None or len(below) <= basic.value.path_length
            right &= {each.oid for each in one.extensions if each.critical} <= {basic.oid, x509.KeyUsage.oid}
            right &= is_valid(one, opening["observed"])
        right &= all(issued(*pair) and is_strong(*pair) for pair in pairwise(path + above[:1]))
        fault = "" if right and fault == "wrong-certificate" else fault
    return own, fault


class Row:
    def __init__(self, record: Json, bodies: Sequence[Body]) -> None:
        self.record, self.said, self.is_good = record, record.get("context", {}), False
        self.stream, self.seq, self.event = str(record["stream"]), int(record["seq"]), str(record["event"])
        self.observed, self.digest = moment(record["observed"]), hashlib.sha256(bodies[0].text).hexdigest()
        self.sources = {one.source for one in bodies}
        self.ends = str(self.said["audit.recovered.stream"]) if self.event == RECOVERED else ""
        self.agrees = all(agrees(one.attributes, record) for one in bodies if one.attributes)


class Stream:
    """The records of one stream, its certificate, the finding on that, and the `context` of its open."""

    def __init__(self, rows: Sequence[Row], anchors: Sequence[x509.Certificate]) -> None:
        opens = sorted((row for row in rows if (row.seq, row.event) == (1, OPEN)), key=lambda row: row.digest)
        judged = [(*judge_path(row.record, anchors), row.said) for row in opens]
        self.own, self.fault, self.opened = min([*judged, (None, "no open", Json())], key=lambda one: bool(one[1]))
        key = self.own.public_key() if self.own else None
        for row in rows:
            row.is_good = isinstance(key, ed25519.Ed25519PublicKey) and is_good(key, row.record)
        self.mute = {row for row, (_, fault, _) in zip(opens, judged, strict=True) if fault}
        self.signed, self.ends = max((row.seq for row in rows if row.is_good), default=0), list[Row]()
        self.hold(rows)

    def hold(self, rows: Iterable[Row]) -> None:
        self.rows = self.run = sorted(rows, key=lambda row: (row.seq, row.digest))
        self.closed = min((row.seq for row in self.rows if row.is_good and row.event == CLOSE), default=NEVER)
        self.digests = {one.seq: {row.digest for row in self.rows if row.seq == one.seq} for one in self.rows}


class Judge:
    """Findings are (stream, seq, kind); those of no stream or no `seq` are of stream "" and 0."""

    def __init__(self, bodies: Sequence[Body], asked: Question) -> None:
        self.asked, self.due, self.pending, self.adopted = asked, asked.now - asked.grace, 0, 0
        self.found: set[tuple[str, int, str]] = set() if asked.anchors else {("", 0, "no-trust")}
        streams = defaultdict[str, list[Row]](list)
        for text, same in groupby(sorted(bodies, key=lambda one: one.text), lambda one: one.text):
            if isinstance(record := parse(text), str):
                self.found.add(("", 0, record))
            else:
                streams[record["stream"]].append(Row(record, list(same)))
        self.held = {name: Stream(rows, asked.anchors) for name, rows in streams.items()}
        trusted = [stream for stream in self.held.values() if asked.anchors and not stream.fault]
        good = [row for one in trusted for row in one.rows if row.is_good and row not in one.mute]
        self.voices = [row for row in good if row.observed <= asked.now]
        self.retired = [row for row in good if row.event == "audit.retired"]
        for name, stream in self.held.items():
            stream.ends = self.ends(name)
            above = max([stream.signed, *(row.said["audit.recovered.seq"] for row in stream.ends)])
            stream.hold(row for row in stream.rows if not stream.ends or row.seq <= above)  # torn, "On disk"
        self.streams = self.held = {name: stream for name, stream in self.held.items() if stream.rows}

    def add(self, stream: str, seq: int, **kinds: object) -> None:
        self.found |= {(stream, seq, kind.replace("_", "-")) for kind, is_so in kinds.items() if is_so}

    def is_foreign(self, name: str, by: Row) -> bool:
        service = self.held[name].opened.get("service.name") if name in self.held else None
        return service not in {None, self.held[by.stream].opened["service.name"]}

    def ends(self, name: str) -> list[Row]:
        return [row for row in self.voices if row.ends == name != row.stream and not self.is_foreign(name, row)]

    def answer(self) -> Answer:
        for name, stream in self.streams.items():
            for before, after in pairwise([0, *stream.digests]):
                self.add(name, before + 1, missing=after > before + 1)
            for row in stream.rows:
                self.chain(stream, row)
                self.content(stream, row)
            self.end(name, stream)
        for row in self.voices:
            self.listen(row)
        for witness in self.asked.witnesses:
            self.follow(witness, None)
        return Answer.of(self.found, self.streams, self.pending, self.adopted)

    def chain(self, stream: Stream, row: Row) -> None:
        must = row.event in LIFECYCLE or stream.opened.get("audit.sign") == "record"
        unsigned = not row.is_good and (stream.own if "sig" in row.record else must)
        prev, forked = row.record.get("prev"), len(stream.digests[row.seq]) > 1
        self.add(row.stream, row.seq - 1, altered=prev not in stream.digests.get(row.seq - 1, {prev}))
        self.add(row.stream, row.seq, bad_signature=unsigned, forked=forked, index_mismatch=not row.agrees)

    def content(self, stream: Stream, row: Row) -> None:
        """What a record gets wrong by itself, or in its stream."""
        said, seq, event, opened = row.said, row.seq, row.event, stream.opened
        add = partial(self.add, row.stream, seq)
        outside = stream.own and not is_valid(stream.own, row.record["observed"])
        add(clock_outside_certificate=outside and event != CLOSE, declared_gap=event == "audit.gap")
        add(misplaced=(event == OPEN) != (seq == 1) or seq > stream.closed)
        add(rolled_back=row.is_good and any(seq > end.said["audit.recovered.seq"] for end in stream.ends))
        if event in {OPEN, SEAL}:
            longest = max(opened.get(f"audit.{name}.interval_ms", 300_000) for name in ("seal", "heartbeat"))
            promised = moment(said["audit.seal.next_by"]) - row.observed
            add(misplaced=not 0 <= promised <= 2 * longest * 10**6 + SECOND)
            add(misplaced=event == OPEN and longest > 300_000)
        if event == OPEN and opened:
            add(forked=said["audit.certificate"][:1] != opened["audit.certificate"][:1])
            add(**{stream.fault or "-": seq == 1 and stream.fault})
        if event in {SEAL, CLOSE}:
            leaves = [bytes.fromhex(max(stream.digests[at])) for at in stream.digests if at < seq]
            is_right = (said["audit.seal.size"], said["audit.seal.root"]) == (seq - 1, root(leaves).hex())
            seals = [at for at in stream.rows if at.seq < seq and at.event in {SEAL, CLOSE}]
            drops = said["audit.seal.dropped"] > max((at.said["audit.seal.dropped"] for at in seals), default=0)
            add(wrong_root=len(leaves) == seq - 1 and not is_right, declared_drops=drops)

    def end(self, name: str, stream: Stream) -> None:
        rows, ends, last = stream.rows, stream.ends, stream.rows[-1]
        later = {row for row in stream.run if row.observed > self.asked.now}
        tail = [row for row in rows if row.seq > stream.signed]
        self.pending += len(later.difference(tail) if ends else later.union(tail))
        self.adopted += len(tail) if ends else 0
        held = [row for row in self.held[name].rows if row.event in {OPEN, SEAL}]
        due = [moment(row.said["audit.seal.next_by"]) for row in held[-1:]]
        if stream.closed < NEVER or not due:
            return
        self.add(name, last.seq, overdue_seal=not ends and due[0] < self.due)
        kept = {f"{name}:{last.seq}:{digest}" for digest in stream.digests[last.seq]} & {*self.asked.witnesses}
        if stream.signed and ends and not kept and len(last.sources) == 1:
            end = min(ends, key=lambda row: row.observed)
            slack = stream.opened.get("audit.seal.interval_ms", 0) * 10**6 + 5 * SECOND
            late = end.observed > due[0] or any(row.observed > tail[0].observed + slack for row in tail)
            is_whole = last.seq >= end.said["audit.recovered.seq"] or end.observed <= self.due
            self.add(name, stream.signed, unwitnessed_end=late and is_whole)

    def listen(self, row: Row) -> None:
        """What a record says of others."""
        said, add = row.said, partial(self.add, row.stream, row.seq)
        for reference in said["audit.predecessors"] if row.event in {OPEN, "audit.stream.linked"} else ():
            self.follow(reference, row)
        if row.event == CLOSE and "audit.successor" in said:
            self.follow(f"{said['audit.successor']}:0:", row)
        if row.ends:
            self.follow(f"{row.ends}:{said['audit.recovered.seq']}:{said['audit.recovered.hash']}", row)
            of = self.held.get(row.ends)
            add(misplaced=row.ends == row.stream or (of and of.closed < NEVER))
            add(misplaced=any(one.said != said for one in self.ends(row.ends)))
        if row.event == "audit.retired":
            kept, keep = row.observed - moment(said["audit.retired.ended"]), self.asked.keep
            here = said["audit.retired.place"] in self.asked.places.values()
            add(misplaced=kept < 0, retired_early=here and keep is not None and kept < keep)
            add(retired=here and keep is None and not said["audit.retired.delivered"])

    def follow(self, named: str, by: Row | None) -> None:
        """A reference; with `seq` 0, one to a stream."""
        name, seq, digest = named.split(":")
        is_due, stream = not by or by.observed <= self.due, self.streams.get(name)
        if by:
            self.add(by.stream, by.seq, misplaced=self.is_foreign(name, by))
        if stream and seq != "0":
            self.add(name, int(seq), truncated=int(seq) > stream.rows[-1].seq and is_due)
            self.add(name, int(seq), altered=digest not in stream.digests.get(int(seq), {digest}))
        if is_due and name not in self.held:
            self.absent(name, by)

    def absent(self, name: str, by: Row | None) -> None:
        """A stream that no source holds has to be retired from every place from which *by* was read."""
        listing = [row for row in self.retired if by and name in row.said["audit.retired.streams"]]
        at = {row.said["audit.retired.place"] for row in listing if by and not self.is_foreign(row.stream, by)}
        read = {source for row in self.held[by.stream].rows for source in row.sources} if by else {-1}
        self.add("", 0, missing_stream=not {self.asked.places.get(source) for source in read} <= at)
