"""The published schema says the same of a record as the check that verifiers use, where a schema can say it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from otel_audit.evidence.canonical import decode, encode
from otel_audit.evidence.record import problem
from otel_audit.evidence.schema import record_schema
from otel_audit.testing import recording
from tests.archives import Archive

VECTORS = Path(__file__).parents[2] / "vectors" / "archives"
SCHEMA = Draft202012Validator(record_schema())

Members = dict[str, Any]
Change = Callable[[Members], object]

BEYOND_A_SCHEMA = {"record-observed-before-time", "record-float-1.0", "record-time-february-29"}
"""What the schema's own description says that it cannot say."""


def is_valid(members: Members) -> bool:
    return SCHEMA.is_valid(members)  # pyright: ignore[reportUnknownMemberType]


def parsed(archive: Path) -> Iterator[Members]:
    """Every body of an archive that is the canonical text of an object."""
    for path in sorted(archive.glob("*/*/*.jsonl")):
        for line in path.read_bytes().split(b"\n"):
            members = decode(line)
            if members is not None:
                yield members


def test_the_schema_is_one_of_2020_12() -> None:
    Draft202012Validator.check_schema(record_schema())  # pyright: ignore[reportUnknownMemberType]

    assert record_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_record_of_the_verified_vectors_is_valid() -> None:
    archives = [
        path.parent
        for path in VECTORS.glob("*/expected.json")
        if json.loads(path.read_text())["verdict"] == "verified"
    ]
    refused = [(path.name, members) for path in archives for members in parsed(path) if not is_valid(members)]

    assert len(archives) > 20
    assert refused == []


def test_schema_and_verifier_agree_on_every_vector_about_records() -> None:
    differing = {
        path.name
        for path in VECTORS.glob("*")
        if path.name.startswith(("record-", "lifecycle-", "unsupported"))
        for members in parsed(path)
        if is_valid(members) != (problem(members) is None)
    }

    assert differing == BEYOND_A_SCHEMA


@pytest.mark.parametrize("sign", ["seal", "record"])
def test_the_records_of_our_own_writer_are_valid(sign: str) -> None:
    from otel_audit import Actor, Source, Target, get_audit_logger

    with recording(OTEL_AUDIT_SIGN=sign) as log:
        get_audit_logger("test").emit(
            "invoice.approve",
            action="APPROVE",
            actor=Actor("bob", "user", "session", "Bob", Actor("alice", on_behalf_of=Actor("root", "system"))),
            target=Target("invoice/42", "invoice"),
            source=Source("2001:db8::1", "ipv6"),
            context={
                "a": 1.5,
                "b": [True],
                "c": [1, 2**60],
                "d": "x" * 70_000,
                "audit.reason": "four eyes",
                "e": "",
            },
        )
    events = [members["event"] for members in map(json.loads, log.bodies)]

    assert events == ["audit.stream.open", "audit.policy", "invoice.approve", "audit.stream.close"]
    assert [members for members in map(json.loads, log.bodies) if not is_valid(members)] == []


@pytest.fixture(scope="module")
def right() -> dict[str, Members]:
    """One good record of each kind, by its event."""
    archive = Archive()
    first, crashed = archive.stream(), archive.stream()
    first.event(actor={"id": "a", "type": "user", "on_behalf_of": {"id": "b", "type": "user"}})
    first.policy()
    first.linked([crashed.reference()])
    first.recover(crashed)
    first.gap()
    first.retire([crashed])
    first.seal()
    first.close("rotation", archive.stream())
    return {members["event"]: members for members in map(json.loads, first.records)}


def test_a_good_record_of_each_kind_is_accepted_by_both(right: dict[str, Members]) -> None:
    assert len(right) == 9
    assert {event: (problem(members), is_valid(members)) for event, members in right.items()} == dict.fromkeys(
        right, (None, True)
    )


def put(*path: str, value: Any) -> Change:
    """Set the member at *path*."""

    def change(members: Members) -> None:
        for name in path[:-1]:
            members = members.setdefault(name, {})
        members[path[-1]] = value

    return change


def drop(*path: str) -> Change:
    """Remove the member at *path*."""

    def change(members: Members) -> None:
        for name in path[:-1]:
            members = members[name]
        del members[path[-1]]

    return change


def in_order(members: Members) -> Members:
    """*members* in canonical order at every depth, so that nothing but the change is wrong."""
    ordered: Members = json.loads(json.dumps(members, sort_keys=True))
    return ordered


def behalf(depth: int) -> Members:
    """An actor that acts on behalf of *depth* others."""
    actor: Members = {"id": "a", "type": "user"}
    return actor if depth == 0 else {**actor, "on_behalf_of": behalf(depth - 1)}


EVENT = "http.server.request"
OPEN, POLICY, SEAL, CLOSE = "audit.stream.open", "audit.policy", "audit.seal", "audit.stream.close"
LINKED, RECOVERED, GAP, RETIRED = "audit.stream.linked", "audit.stream.recovered", "audit.gap", "audit.retired"
REFERENCE = f"{'a' * 32}:1:{'b' * 64}"
REQUIRED = ("schema", "stream", "seq", "time", "observed", "event", "actor", "action", "outcome", "prev")
SEALED = ("audit.seal.size", "audit.seal.root", "audit.seal.dropped", "audit.seal.skipped")
LIFECYCLE = {
    OPEN: (
        "audit.certificate", "audit.predecessors", "audit.sign", "audit.seal.interval_ms",
        "audit.heartbeat.interval_ms", "audit.seal.next_by", "audit.policy.digest", "audit.fail_mode",
        "audit.durability", "service.name",
    ),
    POLICY: ("audit.policy.text", "audit.policy.digest"),
    SEAL: (*SEALED, "audit.seal.next_by"),
    CLOSE: (*SEALED, "audit.reason", "audit.successor"),
    LINKED: ("audit.predecessors",),
    RECOVERED: tuple(f"audit.recovered.{name}" for name in ("stream", "seq", "hash", "sealed", "torn_bytes")),
    GAP: ("audit.gap.count", "audit.gap.from", "audit.gap.to", "audit.reason"),
    RETIRED: (
        *(f"audit.retired.{name}" for name in ("place", "streams", "records", "ended", "delivered")),
        "audit.policy.digest",
    ),
}  # fmt: skip

WRONG: list[tuple[str, Change]] = [
    *((EVENT, drop(name)) for name in REQUIRED),
    *((EVENT, put(name, value=None)) for name in (*REQUIRED, "context", "target", "source", "trace_id", "sig")),
    *((event, drop("context", name)) for event, names in LIFECYCLE.items() for name in names),
    *((event, put("context", name, value={})) for event, names in LIFECYCLE.items() for name in names),
    *((event, drop("context")) for event in LIFECYCLE),
    *((event, put("context", "audit.truncated", value=[])) for event in LIFECYCLE),
    *((event, put("action", value="READ")) for event in LIFECYCLE),
    *((event, put("outcome", value="failure")) for event in LIFECYCLE),
    *((event, put("actor", value={"id": "otel-audit", "type": "service"})) for event in LIFECYCLE),
    *((event, put("actor", "auth", value="none")) for event in LIFECYCLE),
    (EVENT, put("another", value="member")),
    (EVENT, put("schema", value="otel-audit/2")),
    (EVENT, put("stream", value="A" * 32)),
    (EVENT, put("stream", value="a" * 31)),
    (EVENT, put("stream", value="a" * 32 + "\n")),
    (EVENT, put("seq", value=0)),
    (EVENT, put("seq", value=-1)),
    (EVENT, put("seq", value=True)),
    (EVENT, put("seq", value="2")),
    (EVENT, put("seq", value=1)),
    (EVENT, put("prev", value="a" * 63)),
    (OPEN, put("prev", value="a" * 64)),
    (EVENT, put("time", value="2026-01-01T00:00:00Z")),
    (EVENT, put("time", value="2026-13-01T00:00:00.000000000Z")),
    (EVENT, put("time", value="2026-02-30T00:00:00.000000000Z")),
    (EVENT, put("time", value="2026-01-01T24:00:00.000000000Z")),
    (EVENT, put("time", value="2026-01-01T00:00:60.000000000Z")),
    (EVENT, put("time", value="2026-01-01T00:00:00.000000000+")),
    (EVENT, put("event", value="")),
    (EVENT, put("event", value=7)),
    (EVENT, put("action", value="")),
    (EVENT, put("action", value="Read")),
    (EVENT, put("outcome", value="ok")),
    (EVENT, put("actor", value="alice")),
    (EVENT, put("actor", value={"id": "alice"})),
    (EVENT, put("actor", value={"type": "user"})),
    (EVENT, put("actor", "id", value="")),
    (EVENT, put("actor", "id", value=42)),
    (EVENT, put("actor", "type", value="admin")),
    (EVENT, put("actor", "auth", value="kerberos")),
    (EVENT, put("actor", "name", value="")),
    (EVENT, put("actor", "email", value="a@b.c")),
    (EVENT, put("actor", value=behalf(4))),
    (EVENT, put("actor", "on_behalf_of", value="bob")),
    (EVENT, put("target", "id", value="")),
    (EVENT, put("target", "name", value="x")),
    (EVENT, drop("target", "type")),
    (EVENT, put("source", "type", value="ipv5")),
    (EVENT, put("source", "id", value="")),
    (EVENT, put("trace_id", value="0" * 32)),
    (EVENT, put("trace_id", value="A" * 32)),
    (EVENT, put("span_id", value="0" * 16)),
    (EVENT, put("span_id", value="a" * 15)),
    (EVENT, put("sig", value="a" * 85)),
    (EVENT, put("sig", value="a" * 85 + "=")),
    (EVENT, put("context", value=[])),
    (EVENT, put("context", "", value="x")),
    (EVENT, put("context", "a b", value="x")),
    (EVENT, put("context", "a\n", value="x")),
    (EVENT, put("context", "é", value="x")),
    (EVENT, put("context", "x" * 257, value="x")),
    (EVENT, put("context", "audit.invented", value="x")),
    (EVENT, put("context", "x", value=None)),
    (EVENT, put("context", "x", value=1.5)),
    (EVENT, put("context", "x", value={"y": 1})),
    (EVENT, put("context", "x", value=[["y"]])),
    (EVENT, put("context", "x", value=["y", 1])),
    (EVENT, put("context", "x", value=[True, 1])),
    (EVENT, put("context", "x", value=[1.5])),
    (OPEN, put("context", "audit.predecessors", value=[REFERENCE] * 201)),
    (OPEN, put("context", "audit.predecessors", value=[REFERENCE.replace(":1:", ":0:")])),
    (OPEN, put("context", "audit.predecessors", value=[REFERENCE.replace(":1:", ":01:")])),
    (OPEN, put("context", "audit.predecessors", value=[REFERENCE + "\n"])),
    (OPEN, put("context", "audit.sign", value="never")),
    (OPEN, put("context", "audit.durability", value="tape")),
    (OPEN, put("context", "audit.seal.interval_ms", value=True)),
    (OPEN, put("context", "audit.coverage.digest", value=1)),
    (OPEN, put("context", "service.name", value="")),
    (SEAL, put("context", "audit.seal.size", value=-1)),
    (SEAL, put("context", "audit.reason", value="shutdown")),
    (CLOSE, put("context", "audit.reason", value="shutdown")),
    (CLOSE, put("context", "audit.reason", value="lunch")),
    (CLOSE, put("context", "audit.seal.next_by", value="2026-01-01T00:00:00.000000000Z")),
    (RECOVERED, put("context", "audit.recovered.seq", value=0)),
    (RECOVERED, put("context", "audit.recovered.sealed", value=-1)),
    (RETIRED, put("context", "audit.retired.streams", value=["a" * 32] * 1001)),
    (RETIRED, put("context", "audit.retired.streams", value=["a" * 31])),
]


@pytest.mark.parametrize(("event", "change"), WRONG)
def test_a_wrong_record_is_refused_by_both(event: str, change: Change, right: dict[str, Members]) -> None:
    members: Members = json.loads(encode(right[event]))
    change(members)
    members = in_order(members)

    assert problem(members) is not None
    assert not is_valid(members)


RIGHT: list[tuple[str, Change]] = [
    (EVENT, drop("context")),
    (EVENT, put("actor", value=behalf(3))),
    (EVENT, put("context", "empty", value="")),
    (EVENT, put("context", "empty", value=[])),
    (EVENT, put("context", "x" * 256, value=-(2**53) + 1)),
    (EVENT, put("context", "audit.truncated", value=["x"])),
    (EVENT, put("time", value="2024-02-29T00:00:00.000000000Z")),
    (EVENT, put("event", value="audit.of.something.else")),
    (OPEN, put("context", "audit.predecessors", value=[REFERENCE] * 200)),
    (OPEN, put("context", "audit.coverage.digest", value="a" * 64)),
    (POLICY, put("sig", value="A" * 86)),
]


@pytest.mark.parametrize(("event", "change"), RIGHT)
def test_a_record_at_a_limit_is_accepted_by_both(event: str, change: Change, right: dict[str, Members]) -> None:
    members: Members = json.loads(encode(right[event]))
    change(members)
    members = in_order(members)

    assert problem(members) is None
    assert is_valid(members)
