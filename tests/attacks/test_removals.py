"""Attacks that take away: records, ends, streams; and what can be said of those that leave no trace."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.attacks.world import World, kinds, stream
from tests.vectors.stream import SECOND, T0, encode


@pytest.mark.parametrize("seq", range(1, 11))
def test_a_removed_record_is_missing(world: World, seq: int) -> None:
    world.drop("first", seq)

    assert world.finding("first") == ("missing", seq)


def test_a_removed_range_is_missing_from_its_first_record(world: World) -> None:
    world.drop("first", 4, 5, 6, 9)

    assert world.finding("first") == ("missing", 4)


def test_a_removed_tail_is_overdue_and_the_streams_that_name_it_say_how_much_is_gone(world: World) -> None:
    world.drop("first", 8, 9, 10, 11)

    verdict = world.verdict()

    assert verdict.status == "tampered"
    assert world.finding("first", verdict) == ("overdue-seal", 7)
    assert ("truncated", 11) in {(one.kind, one.seq) for one in verdict.findings}


def test_a_tail_removed_before_its_promise_falls_due_is_truncated(world: World) -> None:
    world.drop("first", 8, 9, 10, 11)

    verdict = world.verdict(now=T0 + 60 * SECOND)

    assert world.finding("first", verdict) == ("truncated", 11)


def test_the_newest_streams_removed_tail_falls_due(world: World) -> None:
    """Nobody names the newest stream: what shows is its promise."""
    world.drop("newest", 8, 9, 10, 11)

    verdict = world.verdict()

    assert verdict.status == "incomplete"
    assert world.finding("newest", verdict) == ("overdue-seal", 7)


def test_the_newest_streams_removed_tail_shows_at_once_against_a_witness(world: World) -> None:
    world.drop("newest", 8, 9, 10, 11)

    verdict = world.verdict(witness=[world.head], now=T0 + 60 * SECOND)

    assert world.finding("newest", verdict) == ("truncated", 11)


def test_removed_adopted_records_are_truncated(world: World) -> None:
    world.drop("second", 9)

    assert world.finding("second") == ("truncated", 9)


@pytest.mark.parametrize("label", ["first", "second", "third"])
def test_a_removed_stream_that_others_name_is_missing(world: World, label: str) -> None:
    world.lines[label] = []

    verdict = world.verdict()

    assert verdict.status == "incomplete"
    assert "missing-stream" in kinds(verdict)


def test_the_newest_stream_removed_leaves_no_trace_but_is_unpinned_before(world: World) -> None:
    """A known limit: what nobody names can be taken away. The verifier says which ends nobody names."""
    before = world.verdict()
    world.lines["newest"] = []

    after = world.verdict()

    assert world.id("newest") in {one.stream for one in before.findings if one.kind == "unpinned"}
    assert after.status == "verified"
    assert world.id("third") in {one.stream for one in after.findings if one.kind == "unpinned"}


def test_the_newest_stream_removed_shows_against_a_witness(world: World) -> None:
    world.lines["newest"] = []

    verdict = world.verdict(witness=[world.head])

    assert verdict.status == "incomplete"
    assert kinds(verdict) == {"missing-stream"}


def test_everything_removed_is_empty_and_not_verified(world: World) -> None:
    world.lines = {label: [] for label in world.lines}

    assert world.verdict().status == "empty"


def test_everything_removed_shows_against_a_witness(world: World) -> None:
    world.lines = {label: [] for label in world.lines}

    assert kinds(world.verdict(witness=[world.head])) == {"missing-stream"}


def test_all_seals_removed_leaves_gaps(world: World) -> None:
    for label in ("first", "third", "newest"):
        world.drop(label, 7)

    assert world.finding("first") == ("missing", 7)
    assert world.finding("newest") == ("missing", 7)


def test_all_seals_removed_and_the_rest_renumbered_is_seen(world: World) -> None:
    world.drop("newest", 7)
    for at in range(7, 11):
        members = json.loads(world.lines["newest"][at - 1])
        world.lines["newest"][at - 1] = encode(members | {"seq": at})

    assert world.verdict().status == "tampered"


def test_the_close_removed_falls_due(world: World) -> None:
    world.drop("newest", 11)

    assert world.finding("newest") == ("overdue-seal", 10)


def test_the_open_removed_is_missing(world: World) -> None:
    world.drop("newest", 1)

    assert world.finding("newest") == ("missing", 1)


def test_yesterdays_copy_put_back_falls_due(world: World) -> None:
    """As the archive stood while `first` was open: everything younger is gone, and the promise broken."""
    yesterday = world.lines["first"][:7]
    world.lines = {label: [] for label in world.lines} | {"first": yesterday}

    verdict = world.verdict()

    assert verdict.status == "incomplete"
    assert world.finding("first", verdict) == ("overdue-seal", 7)


def test_yesterdays_copy_put_back_and_recovered_shows_against_a_witness(world: World) -> None:
    """Without one it is a known limit: who may write for the service can roll its own log back."""
    first, head = world.streams["first"], world.streams["first"].reference()
    after = stream("after", start=first.at + 20 * SECOND, predecessors=[first.reference(7)])
    world.lines = {label: [] for label in world.lines} | {"first": list(first.lines[:7])}
    world.add(after.begin().recover(first, seq=7).close())

    unseen, seen = world.verdict(), world.verdict(witness=[head])

    assert unseen.status == "verified"
    assert world.finding("first", seen) == ("truncated", 11)


def test_a_last_line_without_its_line_feed_is_torn_and_falls_due(world: World) -> None:
    world.write()
    path = world.file("newest")
    path.write_bytes(path.read_bytes()[:-1])

    assert world.finding("newest", world.verdict(write=False)) == ("overdue-seal", 10)


def test_an_end_overwritten_with_zeros_falls_due(world: World) -> None:
    """Zero bytes are unused space; that something stood there shows by the promise."""
    world.write()
    path = world.file("newest")
    kept = b"".join(line + b"\n" for line in world.lines["newest"][:7])
    path.write_bytes(kept.ljust(path.stat().st_size, b"\0"))

    assert world.finding("newest", world.verdict(write=False)) == ("overdue-seal", 7)


def test_zeros_in_the_middle_are_no_unused_space(world: World) -> None:
    world.lines["newest"][4] = bytes(len(world.lines["newest"][4]))

    verdict = world.verdict()

    assert "malformed" in kinds(verdict)
    assert world.finding("newest", verdict) == ("missing", 5)


def test_a_file_under_another_suffix_is_a_removed_stream(world: World) -> None:
    world.write()
    world.file("third").rename(world.file("third").with_suffix(".bak"))

    assert "missing-stream" in kinds(world.verdict(write=False))


def test_a_period_does_not_hide_what_is_missing_in_it(world: World) -> None:
    world.drop("newest", 5)
    noon = datetime.fromtimestamp(T0 // SECOND, UTC)

    verdict = world.verdict(since=noon, until=noon + timedelta(hours=1))

    assert verdict.scope == "window"
    assert world.finding("newest", verdict) == ("missing", 5)


def test_what_lies_before_a_period_is_not_called_missing(world: World) -> None:
    """The honest counterpart: nothing was changed, and nothing is found, whatever the period."""
    noon = datetime.fromtimestamp(T0 // SECOND, UTC)

    for minutes in range(-2, 3):
        start = noon + timedelta(seconds=20 * minutes)
        assert world.verdict(since=start, until=start + timedelta(seconds=10)).status != "tampered"
