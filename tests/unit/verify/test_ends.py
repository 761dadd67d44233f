"""Ends of streams: who vouches for them, to the nanosecond, and how findings about several streams are counted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from otel_audit.evidence.rfc3339 import unix_nanos
from otel_audit.verify import Verdict
from tests.archives import Archive, rfc3339
from tests.unit.verify import findings


def _unpinned(verdict: Verdict) -> list[tuple[str | None, int | None, int]]:
    return [(f.stream, f.seq, f.count) for f in verdict.findings if f.kind == "unpinned"]


def test_an_end_is_pinned_by_a_second_copy_or_a_witness_of_it_and_by_nothing_older(shop: Archive) -> None:
    live = shop.streams[2]

    assert _unpinned(shop.verify()) == [(live.id, 9, 1)]
    assert _unpinned(shop.verify(shop.source())) == [(live.id, 9, 1)], "the same source twice is no copy"
    assert _unpinned(shop.verify(shop.source(name="copy"))) == []
    assert _unpinned(shop.verify(witness=[live.reference(9)])) == []
    assert _unpinned(shop.verify(witness=[live.reference(6)])) == [(live.id, 9, 1)]


@pytest.mark.parametrize("torn", [0, 1])
@pytest.mark.parametrize(("late_ns", "found"), [(0, []), (1, [("unwitnessed-end", 4)])])
def test_an_adopted_record_may_be_as_late_as_a_seal_and_five_seconds(
    late_ns: int, found: list[tuple[str, int]], torn: int, archive: Archive
) -> None:
    """Whether something is torn behind it or not."""
    stream = archive.stream()
    stream.events(2)
    stream.seal()
    stream.event()
    first = unix_nanos(stream.members(5)["observed"])
    archive.clock.now = first + 10_000_000_000 + late_ns - 1_000_000  # each record takes a millisecond
    stream.event()
    archive.stream().recover(stream)
    stream.events(torn)

    verdict = archive.verify()

    assert findings.of(verdict, stream) == found
    assert [(f.seq, f.count) for f in verdict.findings if f.kind == "adopted"] == [(5, 2)]


def test_what_was_retired_after_exactly_as_long_as_it_had_to_be_kept_is_not_early(archive: Archive) -> None:
    stream = archive.stream()
    stream.retire([], delivered=False)
    observed = unix_nanos(stream.members(2)["observed"])
    ended = rfc3339(observed - 3_600_000_000_000)
    stream.replace(2, sign=True, context={"audit.retired.ended": ended})

    def found(keep: timedelta) -> list[tuple[str, int | None, int]]:
        verdict = archive.verify(keep=keep)
        return [(f.kind, f.seq, f.count) for f in verdict.findings if f.kind.startswith("retired")]

    assert found(timedelta(hours=1)) == []
    assert found(timedelta(hours=1, microseconds=1)) == [("retired-early", 2, 1)]


def test_false_recoveries_and_references_are_counted_one_by_one(archive: Archive) -> None:
    closed, crashed = archive.stream(), archive.stream()
    closed.close()
    keeper, second = archive.stream(), archive.stream()
    for recovered in (keeper, closed, crashed):
        keeper.recover(recovered)
    crashed.event()
    second.recover(crashed)
    other = archive.stream(service="billing", predecessors=[closed.reference()])

    misplaced = [f for f in archive.verify().findings if f.kind == "misplaced"]

    assert [(f.stream, f.seq, f.count) for f in misplaced] == [
        *((keeper.id, seq, 1) for seq in (2, 3, 4)),
        (second.id, 2, 1),
        (other.id, 1, 1),
    ]


def test_a_missing_stream_is_said_with_the_first_that_names_it_and_how_many_do(archive: Archive) -> None:
    gone = f"{'ab' * 16}:1:{'0' * 64}"
    first = archive.stream(predecessors=[gone])
    first.linked([gone])
    archive.stream(predecessors=[gone])

    (missing,) = [f for f in archive.verify().findings if f.kind == "missing-stream"]

    assert (missing.stream, missing.seq, missing.count) == ("ab" * 16, None, 3)
    assert missing.message in {
        f"named by record 1 of stream {stream.id}, and no source holds it" for stream in archive.streams
    }


@pytest.mark.parametrize(("later_ms", "streams"), [(0, 2), (1, 1)])
def test_a_stream_that_was_recovered_in_the_first_moment_of_a_period_had_not_ended_before_it(
    later_ms: int, streams: int, archive: Archive
) -> None:
    crashed = archive.stream()
    crashed.event()
    archive.clock.advance(10)
    keeper = archive.stream(heartbeat_interval_ms=300_000)
    keeper.recover(crashed)
    since = archive.clock.moment + timedelta(milliseconds=later_ms)
    archive.clock.advance(10)
    keeper.seal()

    assert len(archive.verify(since=since).streams) == streams


def test_a_period_is_not_told_of_a_reference_to_the_second_record_before_it(archive: Archive) -> None:
    stream = archive.stream(heartbeat_interval_ms=300_000)
    stream.policy()
    stream.seal()
    archive.clock.advance(60)
    since = archive.clock.moment
    stream.seal()
    false = f"{stream.id}:2:{'0' * 64}"
    assert findings.of(archive.verify(witness=[false]), stream) == [("altered", 2)]

    assert findings.of(archive.verify(witness=[false], since=since), stream) == []
    first = f"{stream.id}:1:{'0' * 64}"
    assert findings.of(archive.verify(witness=[first], since=since), stream) == [("altered", 1)]


def test_who_names_a_record_before_it_was_observed_has_another_clock(archive: Archive) -> None:
    stream = archive.stream()
    stream.seal()
    archive.clock.advance(-30)
    archive.stream(predecessors=[stream.reference()])
    archive.clock.advance(60)

    verdict = archive.verify()

    assert verdict.status == "verified"
    assert [(f.seq, f.severity, f.count) for f in verdict.findings if f.kind == "clock-skew"] == [(2, "warning", 1)]


def test_what_is_retired_behind_a_period_is_not_judged_in_it(archive: Archive) -> None:
    stream = archive.stream(heartbeat_interval_ms=300_000)
    stream.seal()
    until = archive.clock.moment + timedelta(seconds=1)
    archive.clock.advance(60)
    stream.seal()
    stream.retire([], delivered=False)
    assert findings.of(archive.verify(), stream) == [("retired", 4)]

    assert findings.of(archive.verify(until=until), stream) == []
