"""The property behind all attacks: whatever is done to closed streams is seen.

What "seen" can mean depends on who holds the ends. Where every end is named by a later stream or held by a
witness, no archive with another set of lines is `verified`. Without a witness, the newest end of a service
is named by nobody: whole streams can then be taken away from the young end, as long as nothing that is
left names them, and the rest is `verified` with another `unpinned` end. Nothing else can be done unseen.

Bytes after the last line feed of a file are no record, nor are unsigned lines above the record at which a
recovery ended a stream (`second`, at 9); the archive is the set of its other lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.attacks.edits import EDITS, Edit, apply, read
from tests.attacks.world import World
from tests.vectors.stream import encode

LABELS = ("first", "second", "third", "newest", "other")
MANY = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

edits = st.lists(
    st.builds(
        Edit,
        what=st.sampled_from(sorted(EDITS)),
        label=st.sampled_from(LABELS),
        at=st.integers(0, 10),
        number=st.integers(0, 2**20),
        noise=st.binary(max_size=8),
    ),
    min_size=1,
    max_size=4,
)


@MANY
@given(edits)
@example([Edit("clear", "newest", 0)])
@example([Edit("clear", "newest", 0), Edit("clear", "third", 0)])
@example([Edit("future", "newest", 0)])
def test_closed_streams_whose_ends_are_held_are_never_verified_after_a_change(
    world: World, changes: list[Edit]
) -> None:
    _apply(world, changes)
    witness = [world.head, world.streams["other"].reference()]

    verdict = world.verdict(witness=witness)

    assert verdict.status != "verified" or _records(world, world.lines) == _records(world, world.honest)


@MANY
@given(edits)
@example([Edit("clear", "newest", 0)])
def test_asked_about_one_service_its_changed_streams_are_never_verified(world: World, changes: list[Edit]) -> None:
    """No edit takes a stream out of the service that is asked about."""
    _apply(world, changes)
    shop = {label: lines for label, lines in world.lines.items() if label != "other"}
    honest = {label: lines for label, lines in world.honest.items() if label != "other"}

    verdict = world.verdict(witness=[world.head], service="shop")

    assert verdict.status != "verified" or _records(world, shop) == _records(world, honest)


@given(st.randoms(use_true_random=False))
@settings(MANY, max_examples=20)
def test_reordering_and_repeating_lines_changes_nothing(world: World, random: Random) -> None:
    for label, lines in world.honest.items():
        world.lines[label] = random.sample(lines, len(lines)) + random.choices(lines, k=5)

    assert world.verdict().status == "verified"


@MANY
@given(edits)
@example([Edit("clear", "newest", 0)])
@example([Edit("clear", "other", 0)])
@example([Edit("clear", "newest", 0), Edit("cut", "third", 7)])
@example([Edit("future", "newest", 0)])
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
    members = read(line) or {}
    seq = members.get("seq")
    is_above = members.get("stream") == world.id("second") and isinstance(seq, int) and seq > 9
    return is_above and "sig" not in members


def _apply(world: World, changes: list[Edit]) -> None:
    world.lines = {label: list(lines) for label, lines in world.honest.items()}
    for edit in changes:
        world.lines[edit.label] = apply(world.lines[edit.label], edit)
