"""What a stream's opening asks for, names and leaves behind."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from otel_audit.evidence.identity import Identity, StreamKey
from otel_audit.evidence.stream import MAX_PREDECESSORS
from otel_audit.spool.ends import Head
from otel_audit.spool.live import Limits, open_stream
from otel_audit.spool.segment import NoSpace
from otel_audit.testing import FixedClock

from .conftest import DECLARATION, FailingSlot, FailingStorage

HOUR = timedelta(hours=1)
OTHER = "ab" * 16


@dataclass
class Asked:
    """An issuer that remembers what it was asked to certify."""

    issuer: Identity
    keys: list[StreamKey] = field(default_factory=list[StreamKey])

    def certify(self, request: StreamKey) -> tuple[bytes, ...]:
        self.keys.append(request)
        return self.issuer.certify(request)


def heads(count: int) -> list[Head]:
    """Of other streams, every second one of which has ended."""
    ids = [f"{number:032x}" for number in range(count)]
    return [Head(Path(name), f"{name}:3:{'cd' * 32}", has_ended=number % 2 == 0) for number, name in enumerate(ids)]


def written(storage: FailingStorage) -> list[dict[str, Any]]:
    return [orjson.loads(body) for body in storage.bodies()]


def test_a_certificate_is_asked_for_once_and_covers_every_record_of_the_stream(
    storage: FailingStorage, clock: FixedClock, issuer: Identity
) -> None:
    asked = Asked(issuer)

    live = open_stream(storage, asked, DECLARATION, Limits(6 * HOUR), clock.clock())

    (key,) = asked.keys
    opened = datetime(2026, 1, 1, tzinfo=UTC)
    assert (key.stream, key.service) == (live.stream.id, "shop")
    assert (key.not_before, key.not_after) == (opened - HOUR, opened + 7 * HOUR)


def test_a_stream_says_which_process_writes_it(
    storage: FailingStorage, clock: FixedClock, issuer: Identity
) -> None:
    open_stream(storage, issuer, DECLARATION, Limits(), clock.clock())

    opened, policy = written(storage)
    said = {name: opened["context"][name] for name in ("service.name", "process.pid")}
    assert said == {"service.name": "shop", "process.pid": os.getpid()}
    assert policy["context"]["audit.policy.text"] == DECLARATION.policy_text


@pytest.mark.parametrize("count", [0, MAX_PREDECESSORS, MAX_PREDECESSORS + 1, 2 * MAX_PREDECESSORS + 1])
def test_every_ended_stream_is_named_once_two_hundred_a_record(
    count: int, storage: FailingStorage, clock: FixedClock, issuer: Identity
) -> None:
    storage.others = others = heads(count)

    live = open_stream(storage, issuer, DECLARATION, Limits(), clock.clock())

    named = [
        record["context"]["audit.predecessors"]
        for record in written(storage)
        if record["event"] in {"audit.stream.open", "audit.stream.linked"}
    ]
    assert [reference for some in named for reference in some] == [head.reference for head in others]
    assert [len(some) for some in named[:-1]] == [MAX_PREDECESSORS] * (len(named) - 1)
    assert all(named[1:]), "no record about nothing"
    assert live.named == [head.directory for head in others if head.has_ended], "to be marked as named"
    assert live.mentions.names == {head.directory.name for head in others}, "retention asks"


def test_a_close_that_names_its_successor_counts_as_speaking_of_it(
    storage: FailingStorage, clock: FixedClock, issuer: Identity
) -> None:
    live = open_stream(storage, issuer, DECLARATION, Limits(), clock.clock())
    clock.advance(5)

    live.close("rotation", OTHER)

    close = written(storage)[-1]
    assert close["context"]["audit.successor"] == OTHER
    assert live.mentions.names == {OTHER}
    assert live.closed_at == close["observed"]


def test_a_record_about_the_log_is_known_by_its_reference(
    storage: FailingStorage, clock: FixedClock, issuer: Identity
) -> None:
    live = open_stream(storage, issuer, DECLARATION, Limits(), clock.clock())

    reference = live.write_lifecycle("audit.stream.recovered", {"audit.recovered.stream": OTHER})

    assert reference == live.stream.reference
    assert reference.split(":")[:2] == [live.stream.id, "3"]
    assert live.mentions.recovered == live.mentions.names == {OTHER}


@pytest.mark.parametrize("is_rotation", [False, True])
def test_a_successor_is_on_disk_before_the_close_names_it_and_a_first_stream_waits_for_no_disk(
    is_rotation: bool, storage: FailingStorage, clock: FixedClock, issuer: Identity
) -> None:
    old = open_stream(storage, issuer, DECLARATION, Limits(), clock.clock()) if is_rotation else None

    live = open_stream(storage, issuer, DECLARATION, Limits(), clock.clock(), after=old)

    assert live.synced_seq == (live.stream.seq if is_rotation else 0)


@pytest.mark.parametrize("error", [NoSpace(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_an_opening_that_failed_leaves_a_stream_that_others_may_end(
    error: Exception, storage: FailingStorage, clock: FixedClock, issuer: Identity
) -> None:
    storage.append_error = error

    with pytest.raises(type(error)):
        open_stream(storage, issuer, DECLARATION, Limits(), clock.clock())

    (slot,) = storage.slots.values()
    assert isinstance(slot, FailingSlot)
    assert (slot.is_closed, slot.is_released) == (True, True)


def test_a_stream_begins_where_no_event_has_room_so_that_what_is_lost_is_counted(
    storage: FailingStorage, clock: FixedClock, issuer: Identity
) -> None:
    storage.limit_bytes = 0

    open_stream(storage, issuer, DECLARATION, Limits(), clock.clock())

    assert [record["event"] for record in written(storage)] == ["audit.stream.open", "audit.policy"]


def test_a_step_of_the_clock_is_counted_from_the_opening_not_from_the_start_of_the_machine(
    storage: FailingStorage, clock: FixedClock, issuer: Identity
) -> None:
    clock.advance(7200)
    clock.step(3600)

    live = open_stream(storage, issuer, DECLARATION, Limits(), clock.clock())

    clock.advance(10)
    assert live.is_unfit(clock.time_unix_nano, clock.monotonic_nano) is None
