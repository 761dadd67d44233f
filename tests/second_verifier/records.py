"""What a record of `otel-audit/1` is, for the second verifier: tables of shapes, a parser over them, signatures."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, TypeGuard

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509 import Certificate

Json = dict[str, Any]
Check = Callable[[Any], bool]
SECOND = 10**9


def is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def like(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None


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
        moment(value if KINDS["clock"](value) else "")
    except ValueError:  # a day that its month does not have
        return False
    return True


class Shape:
    """An object with these members, `name:kind` or `name?:kind` where it may be absent, and no others."""

    def __init__(self, text: str) -> None:
        pairs = [one.replace("$", "audit.").split(":") for one in text.split()]
        self.checks = {name.rstrip("?"): KINDS[kind] for name, kind in pairs}
        self.needed = {name for name, _ in pairs if not name.endswith("?")}

    def __call__(self, value: Any) -> bool:
        checks, keys = self.checks, value.keys() if is_object(value) else {""}
        return self.needed <= keys <= checks.keys() and all(checks[name](value[name]) for name in keys)


VALUES = ("string", "flag", "integer", "strings", "flags", "integers")
KINDS: dict[str, Check] = {
    "string": like(".*"), "text": like(".+"), "verb": like("[^a-z]+"), "id": like("[0-9a-f]{32}"),
    "hash": like("[0-9a-f]{64}"), "sig": like("[A-Za-z0-9_-]{86}"), "trace": like("(?!0+$)[0-9a-f]{32}"),
    "span": like("(?!0+$)[0-9a-f]{16}"), "number": lambda value: type(value) is int and value > 0,
    "count": lambda value: type(value) is int and value >= 0, "integer": lambda value: type(value) is int,
    "flag": lambda value: isinstance(value, bool), "time": time,
    "clock": like(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T([01][0-9]|2[0-3])(:[0-5][0-9]){2}\.[0-9]{9}Z"),
    "reference": lambda value: KINDS["like"](value) and int(value.split(":")[1]) < 2**53,
    "like": like("[0-9a-f]{32}:[1-9][0-9]{0,15}:[0-9a-f]{64}"),
    "schema": like("otel-audit/1"), "outcome": like("success|failure|unknown"), "role": like("user|service|system"),
    "auth": like("session|basic|bearer|mtls|api-key|proxy-header|explicit|none"), "signing": like("seal|record"),
    "address": like("ipv4|ipv6|hostname"), "durability": like("disk|memory"),
    "end": like("shutdown|rotation|clock"), "strings": listed("string"), "flags": listed("flag"),
    "integers": listed("integer"), "references": listed("reference", 200), "ids": listed("id", 1000),
    "value": lambda value: any(KINDS[kind](value) for kind in VALUES),
    "context": lambda value: is_object(value) and all(map(KINDS["value"], value.values())),
}  # fmt: skip
KINDS["actor"] = Shape("id:text type:role auth?:auth name?:text")
for _ in range(3):
    KINDS["actor"] = Shape("id:text type:role auth?:auth name?:text on_behalf_of?:actor")
KINDS["target"], KINDS["source"] = Shape("id:text type:text"), Shape("id:text type:address")
RECORD = Shape("""schema:schema stream:id seq:number prev?:hash time:time observed:time event:text actor:actor
    action:verb target?:target outcome:outcome source?:source trace_id?:trace span_id?:span context?:context
    sig?:sig""")
OPEN, CLOSE, SEAL, RECOVERED = "audit.stream.open", "audit.stream.close", "audit.seal", "audit.stream.recovered"
SEALED = "$seal.size:count $seal.root:hash $seal.dropped:count $seal.skipped:count "
SHAPES = {
    OPEN: Shape("""$certificate:strings $predecessors:references $sign:signing $seal.interval_ms:integer
        $heartbeat.interval_ms:integer $seal.next_by:time $policy.digest:hash $fail_mode:string
        $durability:durability $coverage.digest?:string service.name:text"""),
    SEAL: Shape(SEALED + "$seal.next_by:time"), CLOSE: Shape(SEALED + "$reason:end $successor?:id"),
    RECOVERED: Shape("""$recovered.stream:id $recovered.seq:number $recovered.hash:hash $recovered.sealed:count
        $recovered.torn_bytes:count"""),
    "audit.policy": Shape("$policy.text:string $policy.digest:hash"),
    "audit.stream.linked": Shape("$predecessors:references"),
    "audit.gap": Shape("$gap.count:count $gap.from:string $gap.to:string $reason:string"),
    "audit.retired": Shape("""$retired.place:string $retired.streams:ids $retired.records:count $retired.ended:time
        $retired.delivered:flag $policy.digest:hash"""),
}  # fmt: skip
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
        return hashlib.sha256(said["audit.policy.text"].encode()).hexdigest() == str(said["audit.policy.digest"])
    return event != CLOSE or bool(said["audit.reason"] == "rotation") == ("audit.successor" in said)


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


def is_good(own: Certificate | None, record: Json) -> bool:
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


def root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(leaves[:half]) + root(leaves[half:])).digest()
