"""Periods at their edges: what belongs to a run where clocks, copies and retirements are in the way.

The second verifier found these; see `tests/second_verifier/README.md`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.archives import Archive, MemoryLane, MemorySource, canonical, record_hash
from tests.unit.verify import findings


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.fixture
def hours(archive: Archive) -> list[datetime]:
    stream = archive.stream(heartbeat_interval_ms=300_000)
    began: list[datetime] = []
    for _ in range(5):
        archive.clock.advance(600)
        began.append(archive.clock.moment)
        stream.events(2)
        stream.seal()
    stream.close()
    return began


def test_a_record_of_the_period_is_judged_though_the_clock_stepped_back_behind_it(archive: Archive) -> None:
    """a signed record after the step, observed before the period, became the run's beginning."""
    stream = archive.stream(heartbeat_interval_ms=300_000)
    start = archive.clock.moment
    for _ in range(6):
        archive.clock.advance(60)
        stream.event()
        stream.seal()
    archive.clock.advance(-300)
    for _ in range(3):
        archive.clock.advance(60)
        stream.event()
        stream.seal()
    stream.close()
    stream.replace(10, outcome="failure")  # observed five minutes after *start*

    verdict = archive.verify(since=start + timedelta(minutes=4.5), until=start + timedelta(minutes=6.5))

    assert findings.of(verdict, stream)[:1] == [("altered", 10)]


def test_a_record_of_the_period_is_judged_though_it_lies_behind_a_later_one(archive: Archive) -> None:
    """The clock has stepped back into the period after a signed record that was observed behind it."""
    stream = archive.stream(heartbeat_interval_ms=300_000)
    start = archive.clock.moment
    for _ in range(6):
        archive.clock.advance(60)
        stream.event()
        stream.seal()
    archive.clock.advance(-300)
    for _ in range(3):
        archive.clock.advance(60)
        stream.event()
        stream.seal()
    stream.close()
    period = (start + timedelta(minutes=1.5), start + timedelta(minutes=3.5))
    honest = archive.verify(since=period[0], until=period[1])
    stream.replace(16, outcome="failure")  # observed three minutes after *start*

    verdict = archive.verify(since=period[0], until=period[1])

    assert honest.status == "verified"
    assert findings.of(verdict, stream)[:1] == [("altered", 16)]


def test_a_record_of_the_period_behind_an_earlier_close_is_misplaced(archive: Archive) -> None:
    """Nor is such a stream held to the promises of what stands behind its close."""
    stream = archive.stream(heartbeat_interval_ms=300_000)
    stream.event()
    stream.close()
    archive.clock.advance(60)
    stream.event()
    stream.seal()
    archive.clock.advance(60)
    since = archive.clock.moment
    stream.event()
    stream.seal()
    late = since + timedelta(hours=1)
    assert findings.of(archive.verify(now=late), stream) == [("misplaced", seq) for seq in (4, 5, 6, 7)]

    assert findings.of(archive.verify(since=since, now=late), stream) == [("misplaced", seq) for seq in (6, 7)]


def test_a_stream_that_wrote_on_after_a_step_back_had_not_ended_before_the_period(archive: Archive) -> None:
    """Its close was observed before the period, and another record of it after that: a source returns it."""
    stream = archive.stream(heartbeat_interval_ms=300_000)
    stream.event()
    stream.seal()
    archive.clock.advance(600)
    stream.event()
    stream.seal()
    late = archive.clock.moment
    archive.clock.advance(-500)
    stream.close()

    verdict = archive.verify(since=late - timedelta(seconds=60), until=late - timedelta(seconds=30))

    assert verdict.status == "verified"
    assert [one.stream for one in verdict.streams] == [stream.id]


def test_what_the_first_record_of_a_run_says_of_another_stream_is_followed(archive: Archive) -> None:
    other = archive.stream()
    other.event()
    other.seal()
    stream = archive.stream(heartbeat_interval_ms=300_000)
    archive.clock.advance(60)
    stream.linked([other.reference()])
    archive.clock.advance(60)
    since = archive.clock.moment
    stream.event()
    stream.seal()
    other.replace(3, sign=True, time="2020-01-01T00:00:00.000000000Z")
    whole = findings.of(archive.verify(), other)
    assert ("altered", 3) in whole

    assert ("altered", 3) in findings.of(archive.verify(since=since), other)


def test_a_period_before_a_retirement_is_not_incomplete(archive: Archive) -> None:
    """the retirement lies behind the run; an `audit.retired` counts wherever it is, as a recovery does."""
    gone = archive.stream()
    gone.event()
    gone.close()
    keeper = archive.stream(predecessors=[gone.reference()], heartbeat_interval_ms=300_000)
    keeper.event()
    keeper.seal()
    until = archive.clock.moment + timedelta(seconds=1)
    archive.clock.advance(60)
    keeper.event()
    keeper.seal()
    archive.streams.remove(gone)
    archive.clock.advance(60)
    keeper.retire([gone], delivered=True)
    keeper.close()
    assert archive.verify().status == "verified"

    assert findings.everything(archive.verify(until=until)) == []


def test_a_second_record_at_the_end_of_a_run_is_a_fork(archive: Archive, hours: list[datetime]) -> None:
    """the run ended at the first of two."""
    stream = archive.streams[0]
    twin = stream.signed({**stream.members(13), "outcome": "success", "time": "2020-01-01T00:00:00.000000000Z"})
    stream.records.insert(13, twin)
    assert findings.of(archive.verify(), stream)[0][0] == "forked"

    assert ("forked", 13) in findings.of(archive.verify(since=hours[2], until=hours[3]), stream)


def test_an_index_outside_the_run_is_not_judged(archive: Archive, hours: list[datetime]) -> None:
    """a source that windows would not have handed it over."""
    stream = archive.streams[0]
    lane = archive.source().given[0]
    beside: list[dict[str, object] | None] = [None] * len(lane.bodies)
    beside[14] = {"audit.action": "DELETE"}
    source = MemorySource(given=[MemoryLane(lane.name, lane.stream, lane.bodies, attributes=beside)])

    assert findings.of(archive.verify(source=source, since=hours[2], until=hours[3]), stream) == []


def test_the_chain_is_checked_between_record_1_and_a_run_that_begins_at_2(archive: Archive) -> None:
    stream = archive.stream(heartbeat_interval_ms=300_000)
    stream.policy()
    archive.clock.advance(60)
    since = archive.clock.moment
    stream.event()
    stream.seal()
    stream.close()
    stream.replace(1, sign=True, context={"host.name": "another"})
    assert ("altered", 1) in findings.of(archive.verify(), stream)

    assert ("altered", 1) in findings.of(archive.verify(since=since), stream)


def test_two_copies_out_of_order_get_a_verdict_for_a_period(archive: Archive) -> None:
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


def test_a_fork_at_the_end_of_a_run_is_said_though_something_was_retired_behind_it(archive: Archive) -> None:
    stream = archive.stream(heartbeat_interval_ms=300_000)
    stream.seal()
    until = archive.clock.moment + timedelta(seconds=1)
    archive.clock.advance(60)
    stream.seal()
    stream.retire([], delivered=True)
    stream.event(seq=3, prev=record_hash(stream.body(2)))
    stream.records.insert(3, stream.records.pop())

    assert findings.of(archive.verify(until=until), stream) == [("forked", 3)]


def test_a_run_that_begins_at_the_open_counts_it_once(archive: Archive) -> None:
    stream = archive.stream(heartbeat_interval_ms=300_000)
    archive.clock.advance(60)
    since = archive.clock.moment
    stream.event()
    stream.seal()

    verdict = archive.verify(since=since)

    assert (verdict.records, verdict.pending) == (3, 0)


def test_who_is_named_by_an_open_before_the_run_is_held_to_it(archive: Archive) -> None:
    """What an open says is read for every period: an altered record that it names shows."""
    other = archive.stream(heartbeat_interval_ms=300_000)
    other.event()
    other.seal()
    stream = archive.stream(predecessors=[other.reference()], heartbeat_interval_ms=300_000)
    for _ in range(3):
        archive.clock.advance(60)
        stream.seal()
    since = archive.clock.moment
    other.replace(3, sign=True, time="2020-01-01T00:00:00.000000000Z")
    stream.seal()

    assert ("altered", 3) in findings.of(archive.verify(since=since), other)


def test_what_is_pending_is_counted_from_the_run_on(archive: Archive, hours: list[datetime]) -> None:
    """Asked at the second hour about the fourth: what lies between them is not of the run."""
    whole = archive.verify(now=hours[1])
    assert whole.pending == 13

    verdict = archive.verify(now=hours[1], since=hours[3])

    # Record 1, the seal at 10 with which the run begins, and on to the close at 17
    assert (verdict.records, verdict.pending) == (9, 7)


def test_a_stream_that_was_recovered_before_the_period_is_left_out(archive: Archive) -> None:
    """Its recovery lies before the run of who recovered it, and counts all the same."""
    crashed = archive.stream()
    crashed.event()
    keeper = archive.stream(heartbeat_interval_ms=300_000)
    keeper.recover(crashed)
    keeper.seal()
    archive.clock.advance(300)
    keeper.seal()
    archive.clock.advance(60)
    since = archive.clock.moment
    keeper.seal()

    verdict = archive.verify(since=since)

    assert (verdict.status, [one.stream for one in verdict.streams]) == ("verified", [keeper.id])


def test_what_is_wrong_with_the_open_is_said_of_every_period(archive: Archive, hours: list[datetime]) -> None:
    archive.streams[0].replace(1, sign=True, context={"audit.seal.interval_ms": 300_001})

    assert ("misplaced", 1) in findings.of(archive.verify(since=hours[3]), archive.streams[0])


def test_a_stream_that_steps_back_over_a_period_is_held_to_its_last_promise(archive: Archive) -> None:
    """Whoever cut it off behind its last record would have taken records of the period."""
    stream = archive.stream(heartbeat_interval_ms=60_000)
    start = archive.clock.moment
    archive.clock.advance(600)
    stream.event()
    stream.seal()
    archive.clock.advance(-580)
    stream.seal()
    now = start + timedelta(hours=1)
    assert ("overdue-seal", 4) in findings.of(archive.verify(now=now), stream)

    verdict = archive.verify(now=now, since=start + timedelta(seconds=60), until=start + timedelta(seconds=90))

    assert findings.of(verdict, stream) == [("overdue-seal", 4)]


@pytest.mark.parametrize("is_behind", [False, True])
def test_what_is_named_from_outside_of_a_run_must_be_that_record_all_the_same(
    archive: Archive, is_behind: bool
) -> None:
    other = archive.stream(heartbeat_interval_ms=300_000)
    stream = archive.stream(heartbeat_interval_ms=300_000)
    other.event()
    other.seal()
    period = (archive.clock.moment + timedelta(seconds=90), archive.clock.moment + timedelta(seconds=150))
    for is_named in (not is_behind, False, False, is_behind):
        archive.clock.advance(60)
        stream.linked([other.reference(3)] if is_named else [])
        stream.event()
        stream.seal()
    honest = archive.verify(since=period[0], until=period[1])
    other.replace(3, sign=True, time="2020-01-01T00:00:00.000000000Z")

    verdict = archive.verify(since=period[0], until=period[1])

    assert findings.of(honest, other) == []
    assert findings.of(verdict, other)[:1] == [("altered", 3)]


def test_what_is_absent_is_missing_only_where_the_run_names_it(archive: Archive) -> None:
    gone, stream = archive.stream(), archive.stream(heartbeat_interval_ms=300_000)
    period = (archive.clock.moment + timedelta(seconds=90), archive.clock.moment + timedelta(seconds=150))
    for is_named in (True, False, False, True):
        archive.clock.advance(60)
        stream.linked([gone.reference(1)] if is_named else [])
        stream.event()
        stream.seal()
    stream.close()
    archive.streams.remove(gone)
    assert findings.everything(archive.verify()) == [("missing-stream", gone.id, None)]

    assert findings.everything(archive.verify(since=period[0], until=period[1])) == []


def test_of_two_records_with_which_a_run_begins_neither_is_chained_to_what_lies_before(
    archive: Archive, hours: list[datetime]
) -> None:
    stream = archive.streams[0]
    twin = stream.signed({**stream.members(7), "prev": "0" * 64})
    stream.records.insert(7, twin)
    assert ("altered", 6) in findings.of(archive.verify(), stream)

    kinds = findings.of(archive.verify(since=hours[2]), stream)

    assert kinds[0] == ("forked", 7)
    assert ("altered", 6) not in kinds


def test_a_run_may_begin_with_the_second_of_two_records(archive: Archive, hours: list[datetime]) -> None:
    """The first of them is badly signed; what lies before is not judged for that."""
    stream = archive.streams[0]
    bad = canonical({**stream.members(7), "sig": stream.members(4)["sig"]})
    stream.records.insert(6, bad)
    stream.replace(5, outcome="failure")
    whole = findings.of(archive.verify(), stream)
    assert ("altered", 5) in whole

    kinds = findings.of(archive.verify(since=hours[2]), stream)

    assert ("forked", 7) in kinds
    assert ("altered", 5) not in kinds


def test_the_recovery_of_what_was_closed_before_the_period_is_misplaced(archive: Archive) -> None:
    """Its run begins behind the close, with a record that should not be there."""
    stream = archive.stream()
    stream.event()
    stream.close()
    stream.seal()
    keeper = archive.stream(heartbeat_interval_ms=300_000)
    archive.clock.advance(60)
    since = archive.clock.moment
    keeper.recover(stream)

    assert findings.of(archive.verify(since=since), keeper) == [("misplaced", 2)]
