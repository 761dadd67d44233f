"""The writer: when a stream opens, seals, rotates and ends, and what an event finds when it cannot be written."""

from __future__ import annotations

import collections
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_audit.errors import InvalidEvent, NoRoom, NotConfigured, RecordingFailed
from otel_audit.event import Actor, AuditEvent
from otel_audit.pipeline import AuditPipeline
from otel_audit.receipt import NOT_RECORDED, Receipt
from otel_audit.spool.live import Clock
from otel_audit.spool.segment import LIFECYCLE_RESERVE_BYTES, RESERVE_STEP_BYTES
from otel_audit.spool.storage import DiskSlot
from otel_audit.testing import FixedClock
from tests.crashed import crash

from .conftest import Process, records

EVENT = AuditEvent("item.read", "READ", "success", Actor("alice", "user", "session"))


def present(pipeline: AuditPipeline) -> str:
    live = pipeline.writer.live
    assert live is not None
    return live.stream.id


def events(spool: Path, stream: str) -> list[str]:
    return [record["event"] for record in records(spool, stream)]


def test_nothing_is_opened_until_the_first_event(process: Process, spool: Path) -> None:
    pipeline = process()

    assert pipeline.writer.live is None
    assert not (spool / "shop").exists()


def test_a_stream_begins_with_its_open_and_the_policy(process: Process, spool: Path) -> None:
    pipeline = process()

    receipt = pipeline.record(EVENT)

    assert events(spool, receipt.stream) == ["audit.stream.open", "audit.policy", "item.read"]
    assert (receipt.recorded, receipt.seq) == (True, 3)


def test_no_record_is_observed_before_the_open_of_its_stream(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    """Opening takes its time: an identity is asked, other streams are read."""
    pipeline = process()
    still = pipeline.writer.clock

    def passing() -> int:
        clock.advance(0.01)
        return clock.time_unix_nano

    pipeline.writer.clock = Clock(passing, still.monotonic_nano)
    stream = pipeline.record(EVENT).stream

    observed = [record["observed"] for record in records(spool, stream)]
    assert observed == sorted(observed)


def test_files_and_directories_are_for_their_owner_only(process: Process, spool: Path) -> None:
    previous = os.umask(0)
    try:
        process().record(EVENT)
    finally:
        os.umask(previous)

    modes = {path.relative_to(spool).parts[-1]: path.stat().st_mode & 0o777 for path in spool.rglob("*")}
    assert {modes[name] for name in ("shop", "identity")} == {0o700}
    assert {modes[name] for name in ("000000000001.jsonl", "owner.lock", "place", "issuer.pem")} == {0o600}


def test_a_seal_follows_before_the_interval_is_over(process: Process, spool: Path, clock: FixedClock) -> None:
    pipeline = process()
    stream = pipeline.record(EVENT).stream

    clock.advance(4.4)
    pipeline.keeper.tick()
    assert events(spool, stream)[-1] == "item.read"
    clock.advance(0.2)
    pipeline.keeper.tick()

    assert events(spool, stream)[-1] == "audit.seal"
    assert records(spool, stream)[-1]["context"]["audit.seal.size"] == 3


def test_a_silent_stream_still_says_that_it_is_alive(process: Process, spool: Path, clock: FixedClock) -> None:
    pipeline = process()
    stream = pipeline.record(EVENT).stream
    clock.advance(5)
    pipeline.keeper.tick()

    clock.advance(55)
    pipeline.keeper.tick()

    assert events(spool, stream)[-2:] == ["audit.seal", "audit.seal"]


def test_as_many_records_as_the_setting_says_are_sealed_at_once(process: Process, spool: Path) -> None:
    pipeline = process(OTEL_AUDIT_SEAL_RECORDS="3")
    stream = ""
    for _ in range(3):
        stream = pipeline.record(EVENT).stream

    pipeline.keeper.tick()

    assert events(spool, stream)[-1] == "audit.seal"


def test_an_old_stream_is_replaced_and_the_new_one_names_its_end(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    pipeline = process(OTEL_AUDIT_STREAM_MAX_AGE="1h")
    old = pipeline.record(EVENT).stream
    pipeline.keeper.tick()

    clock.advance(3600)
    pipeline.keeper.tick()
    new = present(pipeline)

    assert new != old
    close = records(spool, old)[-1]
    assert close["event"] == "audit.stream.close"
    assert close["context"]["audit.reason"] == "rotation"
    assert close["context"]["audit.successor"] == new
    opened, _, linked = records(spool, new)
    assert opened["context"]["audit.predecessors"] == [], "what is not yet synced cannot be named"
    assert linked["context"]["audit.predecessors"][0].startswith(f"{old}:{close['seq']}:")


def test_a_process_that_wakes_past_its_rotation_writes_only_the_close(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    """No keeper has run: the event itself finds the stream too old."""
    pipeline = process(OTEL_AUDIT_STREAM_MAX_AGE="1h")
    old = pipeline.record(EVENT).stream
    clock.advance(7200)

    new = pipeline.record(EVENT).stream

    assert new != old
    assert events(spool, old)[-1] == "audit.stream.close"


@pytest.mark.parametrize("seconds", [-3600, 86400])
def test_after_a_step_of_the_clock_a_stream_only_closes(
    seconds: int, process: Process, spool: Path, clock: FixedClock
) -> None:
    pipeline = process()
    old = pipeline.record(EVENT).stream
    clock.step(seconds)
    pipeline.keeper.tick()

    new = pipeline.record(EVENT).stream

    close = records(spool, old)[-1]
    assert (close["event"], close["context"]["audit.reason"]) == ("audit.stream.close", "clock")
    assert new != old
    assert close["seq"] == 4


def test_a_small_step_of_the_clock_changes_nothing(process: Process, clock: FixedClock) -> None:
    pipeline = process()
    old = pipeline.record(EVENT).stream
    clock.step(-1700)

    assert pipeline.record(EVENT).stream == old


def test_an_event_is_never_observed_before_it_happened(process: Process, spool: Path, clock: FixedClock) -> None:
    receipt = process().record(EVENT._replace(time_unix_nano=clock.time_unix_nano + 10**9))

    record = records(spool, receipt.stream)[-1]
    assert record["time"] == record["observed"]


def test_a_full_disk_loses_events_visibly_and_not_the_stream(process: Process, spool: Path) -> None:
    pipeline = process(OTEL_AUDIT_SPOOL_MAX_BYTES=str(RESERVE_STEP_BYTES + 65536))
    big = EVENT._replace(context={"note": "x" * 50_000})
    receipts = [pipeline.record(big) for _ in range(30)]
    recorded = [receipt for receipt in receipts if receipt.recorded]

    assert 0 < len(recorded) < 30
    assert not receipts[-1].recorded
    pipeline.shutdown(1)
    gap, close = records(spool, recorded[0].stream)[-2:]
    assert gap["context"]["audit.gap.count"] == 30 - len(recorded)
    assert gap["context"]["audit.reason"] == "disk-full"
    assert close["context"]["audit.seal.dropped"] == 30 - len(recorded)


def test_a_full_disk_still_has_room_for_seals(process: Process, spool: Path, clock: FixedClock) -> None:
    pipeline = process(OTEL_AUDIT_SPOOL_MAX_BYTES=str(RESERVE_STEP_BYTES + 65536))
    big = EVENT._replace(context={"note": "x" * 50_000})
    stream = pipeline.record(big).stream
    while pipeline.record(big).recorded:
        pass

    for _ in range(60):
        clock.advance(60)
        pipeline.keeper.tick()

    assert events(spool, stream).count("audit.seal") == 60


def test_room_that_comes_back_ends_the_gap(process: Process, spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = process()
    stream = pipeline.record(EVENT).stream
    live = pipeline.writer.live
    assert live is not None
    full = {"is": True}

    def may_grow(size_bytes: int) -> bool:
        return size_bytes > 0 and not full["is"]

    assert isinstance(live.slot, DiskSlot)
    live.slot._may_grow = may_grow  # pyright: ignore[reportPrivateUsage]
    big = EVENT._replace(context={"note": "x" * 50_000})
    lost = 0
    for _ in range(30):
        lost += not pipeline.record(big).recorded

    full["is"] = False
    assert pipeline.record(EVENT).recorded

    assert lost > 0
    assert records(spool, stream)[-1]["context"]["audit.gap.count"] == lost
    said = [record.message for record in caplog.records]
    assert sum("is full: events are being lost" in line for line in said) == 1
    assert any("can be written to again" in line for line in said)


def test_a_failed_write_ends_the_stream_and_the_event_goes_to_a_new_one(process: Process, spool: Path) -> None:
    pipeline = process()
    old = pipeline.record(EVENT).stream
    live = pipeline.writer.live
    assert live is not None
    assert isinstance(live.slot, DiskSlot)
    descriptor = live.slot.descriptor
    readable = os.open(spool / "shop" / old / "000000000001.jsonl", os.O_RDONLY)
    os.dup2(readable, descriptor)  # a descriptor that cannot be written to: EBADF from a real write(2)
    os.close(readable)

    receipt = pipeline.record(EVENT)

    assert receipt.recorded
    assert receipt.stream != old
    pipeline.keeper.recover()
    (recovered,) = [r for r in records(spool, receipt.stream) if r["event"] == "audit.stream.recovered"]
    assert recovered["context"]["audit.recovered.stream"] == old
    assert recovered["context"]["audit.recovered.seq"] == 3


def test_closed_mode_refuses_when_the_record_cannot_be_written(process: Process, spool: Path) -> None:
    pipeline = process(OTEL_AUDIT_FAIL_MODE="closed", OTEL_AUDIT_SPOOL_MAX_BYTES=str(RESERVE_STEP_BYTES + 65536))
    big = EVENT._replace(context={"note": "x" * 60_000})

    with pytest.raises(RecordingFailed):
        collections.deque((pipeline.record(big) for _ in range(30)), maxlen=0)


def test_closed_mode_lets_in_only_as_many_as_there_is_room_for(process: Process) -> None:
    pipeline = process(OTEL_AUDIT_FAIL_MODE="closed", OTEL_AUDIT_SPOOL_MAX_BYTES=str(RESERVE_STEP_BYTES + 65536))
    dismissals: list[Callable[[], None] | None] = []
    with pytest.raises(NoRoom):
        dismissals.extend(pipeline.admit() for _ in range(30))

    room = RESERVE_STEP_BYTES - LIFECYCLE_RESERVE_BYTES
    assert room // 65536 - 1 <= len(dismissals) <= room // 65536
    for dismiss in dismissals:
        assert dismiss is not None
        dismiss()
    assert pipeline.admit() is not None


def test_open_mode_reserves_nothing(process: Process) -> None:
    assert process().admit() is None


def test_records_removed_under_the_writer_are_put_back(process: Process, spool: Path, clock: FixedClock) -> None:
    pipeline = process()
    stream = pipeline.record(EVENT).stream
    for path in (spool / "shop" / stream).iterdir():
        path.unlink()
    (spool / "shop" / stream).rmdir()
    assert pipeline.record(EVENT).recorded

    pipeline.keeper.tick()
    pipeline.record(EVENT)

    assert events(spool, stream) == ["audit.stream.open", "audit.policy", *["item.read"] * 3]
    other = process()
    other.keeper.recover()
    assert not (spool / "shop" / stream / "ended").exists(), "the restored stream is still owned"


def test_a_spool_that_cannot_be_opened_is_tried_again_later(
    process: Process, spool: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = process()
    (spool / "shop").write_bytes(b"in the way")
    assert not pipeline.record(EVENT).recorded
    (spool / "shop").unlink()

    assert not pipeline.record(EVENT).recorded, "within the same second it is not tried again"
    clock.advance(1.1)
    receipt = pipeline.record(EVENT)

    assert receipt.recorded
    (gap,) = [r for r in records(spool, receipt.stream) if r["event"] == "audit.gap"]
    assert gap["context"]["audit.gap.count"] == 2
    assert gap["context"]["audit.reason"] == "write-failed"


def test_what_the_policy_leaves_out_is_counted_in_the_next_seal(
    process: Process, spool: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules:\n  - event: item.ping\n    action: skip\n")
    pipeline = process(OTEL_AUDIT_POLICY=str(policy))
    assert pipeline.record(EVENT._replace(event="item.ping")).skipped
    stream = pipeline.record(EVENT).stream
    pipeline.record(EVENT._replace(event="item.ping"))

    pipeline.shutdown(1)

    assert records(spool, stream)[-1]["context"]["audit.seal.skipped"] == 2
    assert records(spool, stream)[1]["context"]["audit.policy.text"] == policy.read_text()


def test_an_event_too_large_for_a_record_is_shortened_and_says_so(process: Process, spool: Path) -> None:
    receipt = process().record(
        EVENT._replace(context={"small": "kept", "large": "\x00é" * 40_000, "other": "y" * 5000})
    )

    context = records(spool, receipt.stream)[-1]["context"]
    assert context["audit.truncated"] == ["large"]
    assert context["small"] == "kept"
    assert context["other"] == "y" * 5000
    assert context["large"].startswith("\x00é\x00é")


def test_an_event_that_cannot_be_shortened_becomes_a_gap(process: Process, spool: Path) -> None:
    pipeline = process()
    stream = pipeline.record(EVENT).stream

    assert not pipeline.record(EVENT._replace(actor=Actor("x" * 70_000))).recorded

    pipeline.shutdown(1)
    assert records(spool, stream)[-2]["context"]["audit.reason"] == "too-large"


def test_a_value_that_no_record_can_carry_is_refused_and_counted(process: Process, spool: Path) -> None:
    pipeline = process()
    stream = pipeline.record(EVENT).stream

    with pytest.raises(InvalidEvent, match=r"context 'x': a value of type object"):
        pipeline.record(EVENT._replace(context={"x": object()}))  # type: ignore[dict-item]

    pipeline.shutdown(1)
    assert records(spool, stream)[-1]["context"]["audit.seal.dropped"] == 1


def test_an_event_emitted_in_the_middle_of_another_follows_it(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    """A signal handler, or a finaliser, runs between two instructions of the record that is being made."""
    pipeline = process()
    inner: list[Receipt] = []

    def emitting() -> int:
        if not inner:
            inner.append(NOT_RECORDED)
            inner[0] = pipeline.record(EVENT._replace(event="item.inner"))
            assert not inner[0].recorded
        return clock.time_unix_nano

    pipeline.writer.clock = Clock(emitting, pipeline.writer.clock.monotonic_nano)
    outer = pipeline.record(EVENT)

    assert events(spool, outer.stream)[-2:] == ["item.read", "item.inner"]
    assert inner[0].recorded
    assert inner[0].seq == outer.seq + 1


def test_shutting_down_closes_the_stream_and_refuses_later_events(process: Process, spool: Path) -> None:
    pipeline = process()
    stream = pipeline.record(EVENT).stream

    pipeline.shutdown(1)
    pipeline.shutdown(1)

    close = records(spool, stream)[-1]
    assert (close["event"], close["context"]["audit.reason"]) == ("audit.stream.close", "shutdown")
    with pytest.raises(NotConfigured):
        pipeline.record(EVENT)


def test_shutting_down_is_done_when_it_returns(process: Process, spool: Path) -> None:
    """The close itself must not wake a new thread, which would finish the stream at some later time."""
    pipeline = process()
    pipeline.writer.on_work = pipeline.keeper.wake
    stream = pipeline.record(EVENT).stream

    pipeline.shutdown(60)

    assert (spool / "shop" / stream / "ended").exists()
    assert [thread.name for thread in threading.enumerate() if thread.name == "otel-audit-keeper"] == []


def test_shutting_down_from_within_a_record_waits_for_its_end(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    """SIGTERM arrives while the main thread is writing a record."""
    pipeline = process()

    told: list[bool] = []

    def ending() -> int:
        if not told:
            told.append(True)
            pipeline.shutdown(1)
        return clock.time_unix_nano

    pipeline.writer.clock = Clock(ending, pipeline.writer.clock.monotonic_nano)
    receipt = pipeline.record(EVENT)

    assert events(spool, receipt.stream)[-2:] == ["item.read", "audit.stream.close"]


def test_a_receipt_waits_for_the_disk(process: Process) -> None:
    receipt = process().record(EVENT)

    assert receipt.wait_durable(timeout_s=30)
    assert not receipt.wait_delivered(timeout_s=0)


def test_always_syncs_before_emit_returns(process: Process) -> None:
    pipeline = process(OTEL_AUDIT_FSYNC="always")

    receipt = pipeline.record(EVENT)

    live = pipeline.writer.live
    assert live is not None
    assert live.synced_seq == receipt.seq


def test_a_sync_that_fails_means_not_recorded(process: Process) -> None:
    pipeline = process(OTEL_AUDIT_FSYNC="always")
    pipeline.record(EVENT)
    live = pipeline.writer.live
    assert live is not None
    reader, writer = os.pipe()
    assert isinstance(live.slot, DiskSlot)
    os.dup2(writer, live.slot.descriptor)  # fdatasync(2) of a pipe: EINVAL
    os.close(writer)

    assert not pipeline.record(EVENT).recorded

    os.close(reader)


def test_each_start_names_the_streams_that_it_finds(process: Process, spool: Path) -> None:
    ended = process()
    first = ended.record(EVENT).stream
    ended.shutdown(1)
    crashed = process()
    second = crashed.record(EVENT).stream
    crash(crashed)

    newest = process()
    stream = newest.record(EVENT).stream
    newest.keeper.tick()

    opened, _, _, linked, *_ = records(spool, stream)
    (named,) = opened["context"]["audit.predecessors"]
    assert named.startswith(f"{first}:{records(spool, first)[-1]['seq']}:")
    assert linked["event"] == "audit.stream.linked"
    named_later = {reference.split(":")[0]: reference for reference in linked["context"]["audit.predecessors"]}
    assert set(named_later) == {second}
    assert named_later[second].split(":")[1] == "2", "the policy record is the last one signed"


def test_an_end_that_is_named_durably_is_not_named_again(process: Process, spool: Path, clock: FixedClock) -> None:
    ended = process()
    ended.record(EVENT)
    ended.shutdown(1)
    naming = process()
    naming.record(EVENT)
    clock.advance(5)
    naming.keeper.tick()

    third = records(spool, process().record(EVENT).stream)[0]

    assert third["context"]["audit.predecessors"] == []


def test_a_write_error_names_the_file(process: Process, spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = process()
    (spool / "shop").write_bytes(b"in the way")

    pipeline.record(EVENT)

    assert f"{spool / 'shop'}" in caplog.text
    assert os.strerror(errno.EEXIST) in caplog.text or os.strerror(errno.ENOTDIR) in caplog.text
