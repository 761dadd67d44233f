"""What the writer counts, reserves and tells: nothing twice, nothing never."""

from __future__ import annotations

import errno
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from otel_audit.configure import build, read_policy
from otel_audit.event import Actor, AuditEvent
from otel_audit.evidence.identity import Identity
from otel_audit.pipeline import AuditPipeline
from otel_audit.settings import Settings
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.live import LiveStream
from otel_audit.spool.segment import LIFECYCLE_RESERVE_BYTES, RESERVE_STEP_BYTES, NoSpace
from otel_audit.spool.writer import ADMISSION_BYTES
from otel_audit.testing import FixedClock

from .conftest import FailingSlot, FailingStorage, Process, records

EVENT = AuditEvent("item.read", "READ", "success", Actor("alice", "user", "session"))
OTHER = "ab" * 16


def present(pipeline: AuditPipeline) -> LiveStream:
    live = pipeline.writer.live
    assert live is not None
    return live


def rotated(pipeline: AuditPipeline) -> LiveStream:
    with pipeline.writer.making():
        pipeline.writer.replace("rotation")
    return present(pipeline)


def test_a_receipt_names_the_record_by_the_hash_of_its_bytes(process: Process, spool: Path) -> None:
    receipt = process().record(EVENT)

    line = (spool / "shop" / receipt.stream / "000000000001.jsonl").read_bytes().splitlines()[receipt.seq - 1]
    assert receipt.record_hash == sha256(line).hexdigest()
    assert receipt.record_id == f"{receipt.stream}-3"


def test_what_was_recorded_left_out_lost_and_sealed_is_counted_for_metrics(
    process: Process, clock: FixedClock
) -> None:
    pipeline = process()
    writer = pipeline.writer
    for _ in range(3):
        pipeline.record(EVENT)
    for _ in range(2):
        writer.skip()
    writer.lose("invalid")
    clock.advance(5)
    writer.seal_if_due()
    writer.seal_if_due()

    tally = writer.tally
    assert (tally.emitted, tally.skipped, tally.dropped, tally.seals) == (3, 2, 1, 1)


@pytest.mark.parametrize("is_lost", [False, True])
def test_what_happened_before_a_stream_was_open_wakes_the_keeper_once_and_stands_in_one_stream(
    is_lost: bool, process: Process, spool: Path
) -> None:
    pipeline = process()
    writer = pipeline.writer
    woken: list[bool] = []
    writer.on_work = lambda: woken.append(True)

    miss: Callable[[], object] = (lambda: writer.lose("too-large")) if is_lost else writer.skip

    for _ in range(3):
        miss()

    assert woken == [True]

    first = pipeline.record(EVENT).stream
    second = rotated(pipeline).stream.id
    pipeline.shutdown(1)
    name = "audit.seal.dropped" if is_lost else "audit.seal.skipped"
    closes = [records(spool, stream)[-1]["context"] for stream in (first, second)]
    assert [close.get(name, 0) for close in closes] == [3, 0]


def test_the_keeper_is_woken_by_the_first_unsealed_event_and_by_as_many_as_the_setting_says(
    process: Process,
) -> None:
    """Each event between would cost a system call."""
    pipeline = process(OTEL_AUDIT_SEAL_RECORDS="4")
    pipeline.record(EVENT)
    present(pipeline).seal()
    woken: list[int] = []
    tally = pipeline.writer.tally
    before = tally.emitted
    pipeline.writer.on_work = lambda: woken.append(tally.emitted - before)

    for _ in range(5):
        pipeline.record(EVENT)

    assert woken == [1, 4]


def test_room_is_held_for_a_request_and_no_more_than_it_needs(process: Process) -> None:
    pipeline = process(OTEL_AUDIT_FAIL_MODE="closed")
    pipeline.record(EVENT)
    slot = present(pipeline).slot
    slot.append(b"x" * (slot.room_bytes - 1000))

    first = pipeline.admit()
    assert slot.room_bytes == ADMISSION_BYTES
    second = pipeline.admit()
    assert slot.room_bytes == 2 * ADMISSION_BYTES
    assert first is not None
    assert second is not None
    first()
    pipeline.admit()

    assert slot.room_bytes == 2 * ADMISSION_BYTES


def test_requests_that_were_let_in_have_their_room_in_the_next_stream_too(process: Process) -> None:
    pipeline = process(OTEL_AUDIT_FAIL_MODE="closed")
    pipeline.record(EVENT)
    for _ in range(30):
        pipeline.admit()

    assert rotated(pipeline).slot.room_bytes >= 30 * ADMISSION_BYTES

    idle = process()
    idle.record(EVENT)
    for_events = RESERVE_STEP_BYTES - LIFECYCLE_RESERVE_BYTES
    assert for_events - 8192 < rotated(idle).slot.room_bytes < for_events, "nobody was let in, nothing is held"


class OfNoEvent(FailingSlot):
    """A disk that takes the first records of every stream, and no event."""

    def append(self, line: bytes, *, is_lifecycle: bool = False) -> None:
        if not is_lifecycle:
            raise OSError(errno.EIO, "Input/output error")
        super().append(line, is_lifecycle=is_lifecycle)


class OfNoEvents(FailingStorage):
    def slot(self, stream: str) -> FailingSlot:
        self.slots[stream] = made = OfNoEvent(self)
        return made


@pytest.fixture
def storage() -> FailingStorage:
    return OfNoEvents()


@pytest.fixture
def failing(storage: FailingStorage, clock: FixedClock, issuer: Identity) -> AuditPipeline:
    settings = Settings.from_environ({"OTEL_SERVICE_NAME": "shop", "OTEL_AUDIT_DIR": "memory:"})
    pipeline = build(settings, read_policy(settings), storage, issuer, Alarms(), clock=clock.clock())
    pipeline.writer.on_work = lambda: None
    return pipeline


def test_an_event_that_breaks_one_stream_after_another_is_lost_after_the_third(
    failing: AuditPipeline, storage: FailingStorage
) -> None:
    receipt = failing.record(EVENT)

    assert not receipt.recorded
    assert len(storage.slots) == 3
    assert failing.writer.tally.dropped == 1
    assert failing.writer.live is None


@pytest.mark.parametrize(("error", "goes_on"), [(NoSpace(errno.ENOSPC, "full"), True), (OSError(5, "bad"), False)])
def test_a_record_about_the_log_that_cannot_be_written_is_an_error(
    error: OSError, goes_on: bool, failing: AuditPipeline
) -> None:
    writer = failing.writer
    writer.present_id()
    live = present(failing)
    assert isinstance(live.slot, FailingSlot)
    live.slot.append_error = error

    with pytest.raises(type(error)):
        writer.write_lifecycle("audit.retired", {})

    assert (writer.live is live) == goes_on
    assert live.slot.is_released != goes_on


def test_a_record_about_the_log_stands_in_the_stream_and_at_the_time_that_it_must_or_nowhere(
    failing: AuditPipeline, storage: FailingStorage
) -> None:
    writer = failing.writer
    stream = writer.present_id()
    before = len(storage.bodies())

    assert not writer.write_lifecycle("audit.retired", {}, only_in=OTHER)
    assert not writer.write_lifecycle("audit.retired", {}, not_before="2026-01-01T00:00:00.000000001Z")
    assert len(storage.bodies()) == before

    assert writer.write_lifecycle("audit.retired", {}, only_in=stream, not_before="2026-01-01T00:00:00.000000000Z")
    assert present(failing).synced_seq == present(failing).stream.seq == 3
