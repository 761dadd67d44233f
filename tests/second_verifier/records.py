"""What a record is: the page's "Record" and the table of lifecycle records; words in quotes are the page's own."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeGuard

SECOND = 10**9
Json = dict[str, Any]
Check = Callable[[Any], bool]


def like(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None


def one_of(*words: str) -> Check:
    return lambda value: isinstance(value, str) and value in words


def is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def listed(check: Check, most: int = 2**53) -> Check:
    return lambda value: is_array(value) and len(value) <= most and all(map(check, value))


def integer(value: object) -> bool:
    return type(value) is int and -(2**53) < value < 2**53


def count(value: Any) -> bool:
    return integer(value) and value >= 0


def number(value: Any) -> bool:
    return integer(value) and value >= 1


def reference(value: Any) -> bool:
    form = like("[0-9a-f]{32}:[1-9][0-9]{0,15}:[0-9a-f]{64}")
    return form(value) and number(int(value.split(":")[1]))


def moment(text: str) -> int:
    """Nanoseconds since the year 1; ValueError where the calendar has no such time."""
    found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)\.(\d{9})Z", text, re.ASCII)
    if not found:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction = map(int, found.groups())
    # The calendar repeats after 400 years; Python's has no year 0, which RFC 3339 has.
    days = date(year % 400 + 400, month, day).toordinal() + (year // 400 - 1) * 146_097
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
    return seconds * SECOND + fraction


def instant(when: datetime) -> int:
    return moment(f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{when.microsecond:06d}000Z".rjust(30, "0"))


def time(value: Any) -> bool:
    try:
        moment(value)
    except (ValueError, TypeError):
        return False
    return True


TEXT, ANY, ID, HASH = like(".+"), like(".*"), like("[0-9a-f]{32}"), like("[0-9a-f]{64}")
FLAG: Check = lambda value: isinstance(value, bool)  # noqa: E731 - a row of checks reads better than defs
SYSTEM = {"id": "otel-audit", "type": "system"}
TOP: dict[str, Check] = {
    "schema": one_of("otel-audit/1"), "stream": ID, "seq": number, "prev": HASH, "time": time, "observed": time,
    "event": TEXT, "actor": lambda v: is_actor(v), "action": like("[^a-z]+"),  # noqa: PLW0108 - defined below
    "target": lambda v: is_thing(v, TEXT),
    "outcome": one_of("success", "failure", "unknown"),
    "source": lambda v: is_thing(v, one_of("ipv4", "ipv6", "hostname")), "trace_id": like("(?!0{32})[0-9a-f]{32}"),
    "span_id": like("(?!0{16})[0-9a-f]{16}"), "context": lambda v: is_context(v),  # noqa: PLW0108 - likewise
    "sig": like("[A-Za-z0-9_-]{86}"),
}  # fmt: skip
ALWAYS = {"schema", "stream", "seq", "time", "observed", "event", "actor", "action", "outcome"}
AUTH = one_of("session", "basic", "bearer", "mtls", "api-key", "proxy-header", "explicit", "none")
SEAL: dict[str, Check] = {f"audit.seal.{name}": count for name in ("size", "dropped", "skipped")}
SEAL["audit.seal.root"] = HASH
NEXT_BY: dict[str, Check] = {"audit.seal.next_by": time}
PREDECESSORS: dict[str, Check] = {"audit.predecessors": listed(reference, 200)}
LIFECYCLE: dict[str, dict[str, Check]] = {
    "audit.stream.open": PREDECESSORS | NEXT_BY | {
        "audit.certificate": listed(ANY), "audit.sign": one_of("seal", "record"), "audit.seal.interval_ms": integer,
        "audit.heartbeat.interval_ms": integer, "audit.policy.digest": HASH, "audit.fail_mode": ANY,
        "audit.durability": one_of("disk", "memory"), "service.name": TEXT,
    },
    "audit.policy": {"audit.policy.text": ANY, "audit.policy.digest": HASH},
    "audit.seal": SEAL | NEXT_BY,
    "audit.stream.close": SEAL | {"audit.reason": one_of("shutdown", "rotation", "clock")},
    "audit.stream.recovered": {
        "audit.recovered.stream": ID, "audit.recovered.seq": number, "audit.recovered.hash": HASH,
        "audit.recovered.sealed": count, "audit.recovered.torn_bytes": count,
    },
    "audit.stream.linked": PREDECESSORS,
    "audit.gap": {"audit.gap.count": count, "audit.gap.from": ANY, "audit.gap.to": ANY, "audit.reason": ANY},
    "audit.retired": {
        "audit.retired.place": ANY, "audit.retired.streams": listed(ID, 1000), "audit.retired.records": count,
        "audit.retired.ended": time, "audit.retired.delivered": FLAG, "audit.policy.digest": HASH,
    },
}  # fmt: skip
OF_THE_PAGE = {name for row in LIFECYCLE.values() for name in row} | {
    "audit.successor", "audit.coverage.digest", "audit.actor.claimed", "audit.truncated",
}  # fmt: skip
"""Names beginning with `audit.` that `context` may have."""
OPEN, CLOSE, RECOVERED, RETIRED = (
    "audit.stream.open",
    "audit.stream.close",
    "audit.stream.recovered",
    "audit.retired",
)


def is_actor(value: Any, deep: int = 3) -> bool:
    """An actor, with `on_behalf_of` at most three deep."""
    checks: dict[str, Check] = {"id": TEXT, "type": one_of("user", "service", "system"), "auth": AUTH, "name": TEXT}
    if deep:
        checks["on_behalf_of"] = lambda inner: is_actor(inner, deep - 1)
    return has(value, checks, {"id", "type"})


def is_thing(value: Any, kind: Check) -> bool:
    return has(value, {"id": TEXT, "type": kind}, {"id", "type"})


def is_context(value: Any) -> bool:
    single: tuple[Check, ...] = (ANY, FLAG, integer)
    return is_object(value) and all(
        like("[!-~]{1,256}")(name)
        and (name in OF_THE_PAGE or not name.startswith("audit."))
        and any(check(item) or listed(check)(item) for check in single)
        for name, item in value.items()
    )


def has(value: Any, checks: Mapping[str, Check], needed: Collection[str]) -> bool:
    """An object with the members needed, each as its check says, "and no others"."""
    if not is_object(value) or not set(needed) <= set(value) <= set(checks):
        return False
    return all(checks[name](item) for name, item in value.items())


def jcs(members: Any) -> bytes:
    """RFC 8785 of what the page allows: ASCII names and integers."""
    return json.dumps(members, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def is_lifecycle(record: Json) -> bool:
    """Whether a lifecycle record has what its row says, "and nothing else of the name `audit.*`"."""
    said, row = record.get("context", {}), dict(LIFECYCLE[record["event"]])
    if said.get("audit.reason") == "rotation" and record["event"] == CLOSE:
        row["audit.successor"] = ID
    if record["event"] == OPEN and "audit.coverage.digest" in said:
        row["audit.coverage.digest"] = ANY
    if record["event"] == "audit.policy":
        digest = hashlib.sha256(str(said.get("audit.policy.text")).encode()).hexdigest()
        row["audit.policy.digest"] = one_of(digest)
    own = {name: value for name, value in said.items() if name.startswith("audit.") or name in row}
    fixed = (record["actor"], record["action"], record["outcome"]) == (SYSTEM, "EXECUTE", "success")
    return fixed and has(own, row, row)


def parse(body: bytes) -> Json | str:
    """The record, or the finding of what is none."""
    try:
        record: object = json.loads(body.decode()) if len(body) <= 65_536 else None
        if not is_object(record):
            return "malformed"
        later = re.fullmatch(r"otel-audit/([1-9][0-9]*)", str(record.get("schema")))
        if later and later[1] != "1":
            return "unsupported"
        sound = (
            jcs(record) == body
            and has(record, TOP, ALWAYS)
            and moment(record["time"]) <= moment(record["observed"])
        )
    except (ValueError, RecursionError):
        return "malformed"
    sound = sound and ("prev" in record) == (record["seq"] > 1)
    return record if sound and (record["event"] not in LIFECYCLE or is_lifecycle(record)) else "malformed"
