"""The property behind all attacks: whatever is done to closed streams is seen.

What "seen" can mean depends on who holds the ends. Where every end is named by a later stream or held by a
witness, no archive with another set of lines is `verified`. Without a witness, the newest end of a service
is named by nobody: whole streams can then be taken away from the young end, as long as nothing that is
left names them, and the rest is `verified` with another `unpinned` end. Nothing else can be done unseen.

Bytes after the last line feed of a file are no record, nor are unsigned lines above the record at which a
recovery ended a stream (`second`, at 9); the archive is the set of its other lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.attacks.world import World
from tests.vectors.stream import encode

LABELS = ("first", "second", "third", "newest", "other")
MANY = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Edit = tuple[str, str, int, int, bytes]

edits = st.lists(
    st.tuples(
        st.sampled_from(
            ["flip", "drop", "insert", "append", "cut", "splice", "member", "context", "number", "behead", "clear",
             "pretend", "future"]
        ),
        st.sampled_from(LABELS),
        st.integers(0, 10),
        st.integers(0, 2**20),
        st.binary(max_size=8),
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip


@MANY
@given(edits)
@example([("clear", "newest", 0, 0, b"")])
@example([("clear", "newest", 0, 0, b""), ("clear", "third", 0, 0, b"")])
@example([("future", "newest", 0, 0, b"")])
def test_closed_streams_whose_ends_are_held_are_never_verified_after_a_change(
    world: World, changes: list[Edit]
) -> None:
    _apply(world, changes)
    witness = [world.head, world.streams["other"].reference()]

    verdict = world.verdict(witness=witness)

    assert verdict.status != "verified" or _records(world, world.lines) == _records(world, world.honest)


@given(st.randoms(use_true_random=False))
@settings(MANY, max_examples=20)
def test_reordering_and_repeating_lines_changes_nothing(world: World, random: Random) -> None:
    for label, lines in world.honest.items():
        world.lines[label] = random.sample(lines, len(lines)) + random.choices(lines, k=5)

    assert world.verdict().status == "verified"


@MANY
@given(edits)
@example([("clear", "newest", 0, 0, b"")])
@example([("clear", "other", 0, 0, b"")])
@example([("clear", "newest", 0, 0, b""), ("cut", "third", 7, 0, b"")])
@example([("future", "newest", 0, 0, b"")])
def test_without_a_witness_only_whole_streams_that_nobody_names_can_go(world: World, changes: list[Edit]) -> None:
    _apply(world, changes)

    verdict = world.verdict()

    left = {label for label, lines in world.lines.items() if lines}
    whole = _records(world, world.lines) == _records(world, {label: world.honest[label] for label in left})
    shop = left - {"other"}
    unnamed = shop in ({"first", "second", "third", "newest"}, {"first", "second", "third"}, set[str]())
    assert verdict.status != "verified" or (whole and unnamed and bool(left))


@pytest.mark.parametrize("gone", [["newest"], ["other"], ["newest", "other"]])
def test_without_a_witness_streams_that_nobody_names_go_unseen(world: World, gone: list[str]) -> None:
    """A known limit, and all of it."""
    for label in gone:
        world.lines[label] = []

    assert world.verdict().status == "verified"


def test_unsigned_lines_above_a_recovered_end_are_torn_and_not_counted(world: World) -> None:
    """Known, and harmless: they are no records, whoever wrote them."""
    before = world.verdict()
    extra = world.record("second", 9) | {"seq": 10, "actor": {"id": "mallory", "type": "user"}}
    world.lines["second"].append(encode(extra))

    after = world.verdict()

    assert (after.status, after.records, after.adopted) == ("verified", before.records, before.adopted)


def _records(world: World, lines: Mapping[str, Sequence[bytes]]) -> set[bytes]:
    return {line for some in lines.values() for line in some if not _is_torn(world, line)}


def _is_torn(world: World, line: bytes) -> bool:
    try:
        members = json.loads(line)
    except ValueError:
        return False
    is_second = isinstance(members, dict) and members.get("stream") == world.id("second")
    return is_second and "sig" not in members and members.get("seq", 0) > 9


def _apply(world: World, changes: list[Edit]) -> None:
    world.lines = {label: list(lines) for label, lines in world.honest.items()}
    for what, label, at, number, noise in changes:
        lines = world.lines[label]
        if lines:
            lines[:] = _EDITS[what](lines, at % len(lines), number, noise)
    for label, lines in world.lines.items():
        world.lines[label] = [part for line in lines for part in line.split(b"\n")]


def _flip(lines: list[bytes], at: int, number: int, noise: bytes) -> list[bytes]:
    changed = bytearray(lines[at] or b" ")
    changed[number % len(changed)] ^= 1 + number // 1024 % 255
    return [*lines[:at], bytes(changed), *lines[at + 1 :]]


def _splice(lines: list[bytes], at: int, number: int, noise: bytes) -> list[bytes]:
    line = lines[at]
    start = number % (len(line) + 1)
    return [*lines[:at], line[:start] + noise + line[start + number // 4096 % 4 :], *lines[at + 1 :]]


def _member(lines: list[bytes], at: int, number: int, noise: bytes) -> list[bytes]:
    return _rewrite(lines, at, lambda members: _replace(members, number, noise))


def _context(lines: list[bytes], at: int, number: int, noise: bytes) -> list[bytes]:
    return _rewrite(lines, at, lambda members: _replace(members.get("context", members), number, noise))


def _number(lines: list[bytes], at: int, number: int, noise: bytes) -> list[bytes]:
    return _rewrite(lines, at, lambda members: members.update(seq=number % 13))


def _pretend(lines: list[bytes], at: int, number: int, noise: bytes) -> list[bytes]:
    return _rewrite(lines, at, lambda members: members.update(schema=f"otel-audit/{number % 3}"))


def _future(lines: list[bytes], at: int, number: int, noise: bytes) -> list[bytes]:
    """From record *at* on, everything happens in 2099."""
    for later in range(at, len(lines)):
        lines = _rewrite(lines, later, lambda members: members.update(observed="2099-01-01T00:00:00.000000000Z"))
    return lines


def _rewrite(lines: list[bytes], at: int, change: Any) -> list[bytes]:
    try:
        members = json.loads(lines[at])
    except ValueError:
        return lines
    if not isinstance(members, dict):
        return lines
    change(members)
    return [*lines[:at], encode(members), *lines[at + 1 :]]


def _replace(holder: Any, number: int, noise: bytes) -> None:
    if not isinstance(holder, dict) or not holder:
        return
    name = sorted(holder)[number % len(holder)]
    values: list[Any] = [noise.decode("latin-1"), number, True, None, [], {}, 0, "0" * 32, holder[name]]
    if number % 11 > 8:
        del holder[name]
    else:
        holder[name] = values[number % 11]


_EDITS: dict[str, Any] = {
    "flip": _flip,
    "drop": lambda lines, at, number, noise: lines[:at] + lines[at + 1 :],
    "insert": lambda lines, at, number, noise: [*lines[:at], noise, *lines[at:]],
    "append": lambda lines, at, number, noise: [*lines, lines[at].replace(b"READ", b"LIST")],
    "cut": lambda lines, at, number, noise: lines[:at],
    "behead": lambda lines, at, number, noise: lines[at:],
    "clear": lambda lines, at, number, noise: [],
    "splice": _splice,
    "member": _member,
    "context": _context,
    "number": _number,
    "pretend": _pretend,
    "future": _future,
}
