"""The quick judgement of a record by its bytes says yes only where the full one does, and the same of it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_audit.evidence import plain
from otel_audit.evidence.canonical import decode, encode
from otel_audit.evidence.plain import read_plain
from otel_audit.evidence.record import problem

STREAM, PREV = "a" * 32, "b" * 64
TIME = "2026-11-23T15:00:00.123456789Z"
MEMBERS: dict[str, Any] = {
    "schema": "otel-audit/1",
    "stream": STREAM,
    "seq": 17,
    "prev": PREV,
    "time": "2026-11-23T14:59:59.123456789Z",
    "observed": TIME,
    "event": "http.server.request",
    "actor": {"id": "alice", "type": "user", "auth": "session"},
    "action": "READ",
    "target": {"id": "/customers/7", "type": "http.endpoint"},
    "outcome": "success",
    "source": {"id": "198.51.100.7", "type": "ipv4"},
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "context": {"http.request.method": "GET", "sizes": [1, 2], "url.path": "/é"},
}


def quick(body: bytes) -> tuple[int, bytes] | None:
    return read_plain(body, PREV.encode(), STREAM.encode())


def in_full(body: bytes) -> tuple[int, bytes] | None:
    """Of an unsigned event that follows PREV in STREAM; else None."""
    members = decode(body)
    if members is None or problem(members) is not None:
        return None
    if members["stream"] != STREAM or members.get("prev") != PREV:
        return None
    if "sig" in members or members["event"].startswith("audit."):
        return None
    return members["seq"], members["observed"].encode()


scalars = (
    st.none() | st.booleans() | st.integers(-(2**54), 2**54) | st.text(max_size=8) | st.floats(allow_nan=False)
)
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=6), scalars, max_size=3)
names = st.sampled_from([*MEMBERS, "sig", "note"])
TEXTS = [
    "", "é", "\x7f", '"', "\\", "\u2028", "audit.seal", "audit.note", "1970-01-01T00:00:00.000000000Z", TIME,
    "2026-02-29T00:00:00.000000000Z", "9999-12-31T23:59:60.000000000Z", "0" * 32, "0" * 16, "ipv6", "unknown",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(names, values | st.sampled_from(TEXTS), max_size=2), st.sets(names, max_size=2))
def test_whatever_a_member_is_both_ways_agree(changes: dict[str, Any], gone: set[str]) -> None:
    members = {name: value for name, value in (MEMBERS | changes).items() if name not in gone}
    body = json.dumps(members, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

    assert quick(body) == in_full(body)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_a_byte_is_both_ways_agree(seed: int) -> None:
    chance = random.Random(seed)
    body = bytearray(encode(MEMBERS))
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(body))
        change = chance.choice(
            (b"", b'"', b",", b"0", b" ", b"\\", b"\xff", b"\xed\xa0\x80", b"}", bytes([chance.randrange(256)]))
        )
        body[at : at + chance.randint(0, 2)] = change

    assert quick(bytes(body)) == in_full(bytes(body))


@pytest.mark.parametrize("name", ["source", "target", "trace_id", "span_id", "context", None])
def test_a_usual_record_is_judged_by_its_bytes_with_or_without(name: str | None) -> None:
    body = encode({member: value for member, value in MEMBERS.items() if member != name})

    assert quick(body) == (17, TIME.encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 1},
        {"prev": "c" * 64},
        {"stream": "c" * 32},
        {"event": "audit.note"},
        {"sig": "A" * 86},
        {"time": "2026-11-23T15:00:00.123456790Z"},
        {"observed": "2026-13-23T15:00:00.123456789Z"},
        {"trace_id": "0" * 32},
        {"context": {"b": {"c": 1}}},
        {"context": {"n": 2**53}},
        {"context": {"audit.unknown": "x"}},
        {"context": {"pad": "x" * 65_000, "url": "y" * 600}},
        {"context": 7},
    ],
)
def test_what_is_not_plain_is_left_to_a_closer_look(changes: dict[str, Any]) -> None:
    assert quick(encode(MEMBERS)) is not None
    body = json.dumps(MEMBERS | changes, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    assert quick(body) is None


@pytest.mark.parametrize(
    ("old", "new"), [(b'"b":1', b'"b":1,"b":1'), (b'"a":0,"b":1', b'"b":1,"a":0'), (b'"b":1', b'"b": 1')]
)
def test_a_context_that_is_not_canonical_is_left_to_a_closer_look(old: bytes, new: bytes) -> None:
    body = encode(MEMBERS | {"context": {"a": 0, "b": 1}})
    assert quick(body) is not None

    assert quick(body.replace(old, new)) is None


def test_a_head_is_remembered_only_where_it_is_one() -> None:
    """`,"context":` may stand in another member, where what comes before it is not the two members."""
    odd = encode({"action": "READ", "actor": {"id": "x", "context": {"a": 1}, "type": "user"}})
    before = set(plain.heads)

    assert quick(odd) is None

    assert plain.heads <= before


def test_what_is_remembered_of_a_hostile_log_is_bounded() -> None:
    for number in range(5_000):
        quick(encode(MEMBERS | {"actor": {"id": "x" * 900 + str(number), "type": "user"}}))
        quick(encode(MEMBERS | {"actor": {"id": "x" * 9_000 + str(number), "type": "user"}}))

    assert sum(map(len, plain.heads)) < 6_000_000
