"""What is a record, and what is not although it is canonical JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from otel_audit.evidence.canonical import decode
from otel_audit.evidence.record import problem
from tests.archives import Archive, canonical, merged


def parsed(body: bytes) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(body)
    return members


def event() -> dict[str, Any]:
    stream = Archive().stream()
    return parsed(stream.event())


def lifecycle(name: str) -> dict[str, Any]:
    archive = Archive()
    stream, other = archive.stream(), archive.stream()
    made: dict[str, Callable[[], bytes]] = {
        "audit.stream.open": lambda: stream.records[0],
        "audit.policy": stream.policy,
        "audit.seal": stream.seal,
        "audit.stream.close": lambda: stream.close("rotation", successor=other),
        "audit.stream.linked": lambda: stream.linked([other.reference()]),
        "audit.stream.recovered": lambda: stream.recover(other),
        "audit.gap": stream.gap,
        "audit.retired": lambda: stream.retire([other]),
    }
    return parsed(made[name]())


def judged(members: dict[str, Any]) -> str | None:
    """As the verifier does it: parsed back from the bytes."""
    body = canonical(members)
    decoded = decode(body)
    assert decoded is not None, "canonical, and judged as a record"
    return problem(decoded)


def each(member: str, *values: Any) -> list[dict[str, Any]]:
    """A change for each value."""
    return [{member: value} for value in values]


def without(member: str) -> dict[str, Any]:
    return {member: None}


LIFECYCLE = (
    "audit.stream.open",
    "audit.policy",
    "audit.seal",
    "audit.stream.close",
    "audit.stream.linked",
    "audit.stream.recovered",
    "audit.gap",
    "audit.retired",
)
ALICE = {"id": "alice", "type": "user"}


def nested(depth: int) -> dict[str, Any]:
    return {**ALICE, "on_behalf_of": nested(depth - 1)} if depth else ALICE


REQUIRED = ("stream", "seq", "time", "observed", "event", "actor", "action", "outcome", "schema")
TEXTS = ("schema", "stream", "event", "action", "outcome", "time", "observed", "prev", "trace_id", "span_id")
ALLOWED: list[dict[str, Any]] = [
    {},
    {"target": None, "source": None, "trace_id": None, "span_id": None, "context": None},
    {
        "context": {
            "empty": "",
            "list": [],
            "words": ["a", ""],
            "flags": [True],
            "numbers": [-1, 2**53 - 1],
            "no": False,
        }
    },
    {
        "context": {
            "!" + "~" * 255: "x",
            "audit.actor.claimed": "hash:x",
            "audit.reason": "denied",
            "audit.truncated": ["a"],
        }
    },
    {"actor": nested(3)},
    {"actor": {**ALICE, "auth": "mtls", "name": "Alice"}},
    {"time": "2024-02-29T23:59:59.999999999Z"},
    {"time": "0000-02-29T00:00:00.000000000Z"},
    {"action": "RE-OPEN", "event": "käse"},
]
REFUSED: list[dict[str, Any]] = [
    *(without(name) for name in REQUIRED),
    without("prev"),
    {"schema": None},
    {"schema": "otel-audit/2"},
    {"extra": "x"},
    *(change for name in TEXTS for change in each(name, 1, True, [], {}, "")),
    {"stream": "AB" * 16},
    {"stream": "ab" * 16 + "\n"},
    *each("seq", 0, -1, True, "2", 2.0),
    {"seq": 1},
    {"prev": "AB" * 32},
    *each(
        "time",
        "2026-02-29T12:00:00.000000000Z",
        "2026-03-01T24:00:00.000000000Z",
        "2026-03-01T12:60:00.000000000Z",
        "2026-03-01T12:00:60.000000000Z",
        "2026-13-01T12:00:00.000000000Z",
        "2026-00-01T12:00:00.000000000Z",
        "2026-03-00T12:00:00.000000000Z",
        "2026-03-01 12:00:00.000000000Z",
        "2026-03-01T12:00:00.000000000z",
        "2026-03-01T12:00:00.00000000Z",
        "2026-03-01T12:00:00.0000000000Z",
        "2026-03-01T12:00:00.000000000+00:00",
        "٢٠٢٦-03-01T12:00:00.000000000Z",
        "1900-02-29T12:00:00.000000000Z",
    ),
    {"time": "2026-03-01T12:00:01.000000000Z"},
    {"action": "read"},
    {"outcome": "SUCCESS"},
    *each(
        "actor",
        "alice",
        [],
        {},
        {"id": "alice"},
        {"type": "user"},
        {"id": "", "type": "user"},
        {"id": "a", "type": "robot"},
        {**ALICE, "auth": "magic"},
        {**ALICE, "name": ""},
        {**ALICE, "mail": "x"},
        {**ALICE, "id": 1},
        {**ALICE, "id": ["a"]},
        nested(4),
        {**ALICE, "on_behalf_of": {}},
        {**ALICE, "on_behalf_of": "bob"},
    ),
    *each(
        "target",
        "x",
        {},
        {"id": "x"},
        {"id": "x", "type": ""},
        {"id": 1, "type": "t"},
        {"id": "x", "type": "t", "z": "z"},
    ),
    *each("source", {"id": "x", "type": "ipv5"}, {"id": "", "type": "ipv4"}, {"id": "x"}),
    {"trace_id": "0" * 32},
    {"span_id": "0" * 16},
    {"trace_id": "ab" * 8},
    {"span_id": "AB" * 8},
    {"context": "x"},
    *each(
        "context",
        {"": "x"},
        {"a b": "x"},
        {"é": "x"},
        {"x" * 257: "x"},
        {"x": {}},
        {"x": [[]]},
        {"x": ["a", 1]},
        {"x": [1, True]},
        {"x": 1.5},
        {"x": [1.5]},
        {"x": [{}]},
        {"audit.unknown": "x"},
    ),
    *each("sig", "", "A" * 85, "A" * 87, "A" * 85 + "=", "A" * 85 + "+", 1),
]


@pytest.mark.parametrize("changes", ALLOWED)
def test_what_the_format_allows_is_a_record(changes: dict[str, Any]) -> None:
    assert judged(merged(event(), changes)) is None


@pytest.mark.parametrize("changes", REFUSED)
def test_what_the_format_does_not_allow_is_no_record(changes: dict[str, Any]) -> None:
    assert judged(merged(event(), changes)) is not None


@pytest.mark.parametrize("member", ["actor", "target", "context", "stream", "sig", "trace_id", "time"])
def test_null_stands_for_nothing(member: str) -> None:
    assert judged({**event(), member: None}) is not None
    assert judged({**event(), "context": {"x": None}}) is not None


@pytest.mark.parametrize("name", LIFECYCLE)
def test_a_lifecycle_record_has_what_is_listed(name: str) -> None:
    members = lifecycle(name)
    assert judged(members) is None

    for member in [
        member for member in members["context"] if member.startswith("audit.") or member == "service.name"
    ]:
        without = merged(members, {"context": {member: None}})
        assert judged(without) is not None, f"{member} is required"
        assert judged(merged(members, {"context": {member: [[]]}})) is not None, (
            "an array of arrays is no type of ours"
        )
        assert judged(merged(members, {"context": {member: 1.5}})) is not None


@pytest.mark.parametrize("name", LIFECYCLE)
@pytest.mark.parametrize(
    "changes",
    [
        {"actor": {"id": "mallory", "type": "system"}},
        {"action": "READ"},
        {"outcome": "failure"},
        {"context": {"audit.actor.claimed": "x"}},
        {"context": {"audit.truncated": ["x"]}},
    ],
)
def test_a_lifecycle_record_is_in_the_name_of_the_log_itself(name: str, changes: dict[str, Any]) -> None:
    assert judged(merged(lifecycle(name), changes)) is not None
    assert judged(merged(lifecycle(name), {"context": {"host.name": "h"}})) is None


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("audit.stream.open", {"audit.predecessors": ["x"]}),
        ("audit.stream.open", {"audit.predecessors": [f"{'ab' * 16}:1:{'cd' * 32}"] * 201}),
        ("audit.stream.open", {"audit.predecessors": [f"{'ab' * 16}:9007199254740992:{'cd' * 32}"]}),
        ("audit.stream.open", {"audit.sign": "all"}),
        ("audit.stream.open", {"audit.durability": "tape"}),
        ("audit.stream.open", {"audit.seal.interval_ms": True}),
        ("audit.stream.open", {"audit.seal.next_by": "soon"}),
        ("audit.stream.open", {"service.name": ""}),
        ("audit.stream.open", {"audit.coverage.digest": 1}),
        ("audit.policy", {"audit.policy.text": "another text\n"}),
        ("audit.seal", {"audit.seal.size": -1}),
        ("audit.seal", {"audit.seal.root": "AB" * 32}),
        ("audit.seal", {"audit.reason": "shutdown"}),
        ("audit.stream.close", {"audit.reason": "boredom"}),
        ("audit.stream.close", {"audit.reason": "shutdown"}),
        ("audit.stream.close", {"audit.successor": "next"}),
        ("audit.stream.close", {"audit.seal.next_by": "2026-03-01T12:00:00.000000000Z"}),
        ("audit.stream.recovered", {"audit.recovered.seq": 0}),
        ("audit.retired", {"audit.retired.delivered": "true"}),
        ("audit.retired", {"audit.retired.streams": ["ab" * 16] * 1001}),
    ],
)
def test_members_of_lifecycle_records_have_their_form(name: str, context: dict[str, Any]) -> None:
    assert judged(merged(lifecycle(name), {"context": context})) is not None


def test_members_in_another_order_are_seen_at_any_depth() -> None:
    """The hot loop compares bytes without sorting, and relies on this."""

    def turned(members: dict[str, Any], *path: str) -> dict[str, Any]:
        if not path:
            return dict(reversed(members.items()))
        return {**members, path[0]: turned(members[path[0]], *path[1:])}

    whole = json.loads(canonical(merged(event(), {"actor": nested(2)})))
    assert problem(whole) is None
    for path in ((), ("actor",), ("actor", "on_behalf_of"), ("target",), ("source",), ("context",)):
        assert problem(turned(whole, *path)) is not None
