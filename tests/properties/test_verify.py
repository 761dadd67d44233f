"""Whatever the data, a verdict; and reordering or repeating lines never changes it."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import cache
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_audit.evidence.canonical import decode
from otel_audit.evidence.record import problem
from otel_audit.sources.spill import key_of
from tests.archives import Archive, MemorySource, canonical

names = st.sampled_from(
    ("schema", "stream", "seq", "context", "actor", "target", "source", "event", "id", "type", "sig")
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(("otel-audit/1", "ab" * 16, "", '","seq":7')),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


def written(value: Any) -> bytes:
    return canonical(value)


@cache
def closed() -> Archive:
    """Two streams: one crashed and recovered by the other, which is closed."""
    archive = Archive()
    first = archive.stream()
    first.events(2)
    first.seal()
    first.event()
    second = archive.stream(predecessors=[first.reference()])
    second.recover(first)
    second.events(2)
    second.close()
    return archive


def findings(bodies: list[bytes]) -> list[tuple[str, str | None, int | None]]:
    verdict = closed().verify(source=MemorySource(bodies), now=closed().clock.moment + timedelta(minutes=1))
    return [(f.kind, f.stream, f.seq) for f in verdict.findings]


@given(st.permutations(closed().bodies), st.lists(st.sampled_from(closed().bodies), max_size=5))
def test_reordered_and_repeated_lines_change_nothing(bodies: list[bytes], repeated: list[bytes]) -> None:
    assert findings([*bodies, *repeated]) == findings(closed().bodies)


@given(st.lists(st.binary(max_size=200) | values.map(written), max_size=8), st.integers(0, 10))
def test_any_lines_at_all_end_in_a_verdict(junk: list[bytes], at: int) -> None:
    bodies = closed().bodies
    found = findings([*bodies[:at], *junk, *bodies[at:]])

    assert ("malformed", None, None) in found or not junk


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, len(closed().bodies) - 1), st.data())
def test_any_other_value_of_any_member_ends_in_a_verdict_that_is_not_verified(at: int, data: st.DataObject) -> None:
    bodies = list(closed().bodies)
    members = json.loads(bodies[at])
    member = data.draw(st.sampled_from(sorted(members)))
    old, new = members[member], data.draw(values)
    inside: dict[str, Any] = cast("dict[str, Any]", old) if isinstance(old, dict) else {}
    name = data.draw(st.sampled_from(["", *sorted(inside)]))
    members[member] = {**inside, name: new} if name else new
    bodies[at] = canonical(members)
    verdict = closed().verify(source=MemorySource(bodies))

    assert verdict.status != "verified" or bodies[at] == closed().bodies[at]


@given(values.map(written) | st.sampled_from(closed().bodies))
def test_the_glance_that_sorts_is_right_about_every_record(body: bytes) -> None:
    members = decode(body)
    is_record = members is not None and problem(members) is None

    assert not is_record or (members is not None and key_of(body) == (members["stream"], members["seq"]))
