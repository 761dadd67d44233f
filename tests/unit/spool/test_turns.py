"""Whose turn it is: what is emitted in the middle of a record follows it, and a forked child begins anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_audit.event import Actor, AuditEvent
from otel_audit.receipt import Receipt
from otel_audit.spool.writer import Writer

from .conftest import Process, c_fork, in_child, records

EVENT = AuditEvent("item.read", "READ", "success", Actor("alice", "user", "session"))


def test_what_is_emitted_while_records_are_made_follows_them(
    process: Process, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = process()
    writer = pipeline.writer
    stream = pipeline.record(EVENT).stream
    receipts: list[Receipt] = []

    with writer.making():
        with writer.making():
            receipts.append(pipeline.record(EVENT))
        receipts.append(pipeline.record(EVENT))
        assert [receipt.recorded for receipt in receipts] == [False, False]
        writer.alarms.note("spool", "trouble")
        writer.seal_if_due()
        assert len(records(spool, stream)) == 3

    assert [(receipt.recorded, receipt.seq) for receipt in receipts] == [(True, 4), (True, 5)]
    assert "trouble" in caplog.text, "said once the lock is given back: a handler of the log may be audited"
    assert pipeline.record(EVENT).seq == 6


def test_an_action_for_later_is_done_at_once_where_nothing_is_being_made(process: Process) -> None:
    writer = process().writer
    done: list[str] = []

    writer.when_idle(lambda: done.append("at once"))
    with writer.making():
        writer.when_idle(lambda: done.append("afterwards"))
        done.append("meanwhile")

    assert done == ["at once", "meanwhile", "afterwards"]


def test_a_stream_that_broke_within_an_interrupted_turn_is_given_up_at_once(process: Process) -> None:
    """Its lock keeps other processes from ending it."""
    pipeline = process()
    pipeline.record(EVENT)
    live = pipeline.writer.live
    assert live is not None
    live.is_broken = True

    with pytest.raises(KeyboardInterrupt), pipeline.writer.making():
        raise KeyboardInterrupt

    assert pipeline.writer.live is None
    assert not live.slot.is_held()
    assert pipeline.record(EVENT).recorded


FIRST: dict[str, Callable[[Writer], object]] = {
    "loses an event": lambda writer: writer.lose("invalid"),
    "leaves one out": lambda writer: writer.skip(),
    "asks for streams that ended": lambda writer: writer.take_ended(),
    "asks for its stream": lambda writer: writer.present_id(),
    "puts something off": lambda writer: writer.when_idle(lambda: None),
    "tells what was lost": lambda writer: writer.tell_gaps(),
    "lets a request in": lambda writer: writer.admit()(),
}


@pytest.mark.parametrize("fork", [os.fork, c_fork], ids=["os.fork", "fork(2)"])
@pytest.mark.parametrize("first", FIRST)
def test_whatever_a_forked_child_does_first_it_does_as_a_process_of_its_own(
    first: str, fork: Callable[[], int], process: Process, spool: Path
) -> None:
    pipeline = process()
    writer = pipeline.writer
    stream = pipeline.record(EVENT).stream
    parents = writer.live

    def begins_anew() -> bool:
        FIRST[first](writer)
        return writer.live is not parents and writer.tally.emitted == 0

    assert in_child(begins_anew, fork)

    assert pipeline.record(EVENT).stream == stream
    assert len(records(spool, stream)) == 4


@pytest.mark.parametrize("fork", [os.fork, c_fork], ids=["os.fork", "fork(2)"])
def test_an_event_of_a_forked_child_stands_in_a_stream_of_its_own(
    fork: Callable[[], int], process: Process, spool: Path
) -> None:
    pipeline = process()
    stream = pipeline.record(EVENT).stream

    def has_its_own() -> bool:
        receipt = pipeline.record(EVENT)
        return receipt.recorded and receipt.stream != stream and len(records(spool, receipt.stream)) == 3

    assert in_child(has_its_own, fork)

    assert pipeline.record(EVENT).seq == 4
