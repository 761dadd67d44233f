"""Windows: a period is asked about, and what lies outside of it is not judged."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.archives import Archive, MemoryLane, MemorySource
from tests.unit.verify import findings


@pytest.fixture
def hours(archive: Archive) -> list[datetime]:
    """One stream with five sealed hours (open; then event, event, seal each); returns when each began."""
    stream = archive.stream(heartbeat_interval_ms=300_000)
    began: list[datetime] = []
    for _ in range(5):
        archive.clock.advance(600)
        began.append(archive.clock.moment)
        stream.events(2)
        stream.seal()
    stream.close()
    return began


def test_what_lies_before_and_after_the_window_is_not_judged(archive: Archive, hours: list[datetime]) -> None:
    stream = archive.streams[0]
    stream.replace(2, outcome="failure")
    stream.replace(14, outcome="failure")
    assert archive.verify().status == "tampered"

    verdict = archive.verify(since=hours[2], until=hours[3])

    assert findings.everything(verdict) == []
    assert (verdict.status, verdict.scope) == ("verified", "window")
    # Record 1, the seal at 7, the hour's 8, 9, 10, and on to the first signed one after it, at 13.
    assert verdict.records == 1 + 7


@pytest.mark.parametrize("seq", [7, 8, 10, 12])
def test_a_changed_record_of_the_run_is_found(archive: Archive, hours: list[datetime], seq: int) -> None:
    archive.streams[0].replace(seq, outcome="failure" if seq in (8, 12) else "unknown")

    assert archive.verify(since=hours[2], until=hours[3]).status == "tampered"


def test_a_run_without_its_first_signed_record_is_missing_some(archive: Archive, hours: list[datetime]) -> None:
    """A source gave record 1 and a run that begins inside the period: what it began with is gone."""
    stream = archive.streams[0]
    stream.records = [stream.body(1), *(stream.body(seq) for seq in range(9, 14))]
    assert findings.of(archive.verify(since=hours[2], until=hours[3]), stream) == [("missing", 2)]


def test_a_source_may_give_the_run_alone(archive: Archive, hours: list[datetime]) -> None:
    stream = archive.streams[0]
    stream.records = [stream.body(1), *(stream.body(seq) for seq in range(7, 14))]

    assert archive.verify(since=hours[2], until=hours[3]).status == "verified"
    stream.records = stream.records[1:]
    assert findings.of(archive.verify(since=hours[2], until=hours[3]), stream) == [("missing", 1)]


def test_a_stream_that_ended_before_is_left_out(shop: Archive) -> None:
    since = shop.clock.moment + timedelta(seconds=1)
    shop.clock.advance(10)
    shop.streams[2].event()
    shop.streams[2].seal()
    shop.streams[0].replace(4, outcome="failure")

    verdict = shop.verify(since=since)

    assert verdict.status == "verified"
    assert [s.stream for s in verdict.streams] == [shop.streams[2].id]


def test_the_recovery_of_a_stream_counts_wherever_it_is(archive: Archive) -> None:
    stream = archive.stream()
    stream.events(2)
    until = archive.clock.moment + timedelta(seconds=1)
    archive.clock.advance(20)
    keeper = archive.stream()
    keeper.events(3)
    keeper.seal()
    keeper.recover(stream)

    verdict = archive.verify(until=until, now=archive.clock.moment + timedelta(hours=1))

    assert findings.of(verdict, stream) == []
    assert verdict.adopted == 2


def test_copies_out_of_order_get_a_verdict_for_a_period(archive: Archive) -> None:
    """A period is read no further than its run: that the second lane is in no order shows once the first is."""
    stream = archive.stream()
    stream.policy()
    stream.policy()
    stream.close()
    one, two, three, four = stream.records
    copies = [
        MemorySource(given=[MemoryLane("a", None, [two, one])], name="a"),
        MemorySource(given=[MemoryLane("b", None, [one, four, three])], name="b"),
    ]

    verdict = archive.verify(*copies[1:], source=copies[0], until=archive.clock.moment - timedelta(hours=1))

    assert verdict.status == "verified"
    assert archive.verify(*copies[1:], source=copies[0]).status == "verified"


def test_the_moment_at_which_a_period_ends_is_not_of_it(archive: Archive) -> None:
    """Signed then, a record ends the run; behind that, one of the same moment is not asked about."""
    stream = archive.stream(heartbeat_interval_ms=300_000)
    stream.event()
    stream.seal()
    until = archive.clock.moment
    for _ in range(2):
        archive.clock.now -= 1_000_000  # each record takes a millisecond
        stream.event()
    stream.seal()
    assert stream.members(3)["observed"] == stream.members(5)["observed"]
    stream.replace(5, outcome="failure")
    assert findings.of(archive.verify(), stream)[0] == ("altered", 5)

    assert findings.everything(archive.verify(until=until)) == []


def test_a_run_may_begin_with_record_2(archive: Archive) -> None:
    """Of that, chain and signature count; what it says that it lacks lies before the period."""
    stream = archive.stream(heartbeat_interval_ms=300_000)
    stream.gap()
    archive.clock.advance(60)
    since = archive.clock.moment
    stream.seal()
    assert findings.of(archive.verify(), stream) == [("declared-gap", 2)]

    assert findings.of(archive.verify(since=since), stream) == []
