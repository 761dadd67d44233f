"""What a record of `otel-audit/1` is, for the second verifier: one table of shapes, signature, tree and index."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, TypeGuard

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Json = dict[str, Any]
SECOND = 10**9
OPEN, CLOSE, SEAL, RECOVERED = "audit.stream.open", "audit.stream.close", "audit.seal", "audit.stream.recovered"
SYSTEM = {"id": "otel-audit", "type": "system"}
ACTOR = (
    "id:text type:user|service|system auth:?session|basic|bearer|mtls|api-key|proxy-header|explicit|none name:?text"
)
SEALED = "@seal.size:count @seal.root:hash @seal.dropped:count @seal.skipped:count"
TABLE = {
    "record": """schema:otel-audit/1 stream:id seq:number prev:?hash time:time observed:time event:text actor:actor3
        action:[^a-z]+ target:?target outcome:success|failure|unknown source:?source context:?context
        trace_id:?(?!0+$)[0-9a-f]{32} span_id:?(?!0+$)[0-9a-f]{16} sig:?[A-Za-z0-9_-]{86}""",
    "actor0": ACTOR, "actor1": f"{ACTOR} on_behalf_of:?actor0", "actor2": f"{ACTOR} on_behalf_of:?actor1",
    "actor3": f"{ACTOR} on_behalf_of:?actor2",
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
    name: dict(member.replace("@", "audit.", 1).split(":", 1) for member in row.split())
    for name, row in TABLE.items()
}
LIFECYCLE = {name: row for name, row in SHAPES.items() if name.startswith("audit.")}
PAGE = {name for row in LIFECYCLE.values() for name in row} | {"audit.truncated", "audit.actor.claimed"}
VALUES = ("string", "flag", "integer", "string[65536]", "flag[65536]", "integer[65536]")
LEAST = {"number": 1, "count": 0, "integer": -(2**53)}
NO_INDEX = {"audit.certificate", "audit.policy.text"}
ACCESS = """actor.id actor.type actor.auth actor.name actor.on_behalf_of.id action outcome target.id target.type
    source.id source.type"""
PATTERNS = {
    "text": ".+", "string": ".*", "id": "[0-9a-f]{32}", "hash": "[0-9a-f]{64}",
    "reference": r"[0-9a-f]{32}:[1-9]\d{0,15}:[0-9a-f]{64}",
    "time": r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d\.\d{9}Z",
}  # fmt: skip


def is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def fits(value: Any, kind: str) -> bool:
    """Of a kind: `?` may be absent, `[n]` is at most n of one, a row of the table, a number, or a pattern."""
    if kind[0] == "?":
        return value is None or fits(value, kind[1:])
    if kind[-1] == "]":
        one, _, most = kind[:-1].partition("[")
        return is_array(value) and len(value) <= int(most) and all(fits(each, one) for each in value)
    if kind in SHAPES:
        row = SHAPES[kind]
        return (
            is_object(value)
            and value.keys() <= row.keys()
            and all(fits(value.get(name), row[name]) for name in row)
        )
    if kind in LEAST:
        return type(value) is int and value >= LEAST[kind]
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "context":
        return is_object(value) and all(any(fits(one, each) for each in VALUES) for one in value.values())
    if not isinstance(value, str) or not pattern(kind).fullmatch(value):
        return False
    try:
        return int(value[33:-65]) < 2**53 if kind == "reference" else kind != "time" or moment(value) > -(2**60)
    except ValueError:  # a day that its month does not have
        return False


@cache
def pattern(kind: str) -> re.Pattern[str]:
    return re.compile(PATTERNS.get(kind, kind), re.ASCII | re.DOTALL)


def moment(text: str) -> int:
    """Nanoseconds since year 1 began; the calendar repeats itself after 400 years, `datetime` knows no year 0."""
    cycle, year = divmod(int(text[:4]), 400)
    since = datetime.fromisoformat(f"{2000 + year}{text[4:19]}") - datetime.min  # noqa: DTZ901
    return ((since.days + (cycle - 5) * 146_097) * 86_400 + since.seconds) * SECOND + int(text[20:29])


def is_said_right(record: Json) -> bool:
    event, context = record["event"], record.get("context", {})
    said = {name: one for name, one in context.items() if name.startswith("audit.")}
    if event not in LIFECYCLE:
        return said.keys() <= PAGE
    said |= {"service.name": context.get("service.name")} if event == OPEN else {}
    who = (record["actor"], record["action"], record["outcome"])
    if who != (SYSTEM, "EXECUTE", "success") or not fits(said, event):
        return False
    if event == "audit.policy":
        return hashlib.sha256(said["audit.policy.text"].encode()).hexdigest() == str(said["audit.policy.digest"])
    return event != CLOSE or bool(said["audit.reason"] == "rotation") == ("audit.successor" in said)


def jcs(value: Any) -> bytes:
    """RFC 8785 in this profile: names are ASCII and numbers integers, so Python sorts and spells the same."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def is_plain(value: Any, levels: int = 8) -> bool:
    if is_object(value):
        names = all(pattern("[!-~]{1,256}").fullmatch(name) for name in value)
        return levels > 0 and names and all(is_plain(one, levels - 1) for one in value.values())
    if is_array(value):
        return levels > 0 and all(is_plain(one, levels - 1) for one in value)
    return isinstance(value, str) or (isinstance(value, int) and abs(value) < 2**53)


@lru_cache(2_000)
def parse(body: bytes) -> Json | str:
    """The record, or why there is none. What repeats a member is spelt otherwise than what was read of it."""
    try:
        record = json.loads(body.decode()) if len(body) <= 65_536 else None
        if not is_object(record) or not is_plain(record) or jcs(record) != body:
            return "malformed"
    except (ValueError, RecursionError):
        return "malformed"
    if fits(record.get("schema"), "otel-audit/([2-9]|[1-9][0-9]+)"):
        return "unsupported"
    right = fits(record, "record") and (record["seq"] == 1) == ("prev" not in record)
    return record if right and record["time"] <= record["observed"] and is_said_right(record) else "malformed"


FIELD = 2**255 - 19
EIGHTH = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
SMALL_ORDER = {0, 1, FIELD - 1, EIGHTH, FIELD - EIGHTH}  # the y of the points of order 1, 2, 4 and 8


def is_good(key: Ed25519PublicKey | None, record: Json) -> bool:
    """Whether it is signed, by that key."""
    sig = str(record.get("sig", ""))
    if not key or not sig:
        return False
    y, raw = int.from_bytes(key.public_bytes_raw(), "little") % 2**255, base64.urlsafe_b64decode(sig + "==")
    try:
        key.verify(raw, b"otel-audit/1\n" + jcs({name: one for name, one in record.items() if name != "sig"}))
    except InvalidSignature:
        return False
    return y < FIELD and y not in SMALL_ORDER and base64.urlsafe_b64encode(raw) == f"{sig}==".encode()


def root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(leaves[:half]) + root(leaves[half:])).digest()


def projection(record: Json) -> Json:
    """Every attribute of "OTLP projection" by name; None where the record has no such member."""
    named: Json = {name: one for name, one in record.get("context", {}).items() if name not in NO_INDEX}
    for path in ACCESS.split():
        one: Any = record
        for part in path.split("."):
            one = one.get(part, {})
        named[f"audit.{path}"] = one or None
    return named | {
        "audit.record.id": f"{record['stream']}-{record['seq']}", "audit.schema.version": record["schema"],
        "event.name": record["event"], "audit.sequence.stream_id": record["stream"],
        "audit.sequence.number": record["seq"], "audit.sequence.previous_hash": record.get("prev"),
        "audit.sequence.end": True if record["event"] == CLOSE else None,
        "audit.integrity.value": record.get("sig"),
        "audit.integrity.canonicalization": "otel-audit/1" if "sig" in record else None,
    }  # fmt: skip


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
    if value is None:
        return given in (None, "", False, "false")  # a column's default
    if is_array(value) and isinstance(given, str):
        try:
            if jcs(json.loads(given)) == jcs(value):
                return True
        except (ValueError, RecursionError):
            pass  # cut, or no JSON at all
    spelt = value if isinstance(value, str) else jcs(value).decode()
    return spelt.startswith(given) if isinstance(given, str) else json.dumps(given) == json.dumps(value)
