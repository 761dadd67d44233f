"""An exception of a signal handler (KeyboardInterrupt, gunicorn's SystemExit) wherever CPython lets one in."""

from __future__ import annotations

import contextlib
import dis
import functools
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import otel_audit
from otel_audit.configure import build, read_policy
from otel_audit.event import AuditEvent
from otel_audit.evidence.identity import self_identity
from otel_audit.pipeline import AuditPipeline
from otel_audit.receipt import Receipt
from otel_audit.settings import Settings
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.layout import make_directory
from otel_audit.spool.room import Room
from otel_audit.spool.storage import DiskStorage
from otel_audit.testing import FixedClock
from tests.autoload.servers import Spool

SOURCES = (str(Path(otel_audit.__file__).parent), contextlib.__file__)
LETS_IN = ("CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD", "RESUME")
"""After these CPython looks for signals (Python/ceval.c, CHECK_EVAL_BREAKER)."""

EVENT = AuditEvent("item.read", "READ", "success")


class Interrupt(BaseException):
    """What the handler raises."""


def interrupt() -> None:
    """What a handler does that ends the program."""
    raise Interrupt


def interrupted(action: Callable[[], Any], at: int, handler: Callable[[], Any] = interrupt) -> bool:
    """Do *action*, with *handler* at chance number *at* inside the package; False when there are fewer."""
    count = 0
    was_raised = False
    before: dict[int, bool] = {}  # by the frame's id: a reference would keep alive what its end closes

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count, was_raised
        frame.f_trace_opcodes = True
        if event == "opcode" and not was_raised:
            lets_in = before.get(id(frame), False)
            before[id(frame)] = _name(frame.f_code, frame.f_lasti) in LETS_IN
            count += lets_in
            if count > at:
                was_raised = True
                handler()
        if event == "return":
            before.pop(id(frame), None)
        return trace

    def begin(frame: FrameType, event: str, argument: Any) -> Any:
        return trace(frame, event, argument) if frame.f_code.co_filename.startswith(SOURCES) else None

    sys.settrace(begin)
    try:
        action()
    except Interrupt:
        pass
    finally:
        sys.settrace(None)
    return was_raised


@functools.cache
def _name(code: CodeType, offset: int) -> str:
    return dis.opname[code.co_code[offset]]


def pipeline_on(spool: Path, **environment: str) -> AuditPipeline:
    """A pipeline whose thread never starts."""
    settings = Settings.from_environ({"OTEL_SERVICE_NAME": "shop", "OTEL_AUDIT_DIR": str(spool), **environment})
    make_directory(spool)
    storage = DiskStorage(spool, "shop", Room(spool, settings.spool_max_bytes, settings.spool_reserve))
    pipeline = build(settings, read_policy(settings), storage, self_identity(spool), Alarms())
    pipeline.writer.on_work = lambda: None
    return pipeline


@pytest.mark.parametrize("sign", ["seal", "record"])
def test_an_interrupt_at_any_point_of_an_emit_never_spoils_the_chain(sign: str, spool: Path, state: Spool) -> None:
    pipeline = pipeline_on(spool, OTEL_AUDIT_SIGN=sign)
    accepted = [pipeline.record(EVENT)]
    at = 0
    while interrupted(lambda: accepted.append(pipeline.record(EVENT)), at):
        accepted.append(pipeline.record(EVENT))
        at += 1
    assert at > 20
    pipeline.keeper.tick()  # ends the streams that had to be given up
    pipeline.shutdown(5.0)

    ids = {f"{record['stream']}-{record['seq']}" for record in state.records()}
    assert {receipt.record_id for receipt in accepted} <= ids
    state.assert_verified(later=timedelta(days=1))


def test_an_interrupted_opening_leaves_nothing_that_cannot_be_ended(tmp_path: Path) -> None:
    """The first event of a process: its stream's key, directory, lock, segment, open and policy."""
    for number in range(25):
        state = Spool(tmp_path / str(number))
        pipeline = pipeline_on(state.directory)
        assert interrupted(lambda: pipeline.record(EVENT), number * 9)  # noqa: B023 - done at once
        pipeline.record(EVENT)
        pipeline.keeper.tick()
        pipeline.shutdown(5.0)
        state.assert_verified(later=timedelta(days=1))


@pytest.mark.parametrize(("what", "step"), [("seal", 3), ("close", 5), ("replace", 17)])
def test_an_interrupted_seal_or_rotation_never_spoils_the_chain(what: str, step: int, tmp_path: Path) -> None:
    for number in range(15):
        state = Spool(tmp_path / str(number))
        pipeline = pipeline_on(state.directory)
        writer = pipeline.writer
        pipeline.record(EVENT)
        live = writer.live
        assert live is not None

        def act() -> None:
            with writer.making():  # noqa: B023 - done at once
                if what == "replace":
                    writer.replace("rotation")  # noqa: B023 - likewise
                elif what == "seal":
                    live.seal()  # noqa: B023 # pyright: ignore[reportOptionalMemberAccess] - likewise
                else:
                    writer.shut()  # noqa: B023 - likewise

        assert interrupted(act, number * step)
        if what != "close":
            pipeline.record(EVENT)
        pipeline.shutdown(5.0)
        last = pipeline_on(state.directory)
        last.keeper.tick()
        last.shutdown(5.0)
        state.assert_verified(later=timedelta(days=1))


@pytest.mark.parametrize("what", ["emit", "seal", "rotation"])
def test_an_event_of_a_handler_or_finaliser_at_any_point_follows_in_the_chain(
    what: str, spool: Path, state: Spool
) -> None:
    """The collector runs finalisers in any thread, the keeper's too, at any allocation; they may commit, say."""
    pipeline = pipeline_on(spool)
    writer = pipeline.writer
    clock = FixedClock(time.time_ns())
    writer.clock = clock.clock()
    pipeline.record(EVENT)
    inside: list[Receipt] = []

    def act() -> None:
        if what == "emit":
            pipeline.record(EVENT)
        elif what == "seal":
            clock.advance(30)
            writer.seal_if_due()
        else:
            with writer.making():
                writer.replace("rotation")

    for number in range(40):
        interrupted(act, number, lambda: inside.append(pipeline.record(EVENT)))
    pipeline.shutdown(5.0)

    assert len(inside) >= 20
    assert all(receipt.recorded for receipt in inside)
    state.assert_verified()


def test_an_interrupt_between_an_outer_and_an_inner_hold_of_the_writer_leaves_it_usable(spool: Path) -> None:
    """The inner one is let go of by the collector, after the outer: it must not put back what it had found."""
    pipeline = pipeline_on(spool)
    writer = pipeline.writer

    def act() -> None:
        with writer.making(), writer.making():
            pass

    at = 0
    while interrupted(act, at):
        assert pipeline.record(EVENT).recorded
        at += 1
    assert at > 5
    pipeline.shutdown(5.0)
