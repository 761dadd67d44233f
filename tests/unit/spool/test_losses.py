"""What becomes of events, and of the stream, when something cannot be written just now."""

from __future__ import annotations

import fcntl
import os
import termios
from pathlib import Path

from otel_audit.event import Actor, AuditEvent
from otel_audit.pipeline import AuditPipeline
from otel_audit.receipt import Receipt
from otel_audit.spool.live import Clock
from otel_audit.spool.segment import RESERVE_STEP_BYTES
from otel_audit.spool.storage import DiskSlot
from otel_audit.testing import FixedClock

from .conftest import Process, records

EVENT = AuditEvent("item.read", "READ", "success", Actor("alice", "user", "session"))
FOR_ONE_STREAM = str(RESERVE_STEP_BYTES + 65536)
"""`OTEL_AUDIT_SPOOL_MAX_BYTES` that leaves a second stream no room."""


def gaps(spool: Path, stream: str) -> dict[str, int]:
    """How many events a stream says were lost, by reason."""
    contexts = [record["context"] for record in records(spool, stream) if record["event"] == "audit.gap"]
    return {context["audit.reason"]: context["audit.gap.count"] for context in contexts}


def fail_its_syncs(pipeline: AuditPipeline) -> int:
    """From here on every sync of the present stream fails, and no write: fdatasync(2) of a pipe is EINVAL.

    Returns the pipe's other end.
    """
    live = pipeline.writer.live
    assert live is not None
    assert isinstance(live.slot, DiskSlot)
    reader, writer = os.pipe()
    os.dup2(writer, live.slot.descriptor)
    os.close(writer)
    return reader


def test_an_invalid_event_of_a_signal_handler_is_counted_although_its_emit_has_returned(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    pipeline = process()
    assert pipeline.record(EVENT._replace(context={"x": 1})).recorded
    too_long = EVENT._replace(context={"x": 10**5000})
    late: list[Receipt] = []

    def handler() -> int:
        if not late:
            late.append(Receipt(False))
            late[0] = pipeline.record(too_long)
        return clock.time_unix_nano

    pipeline.writer.clock = Clock(handler, pipeline.writer.clock.monotonic_nano)
    stream = pipeline.record(EVENT).stream

    pipeline.shutdown(1)
    assert not late[0].recorded
    assert gaps(spool, stream) == {"invalid": 1}
    assert records(spool, stream)[-1]["context"]["audit.seal.dropped"] == 1


def test_what_was_lost_before_a_stream_could_open_stands_in_its_seals(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    pipeline = process()
    (spool / "shop").write_bytes(b"in the way")
    assert not pipeline.record(EVENT).recorded
    assert not pipeline.record(EVENT).recorded
    (spool / "shop").unlink()
    clock.advance(1.1)

    stream = pipeline.record(EVENT).stream

    pipeline.shutdown(1)
    assert records(spool, stream)[-1]["context"]["audit.seal.dropped"] == 2


def test_after_a_failed_sync_nothing_is_written_behind_what_may_be_lost(process: Process) -> None:
    """Linux forgets the pages that it could not write: what follows would stand behind a hole."""
    pipeline = process()
    old = pipeline.record(EVENT)
    written = fail_its_syncs(pipeline)

    assert not old.wait_durable(timeout_s=30)
    new = pipeline.record(EVENT)

    assert new.recorded
    assert new.stream != old.stream
    assert fcntl.ioctl(written, termios.FIONREAD, bytes(4)) == bytes(4), "bytes that wait to be read"
    os.close(written)


def test_a_stream_whose_clock_has_stepped_is_closed_even_where_no_other_can_open(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    pipeline = process(OTEL_AUDIT_SPOOL_MAX_BYTES=FOR_ONE_STREAM)
    stream = pipeline.record(EVENT).stream
    clock.step(86400)

    assert not pipeline.record(EVENT).recorded

    _, close = records(spool, stream)[-2:]
    assert (close["event"], close["context"]["audit.reason"]) == ("audit.stream.close", "clock")
    assert "audit.successor" not in close["context"]


def test_a_stream_that_no_other_can_replace_at_its_rotation_goes_on(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    pipeline = process(OTEL_AUDIT_SPOOL_MAX_BYTES=FOR_ONE_STREAM, OTEL_AUDIT_STREAM_MAX_AGE="1h")
    stream = pipeline.record(EVENT).stream
    clock.advance(3600)

    receipt = pipeline.record(EVENT)

    assert (receipt.recorded, receipt.stream) == (True, stream)


def test_a_process_that_has_left_out_all_says_so(process: Process, spool: Path, tmp_path: Path) -> None:
    """A policy that skips everything is the quietest way to switch auditing off."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules:\n- event: '*'\n  action: skip\n")
    pipeline = process(OTEL_AUDIT_POLICY=str(policy))
    woken: list[None] = []
    pipeline.writer.on_work = lambda: woken.append(None)
    for _ in range(3):
        pipeline.record(EVENT)
    assert len(woken) == 1, "the keeper is told, and not at each event"

    pipeline.keeper.tick()
    pipeline.shutdown(1.0)

    (stream,) = (path.name for path in (spool / "shop").iterdir())
    said = records(spool, stream)
    assert "action: skip" in said[1]["context"]["audit.policy.text"]
    assert said[-1]["context"]["audit.seal.skipped"] == 3


def test_a_process_whose_only_events_were_lost_says_so_when_it_can(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    pipeline = process()
    spool.joinpath("shop").touch()
    assert not pipeline.record(EVENT).recorded
    pipeline.keeper.tick()
    spool.joinpath("shop").unlink()

    clock.advance(2)
    pipeline.keeper.tick()

    (stream,) = (path.name for path in (spool / "shop").iterdir())
    assert gaps(spool, stream) == {"write-failed": 1}


def test_a_clock_at_the_end_of_the_calendar_breaks_no_application(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    """A broken real-time clock, or one that somebody has set: its certificate would end in the year 10000."""
    now = clock.time_unix_nano
    clock.time_unix_nano = 253_402_257_600_000_000_000  # 9999-12-31T12:00:00Z
    pipeline = process()
    assert not pipeline.record(EVENT).recorded

    clock.time_unix_nano = now
    clock.advance(2)

    receipt = pipeline.record(EVENT)
    assert gaps(spool, receipt.stream) == {"no-identity": 1}
