"""An open stream: until when it may be written, when it owes a seal, what is durable and what its records name."""

from __future__ import annotations

import errno
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from otel_audit.evidence.identity import Identity
from otel_audit.evidence.stream import StreamClosed
from otel_audit.spool.delivery import Delivery
from otel_audit.spool.live import CLOCK_STEP_NS, Clock, Limits, LiveStream, open_stream
from otel_audit.spool.segment import NamesNotSynced, NoSpace
from otel_audit.testing import FixedClock

from .conftest import DECLARATION, FailingSlot, FailingStorage

SECOND = 1_000_000_000


@pytest.fixture
def live(storage: FailingStorage, clock: FixedClock, issuer: Identity) -> LiveStream:
    return open_stream(storage, issuer, DECLARATION, Limits(), clock.clock())


@pytest.fixture
def slot(live: LiveStream) -> FailingSlot:
    assert isinstance(live.slot, FailingSlot)
    return live.slot


def write_event(live: LiveStream) -> int:
    draft = live.stream.draft_event({"event": "item.read"}, 1_767_225_600 * SECOND)
    assert draft is not None
    live.write(draft)
    return live.stream.seq


def written(storage: FailingStorage) -> list[dict[str, Any]]:
    return [orjson.loads(body) for body in storage.bodies()]


# When it may be written


@pytest.mark.parametrize(
    ("ahead_nano", "why"),
    [
        (0, None),
        (CLOCK_STEP_NS, None),
        (CLOCK_STEP_NS + 1, "clock"),
        (-CLOCK_STEP_NS, None),
        (-CLOCK_STEP_NS - 1, "clock"),
    ],
)
def test_a_clock_that_moved_by_more_than_half_an_hour_ends_a_stream(
    ahead_nano: int, why: str | None, live: LiveStream, clock: FixedClock
) -> None:
    clock.advance(7)

    assert live.is_unfit(clock.time_unix_nano + ahead_nano, clock.monotonic_nano) == why


@pytest.mark.parametrize(("before_nano", "lasts_nano"), [(5 * SECOND, SECOND), (SECOND // 2, SECOND // 2)])
def test_a_fit_stream_stays_so_for_a_second_but_not_beyond_its_rotation(
    before_nano: int, lasts_nano: int, live: LiveStream, clock: FixedClock
) -> None:
    due = live.rotate_at_unix_nano
    passed = due - before_nano - clock.time_unix_nano
    now = clock.time_unix_nano + passed

    assert live.is_unfit(now, clock.monotonic_nano + passed) is None
    assert (live.fit_from_unix_nano, live.fit_until_unix_nano) == (now, now + lasts_nano)

    assert live.is_unfit(due, clock.monotonic_nano + passed + before_nano) == "rotation"
    assert live.fit_until_unix_nano == 0, "what was fit a moment ago is not any more"


def test_streams_of_processes_that_started_together_are_replaced_within_the_last_tenth_of_their_age(
    storage: FailingStorage, clock: FixedClock, issuer: Identity
) -> None:
    hour = timedelta(hours=1)
    opened = [open_stream(storage, issuer, DECLARATION, Limits(hour), clock.clock()) for _ in range(20)]

    ages = [live.rotate_at_unix_nano - clock.time_unix_nano for live in opened]

    assert all(3240 * SECOND <= age <= 3600 * SECOND for age in ages)
    assert len(set(ages)) == 20


def test_a_rotation_that_failed_waits_for_a_minute_and_hurries_no_later_one(
    live: LiveStream, clock: FixedClock
) -> None:
    due = live.rotate_at_unix_nano
    live.postpone_rotation()
    assert live.rotate_at_unix_nano == due
    assert live.postponed_nano == clock.monotonic_nano + 30 * SECOND

    clock.advance((due - clock.time_unix_nano) / 1e9)
    live.postpone_rotation()

    assert live.rotate_at_unix_nano == clock.time_unix_nano + 60 * SECOND


@pytest.mark.parametrize(("seconds", "moves"), [(1800, True), (1801, False), (-1800, True), (-1801, False)])
def test_no_record_about_the_log_bears_the_time_of_a_clock_that_has_stepped(
    seconds: int, moves: bool, live: LiveStream, storage: FailingStorage, clock: FixedClock
) -> None:
    clock.advance(3)
    clock.step(seconds)

    live.seal()

    expected = datetime(2026, 1, 1, 0, 0, 3, tzinfo=UTC) + timedelta(seconds=seconds if moves else 0)
    assert written(storage)[-1]["observed"].startswith(f"{expected:%Y-%m-%dT%H:%M:%S}.")


def test_the_clock_of_a_machine_that_slept_is_asked_where_there_is_one() -> None:
    assert Clock(lambda: 1, lambda: 2).up_nano() == 2
    assert Clock(lambda: 1, lambda: 2, lambda: 3).up_nano() == 3


# What it owes


def test_a_seal_is_owed_a_tenth_early_from_the_last_signed_record_or_the_first_unsealed_one(
    live: LiveStream, clock: FixedClock
) -> None:
    assert live.seal_due_nano(1000) == 54 * SECOND
    clock.advance(10)
    write_event(live)
    assert live.seal_due_nano(1000) == 14_500_000_000
    clock.advance(1)
    write_event(live)
    assert live.seal_due_nano(1000) == 14_500_000_000, "of the first one"

    live.seal()

    assert live.seal_due_nano(1000) == 65 * SECOND
    clock.advance(51)
    write_event(live)
    assert live.seal_due_nano(1000) == 65 * SECOND, "the heartbeat falls due before"


@pytest.mark.parametrize(("records", "is_due"), [(3, False), (2, True), (1, True)])
def test_a_seal_is_owed_at_once_for_as_many_records_as_the_setting_says(
    records: int, is_due: bool, live: LiveStream, clock: FixedClock
) -> None:
    write_event(live)
    write_event(live)

    assert (live.seal_due_nano(records) <= clock.monotonic_nano) == is_due


def test_whoever_waits_for_a_delivery_has_what_is_unsealed_sealed_at_once(
    live: LiveStream, clock: FixedClock
) -> None:
    asked: list[int] = []
    answers: list[bool] = []
    live.on_ask = lambda: asked.append(live.asked_seq)
    live.delivery = Delivery()
    assert live.ask_delivered(live.stream.id, live.stream.signed_seq, answers.append)
    assert asked == [], "that is sealed"
    seq = write_event(live)

    assert live.ask_delivered(live.stream.id, seq, answers.append)
    assert live.ask_delivered(live.stream.id, seq, answers.append)

    assert asked == [seq], "the keeper is woken once"
    assert live.seal_due_nano(1000) <= clock.monotonic_nano
    live.seal()
    write_event(live)
    assert live.seal_due_nano(1000) > clock.monotonic_nano, "nobody waits for this one"
    live.delivery.reach(seq)
    assert answers == [True] * 3


def test_who_waits_no_more_is_forgotten(live: LiveStream) -> None:
    answers: list[bool] = []
    assert not live.wait_delivered(live.stream.id, 2, timeout_s=0), "nothing delivers"
    assert live.ask_delivered(live.stream.id, 2, answers.append) is False
    live.forget_delivered(answers.append)
    live.delivery = Delivery()
    tell = answers.append
    assert live.ask_delivered(live.stream.id, 2, tell)

    live.forget_delivered(tell)
    assert not live.wait_delivered(live.stream.id, 2, timeout_s=-1.0)
    live.delivery.reach(2)

    assert answers == []
    assert live.wait_delivered(live.stream.id, 2, timeout_s=-1.0)


# What is durable


def test_who_waits_for_another_s_sync_waits_no_longer_than_he_says_and_needs_none_of_his_own(
    live: LiveStream, slot: FailingSlot
) -> None:
    slot.may_sync = threading.Event()
    seq = live.stream.seq
    thread = threading.Thread(target=live.sync, args=(seq,))
    thread.start()
    assert slot.is_syncing.wait(60)

    assert not live.wait_durable(live.stream.id, seq, timeout_s=0)
    assert not live.sync(seq, timeout_s=0.001)
    slot.may_sync.set()
    thread.join()

    assert live.wait_durable(live.stream.id, seq, timeout_s=0)
    assert slot.syncs == 1


def test_what_is_synced_is_not_synced_again(live: LiveStream, slot: FailingSlot, clock: FixedClock) -> None:
    assert live.sync(live.stream.seq)
    slot.sync_error = OSError(errno.EIO, "Input/output error")

    assert live.wait_durable(live.stream.id, live.stream.seq, timeout_s=60)
    assert not live.is_broken
    assert not live.wait_durable(live.stream.id, write_event(live), timeout_s=60)


@pytest.mark.parametrize(
    ("error", "is_broken"), [(OSError(errno.EIO, "bad"), True), (NamesNotSynced(errno.ENOENT, "gone"), False)]
)
def test_a_sync_that_failed_ends_the_stream_unless_it_can_be_tried_again(
    error: OSError, is_broken: bool, live: LiveStream, slot: FailingSlot
) -> None:
    slot.sync_error = error
    with pytest.raises(OSError, match=error.strerror):
        live.sync(live.stream.seq)
    assert live.is_broken == is_broken

    slot.sync_error = None

    assert live.wait_durable(live.stream.id, live.stream.seq, timeout_s=60) == (not is_broken)
    assert live.synced_seq == (0 if is_broken else live.stream.seq)


def test_a_stream_whose_end_cannot_be_synced_is_closed_all_the_same(live: LiveStream, slot: FailingSlot) -> None:
    live.close("shutdown")
    slot.sync_error = OSError(errno.EIO, "bad")

    with pytest.raises(OSError, match="bad"):
        live.finish()

    assert slot.is_closed


def test_what_could_not_be_begun_may_be_written_again_and_what_was_may_not(
    live: LiveStream, slot: FailingSlot, clock: FixedClock
) -> None:
    before = live.stream.seq
    slot.append_error = NoSpace(errno.ENOSPC, "full")
    with pytest.raises(NoSpace):
        write_event(live)
    assert (live.is_broken, live.stream.seq, live.first_unsealed_nano) == (False, before, None)

    slot.append_error = OSError(errno.EIO, "bad")
    with pytest.raises(OSError, match="bad"):
        write_event(live)
    assert (live.is_broken, live.stream.seq) == (True, before)


@pytest.mark.parametrize(("lines", "is_broken", "records"), [(0, False, 2), (1, False, 3), (0.5, True, 2)])
def test_after_an_interrupt_a_stream_goes_on_from_what_stands_there(
    lines: float, is_broken: bool, records: int, live: LiveStream, slot: FailingSlot
) -> None:
    """A signal handler's exception, before, behind and within the line."""
    slot.append_error, slot.lines_before_error = KeyboardInterrupt(), lines

    with pytest.raises(KeyboardInterrupt):
        write_event(live)

    assert (live.is_broken, live.stream.seq) == (is_broken, records)


def test_an_interrupted_close_is_the_end_where_it_stands_there(live: LiveStream, slot: FailingSlot) -> None:
    slot.append_error, slot.lines_before_error = KeyboardInterrupt(), 1

    with pytest.raises(KeyboardInterrupt):
        live.close("shutdown")

    assert not live.is_broken
    with pytest.raises(StreamClosed):
        live.stream.draft_seal(0)


def test_where_no_event_has_room_what_is_said_about_the_log_has(live: LiveStream, storage: FailingStorage) -> None:
    storage.limit_bytes = storage.used_bytes
    with pytest.raises(NoSpace):
        write_event(live)

    live.policy()
    live.write_lifecycle("audit.gap", {"audit.gap.count": 1})
    live.seal()
    live.close("shutdown")

    events = ["audit.stream.open", "audit.policy", "audit.policy", "audit.gap", "audit.seal", "audit.stream.close"]
    assert [record["event"] for record in written(storage)] == events
