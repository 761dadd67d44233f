"""Retention: what is removed, in which order, and how the log says so."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from otel_audit.event import Actor, AuditEvent
from otel_audit.evidence.members import timestamp
from otel_audit.export.quarantine import Quarantine
from otel_audit.pipeline import AuditPipeline
from otel_audit.spool.delivered import Cursor, write_cursor
from otel_audit.spool.ends import End, mark_ended
from otel_audit.spool.layout import place_name
from otel_audit.spool.retention import Retention, retire
from otel_audit.testing import FixedClock

from .conftest import Process, records

EVENT = AuditEvent("item.read", "READ", "success", Actor("alice", "user", "session"))


def run_and_end(process: Process) -> str:
    pipeline = process()
    stream = pipeline.record(EVENT).stream
    pipeline.shutdown(1)
    return stream


def retire_in(pipeline: AuditPipeline, spool: Path, days: int, *, only_delivered: bool = False) -> int:
    retention = Retention(timedelta(days=days), place_name(spool), only_delivered=only_delivered)
    return retire(spool / "shop", pipeline.writer, retention)


def streams(spool: Path) -> set[str]:
    return {path.name for path in (spool / "shop").iterdir()}


def test_what_ended_long_enough_ago_goes_and_the_log_says_so(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    old = run_and_end(process)
    ended = records(spool, old)[-1]["observed"]
    count = len(records(spool, old))
    clock.advance(timedelta(days=31).total_seconds())
    young = run_and_end(process)
    pipeline = process()
    present = pipeline.record(EVENT).stream

    assert retire_in(pipeline, spool, 30) == 1

    assert streams(spool) == {young, present}
    context = records(spool, present)[-1]["context"]
    assert context.pop("audit.policy.digest")
    assert context == {
        "audit.retired.place": place_name(spool),
        "audit.retired.streams": [old],
        "audit.retired.records": count,
        "audit.retired.ended": ended,
        "audit.retired.delivered": False,
    }


def test_living_streams_are_never_removed(process: Process, spool: Path, clock: FixedClock) -> None:
    alive = process()
    stream = alive.record(EVENT).stream
    clock.advance(timedelta(days=400).total_seconds())

    assert retire_in(alive, spool, 30) == 0
    assert stream in streams(spool)


def test_a_stream_that_says_what_was_retired_stays_while_something_names_it(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    """Without it, the stream that names the removed one would name something that nobody can account for."""
    removed = run_and_end(process)
    clock.advance(10)
    saying = process()
    saying.record(EVENT)
    naming = process()
    names = naming.record(EVENT).stream
    clock.advance(timedelta(days=31).total_seconds())
    retire_in(saying, spool, 30)
    assert removed not in streams(spool)
    live = saying.writer.live
    assert live is not None
    says = live.stream.id
    saying.shutdown(1)
    clock.advance(timedelta(days=31).total_seconds())

    last = process()
    last.record(EVENT)
    retire_in(last, spool, 30)
    assert says in streams(spool), "the stream that names the removed one is still open"

    naming.shutdown(1)
    clock.advance(timedelta(days=31).total_seconds())
    retire_in(last, spool, 30)
    assert {says, names}.isdisjoint(streams(spool))


def test_a_removal_that_was_interrupted_is_finished_by_the_next(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    old = run_and_end(process)
    (spool / "shop" / old).rename(spool / "shop" / f"retiring-{old}")
    pipeline = process()
    present = pipeline.record(EVENT).stream

    assert retire_in(pipeline, spool, 30) == 1

    assert streams(spool) == {present}
    assert records(spool, present)[-1]["context"]["audit.retired.streams"] == [old]


def deliver(spool: Path, stream: str, clock: FixedClock, *, upto: int | None = None) -> None:
    """Note that a sink has acknowledged the stream, as the exporter does."""
    seq = len(records(spool, stream)) if upto is None else upto
    at = timestamp(clock.time_unix_nano)
    write_cursor(spool / "shop" / stream, Cursor("000000000001.jsonl", 1, seq, at))


@pytest.mark.parametrize("delivered", [True, False])
def test_the_log_says_whether_what_was_removed_had_been_delivered(
    delivered: bool, process: Process, spool: Path, clock: FixedClock
) -> None:
    ended = run_and_end(process)
    deliver(spool, ended, clock, upto=None if delivered else 1)
    clock.advance(timedelta(days=2).total_seconds())
    pipeline = process()
    present = pipeline.record(EVENT).stream

    retire_in(pipeline, spool, 1)

    assert records(spool, present)[-1]["context"]["audit.retired.delivered"] is delivered


def test_where_somebody_delivers_nothing_goes_before_it_was_delivered(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    ended = run_and_end(process)
    deliver(spool, ended, clock, upto=len(records(spool, ended)) - 1)
    clock.advance(timedelta(days=400).total_seconds())
    pipeline = process()
    pipeline.record(EVENT)

    assert retire_in(pipeline, spool, 1, only_delivered=True) == 0

    deliver(spool, ended, clock)
    clock.advance(timedelta(hours=23).total_seconds())
    assert retire_in(pipeline, spool, 1, only_delivered=True) == 0, "its day begins with its delivery"
    clock.advance(timedelta(hours=2).total_seconds())
    assert retire_in(pipeline, spool, 1, only_delivered=True) == 1
    assert ended not in streams(spool)


def test_a_stream_with_a_record_in_quarantine_stays(process: Process, spool: Path, clock: FixedClock) -> None:
    ended = run_and_end(process)
    deliver(spool, ended, clock)
    quarantine = Quarantine(spool)
    quarantine.put(ended, 3, b"{}")
    clock.advance(timedelta(days=400).total_seconds())
    pipeline = process()
    pipeline.record(EVENT)

    assert retire_in(pipeline, spool, 1, only_delivered=True) == 0

    quarantine.let_out(ended, 3)
    assert retire_in(pipeline, spool, 1, only_delivered=True) == 1


def test_what_ended_later_than_it_is_now_waits(process: Process, spool: Path, clock: FixedClock) -> None:
    """Whoever was killed while removing, and a clock that was set back since: its end lies in the future."""
    ended = run_and_end(process)
    (spool / "shop" / ended).rename(spool / "shop" / f"retiring-{ended}")
    clock.step(-7200)
    pipeline = process()
    present = pipeline.record(EVENT).stream

    assert retire_in(pipeline, spool, 1) == 0
    assert not [record for record in records(spool, present) if record["event"] == "audit.retired"]

    clock.advance(7300)
    assert retire_in(pipeline, spool, 1) == 1


def test_a_clock_that_is_set_a_day_ahead_makes_nothing_old(
    process: Process, spool: Path, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a day old by every other clock; what is removed now would be missing once it is set right again."""
    ended = run_and_end(process)
    pipeline = process()
    pipeline.record(EVENT)
    clock.advance(timedelta(hours=12).total_seconds())
    assert retire_in(pipeline, spool, 1) == 0
    clock.step(timedelta(days=1).total_seconds())

    assert retire_in(pipeline, spool, 1) == 0
    assert retire_in(process(), spool, 1) == 0, "another process sees the note"
    assert "went ahead by 1 day" in caplog.text
    clock.step(-timedelta(days=1).total_seconds())
    assert retire_in(pipeline, spool, 1) == 0
    assert ended in streams(spool)

    clock.advance(timedelta(hours=25).total_seconds())
    assert retire_in(pipeline, spool, 1) == 1


def test_a_machine_that_has_just_started_is_given_an_hour_to_set_its_clock(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    run_and_end(process)
    pipeline = process()
    pipeline.record(EVENT)
    retire_in(pipeline, spool, 1)
    note = spool / "clock"
    note.write_bytes(orjson.dumps({**orjson.loads(note.read_bytes()), "boot": "the one before"}))
    clock.step(timedelta(days=2).total_seconds())

    assert retire_in(pipeline, spool, 1) == 0
    clock.advance(3601)
    assert retire_in(pipeline, spool, 1) == 1


GONE, GONE_TOO = "e" * 32, "f" * 32


Says = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
SAYS: list[tuple[Says, str]] = [
    (({}, {}, {}), ""),
    (({}, {"retired": (GONE,)}, {"names": (GONE,)}), "2"),
    (({"retired": (GONE,)}, {}, {"names": (GONE,)}), "12"),
    (({"retired": (GONE,)}, {"names": (GONE,)}, {}), ""),
    (({"names": (GONE,)}, {"retired": (GONE,)}, {}), ""),
    (({"retired": (GONE,)}, {"names": (GONE,), "retired": (GONE_TOO,)}, {"names": (GONE_TOO,)}), "12"),
    (({"names": (GONE,), "retired": (GONE,)}, {"retired": (GONE_TOO,)}, {"names": (GONE_TOO,)}), "2"),
]
"""What each of three streams says, and which of the first two stay."""


@pytest.mark.parametrize(
    ("says", "kept"),
    SAYS,
    ids=["plain", "later", "earlier", "both", "both, the other way round", "in turn", "its own"],
)
def test_the_earliest_go_as_far_as_none_that_stays_names_what_only_they_say_was_retired(
    says: Says, kept: str, process: Process, spool: Path, clock: FixedClock
) -> None:
    """Of three the third is young. What stays keeps what says that those it names were retired, and so on."""
    pipeline = process()
    present = pipeline.record(EVENT).stream
    for number, days, said in zip((1, 2, 3), (60, 59, 1), says, strict=True):
        stream = str(number) * 32
        directory = spool / "shop" / stream
        directory.mkdir()
        observed = timestamp(clock.time_unix_nano - days * 86_400 * 10**9)
        mark_ended(directory, End("closed", f"{stream}:4:{'0' * 64}", 4, observed, **said))

    removed = retire_in(pipeline, spool, 30)

    assert streams(spool) - {present} == {number * 32 for number in [*kept, "3"]}
    assert removed == 2 - len(kept)
