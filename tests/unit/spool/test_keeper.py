"""The keeper's round: what it does when, and what it leaves when a process ends."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from otel_audit.event import Actor, AuditEvent
from otel_audit.pipeline import AuditPipeline
from otel_audit.spool.ends import End, read_end
from otel_audit.spool.keeper import MAX_RESTORES
from otel_audit.spool.live import LiveStream
from otel_audit.spool.ownership import is_held
from otel_audit.testing import FixedClock
from tests.crashed import crash

from .conftest import Process, records

EVENT = AuditEvent("item.read", "READ", "success", Actor("alice", "user", "session"))


def present(pipeline: AuditPipeline) -> LiveStream:
    live = pipeline.writer.live
    assert live is not None
    return live


def begun(process: Process, **environment: str) -> AuditPipeline:
    """A process whose stream is open, and whose keeper has been round once."""
    pipeline = process(**environment)
    pipeline.record(EVENT)
    pipeline.keeper.tick()
    return pipeline


def crashed(process: Process, spool: Path) -> Path:
    pipeline = process()
    pipeline.record(EVENT)
    return spool / "shop" / crash(pipeline)


def ended(process: Process, spool: Path) -> Path:
    pipeline = process()
    stream = pipeline.record(EVENT).stream
    pipeline.shutdown(1)
    return spool / "shop" / stream


def test_the_stream_of_a_dead_process_is_ended_within_half_a_minute(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    pipeline = begun(process)
    dead = crashed(process, spool)

    clock.advance(29.999)
    pipeline.keeper.tick()
    assert read_end(dead) is None, "to look for it costs a walk through the service's streams"

    clock.advance(0.001)
    pipeline.keeper.tick()
    assert read_end(dead) is not None


def test_the_first_round_ends_what_an_earlier_process_left_open(process: Process, spool: Path) -> None:
    dead = crashed(process, spool)

    begun(process)

    assert read_end(dead) is not None


def test_a_stream_that_this_process_gave_up_is_ended_in_the_next_round(process: Process, spool: Path) -> None:
    pipeline = begun(process)
    broken = present(pipeline)
    pipeline.writer.give_up(broken, OSError(5, "Input/output error"))

    pipeline.keeper.tick()

    assert read_end(spool / "shop" / broken.stream.id) is not None
    assert not pipeline.writer.has_given_up


def test_what_is_old_enough_is_removed_every_ten_minutes(process: Process, spool: Path, clock: FixedClock) -> None:
    old = ended(process, spool)
    clock.advance(timedelta(hours=24, minutes=-5).total_seconds())
    pipeline = begun(process, OTEL_AUDIT_LOCAL_RETENTION="24h")

    clock.advance(599)
    pipeline.keeper.tick()
    assert old.exists(), "old enough for five minutes"

    clock.advance(1)
    pipeline.keeper.tick()
    assert not old.exists()


def test_without_a_retention_nothing_is_removed(process: Process, spool: Path, clock: FixedClock) -> None:
    old = ended(process, spool)
    clock.advance(timedelta(days=1000).total_seconds())

    begun(process)

    assert old.exists()


def test_whoever_delivers_is_told_when_what_is_sealed_is_on_disk(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    pipeline = begun(process)
    told: list[tuple[int, int]] = []
    live = present(pipeline)
    pipeline.keeper.on_synced = lambda: told.append((live.stream.signed_seq, live.synced_seq))
    pipeline.record(EVENT)
    clock.advance(5)

    pipeline.keeper.tick()

    assert told == [(live.stream.seq, live.stream.seq)]
    assert records(spool, live.stream.id)[-1]["event"] == "audit.seal"


def test_an_end_counts_as_named_once_that_is_on_disk(process: Process, spool: Path) -> None:
    named = ended(process, spool) / "named"
    unsynced = begun(process, OTEL_AUDIT_FSYNC="never")
    assert present(unsynced).synced_seq == 0
    assert not named.exists(), "a power cut may take the record that names it"

    begun(process)

    assert named.exists()


def test_a_stream_that_was_replaced_is_released_noted_and_named(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    pipeline = begun(process)
    before = present(pipeline)
    clock.advance(timedelta(hours=24).total_seconds())

    pipeline.keeper.tick()

    directory = spool / "shop" / before.stream.id
    after = present(pipeline).stream.id
    close = records(spool, before.stream.id)[-1]
    assert read_end(directory) == End("closed", before.stream.reference, close["seq"], close["observed"], (after,))
    assert not is_held(directory)
    named = [
        record["context"]["audit.predecessors"]
        for record in records(spool, after)
        if record["event"] == "audit.stream.linked"
    ]
    assert named == [[before.stream.reference]]
    pipeline.keeper.tick()
    assert (directory / "named").exists()


def test_a_stream_whose_end_cannot_be_noted_is_left_to_be_recovered(process: Process, spool: Path) -> None:
    pipeline = begun(process)
    stream = present(pipeline).stream.id
    (spool / "shop" / stream / "ended").mkdir()

    pipeline.shutdown(1)

    assert not is_held(spool / "shop" / stream)
    (spool / "shop" / stream / "ended").rmdir()
    (end,) = process().keeper.recover()
    assert (end.how, end.reference.split(":")[0]) == ("closed", stream)


def test_records_that_cannot_be_put_back_are_given_up_after_five_attempts(
    process: Process, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then the open file is all that holds them."""
    pipeline = begun(process)
    told: list[bool] = []
    pipeline.keeper.on_put_back = lambda: told.append(True)
    live = present(pipeline)
    away = (spool / "shop").rename(spool / "away")
    (spool / "shop").touch()

    for _ in range(MAX_RESTORES - 1):
        pipeline.keeper.tick()
    assert pipeline.writer.live is live
    assert told == []
    (spool / "shop").unlink()
    pipeline.keeper.tick()
    assert told == [True]
    assert (spool / "shop" / live.stream.id / "000000000001.jsonl").exists()
    assert "were removed under us; put back" in caplog.text
    assert "the removed records were put back" in caplog.text

    for path in (spool / "shop" / live.stream.id).iterdir():
        path.unlink()
    (spool / "shop" / live.stream.id).rmdir()
    (spool / "shop").rmdir()
    (spool / "shop").touch()
    for _ in range(MAX_RESTORES - 1):
        pipeline.keeper.tick()
    assert pipeline.writer.live is live, "what went well in between is not held against it"
    pipeline.keeper.tick()

    assert pipeline.writer.live is None
    assert live.is_broken
    assert away.exists()


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "otel-audit-keeper"]


@pytest.fixture
def threaded(process: Process) -> AuditPipeline:
    pipeline = process()
    pipeline.writer.on_work = pipeline.keeper.wake
    return pipeline


def test_a_process_has_one_keeper_from_its_first_event_to_its_end(threaded: AuditPipeline) -> None:
    starts: list[int] = []
    threaded.keeper.on_start = lambda: starts.append(len(running()))
    assert running() == []

    for _ in range(3):
        threaded.record(EVENT)
        threaded.keeper.wake()
    assert len(running()) == 1
    assert running()[0].daemon
    threaded.keeper.stop(60)

    threaded.keeper.wake()
    threaded.record(EVENT)
    assert (running(), starts) == ([], [1])


def test_the_keeper_goes_round_by_itself_as_often_as_a_seal_falls_due(process: Process) -> None:
    """Nobody wakes it but the first event; this clock stands still, so that the seal stays due."""
    pipeline = process(OTEL_AUDIT_SEAL_INTERVAL="100ms")
    rounds = threading.Semaphore(0)
    pipeline.keeper.on_synced = rounds.release
    pipeline.writer.on_work = pipeline.keeper.wake
    pipeline.record(EVENT)

    assert all(rounds.acquire(timeout=60) for _ in range(6))
    pipeline.keeper.stop(60)


def test_a_process_that_lives_for_a_moment_ends_what_an_earlier_one_left_open(
    threaded: AuditPipeline, process: Process, spool: Path
) -> None:
    dead = crashed(process, spool)

    threaded.record(EVENT)
    threaded.shutdown(60)

    assert read_end(dead) is not None


def test_a_fault_of_our_own_is_said_without_values_and_does_not_end_the_sealing(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = process(OTEL_AUDIT_SEAL_INTERVAL="100ms")
    rounds = threading.Semaphore(0)
    faults = [TypeError("planted value")]

    def on_synced() -> None:
        rounds.release()
        if faults:
            raise faults.pop()

    pipeline.keeper.on_synced = on_synced
    pipeline.writer.on_work = pipeline.keeper.wake
    pipeline.record(EVENT)

    assert all(rounds.acquire(timeout=60) for _ in range(3))
    pipeline.keeper.stop(60)
    assert "the thread that seals the log met a fault of otel-audit's own (TypeError)" in caplog.text
    assert "on_synced" in caplog.text, "where it happened"
    assert "got through again" in caplog.text
    assert "planted value" not in caplog.text
