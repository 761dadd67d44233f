"""`acting_as`: who acts, in blocks, tasks, threads and requests."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import threading
from typing import Any

import pytest

from otel_audit import Actor, InvalidEvent, acting_as, get_audit_logger
from otel_audit.capture.request import RequestScope, current_request
from otel_audit.testing import AuditLog

AUDIT = get_audit_logger("test")


def emit() -> None:
    AUDIT.emit("a.b", action="READ")


def actors(log: AuditLog) -> list[str]:
    return [record["actor"]["id"] for record in log.records]


def test_the_innermost_block_names_the_actor_and_each_end_brings_back_the_one_before(audit_log: AuditLog) -> None:
    emit()
    with acting_as(Actor("alice")):
        emit()
        with acting_as(Actor("bob", "service")):
            emit()
        emit()
    emit()

    assert actors(audit_log) == ["test", "alice", "bob", "alice", "test"]


def test_the_application_s_word_is_explicit_unless_it_says_how_it_knows(audit_log: AuditLog) -> None:
    with acting_as(Actor("alice")) as actor:
        emit()
    with acting_as(Actor("alice", auth="mtls")):
        emit()

    assert actor.auth == "explicit"
    assert [record["actor"]["auth"] for record in audit_log.records] == ["explicit", "mtls"]


def test_an_exception_ends_the_block_too(audit_log: AuditLog) -> None:
    with pytest.raises(KeyError), acting_as(Actor("alice")):
        raise KeyError
    emit()

    assert actors(audit_log) == ["test"]


def test_tasks_inherit_the_actor_and_do_not_disturb_each_other(audit_log: AuditLog) -> None:
    async def work(name: str, ready: asyncio.Barrier) -> None:
        with acting_as(Actor(name)):
            await ready.wait()
            await asyncio.create_task(AUDIT.emit_async("a.b", action="READ"))

    async def both() -> None:
        ready = asyncio.Barrier(2)
        await asyncio.gather(work("alice", ready), work("bob", ready))

    asyncio.run(both())

    assert sorted(actors(audit_log)) == ["alice", "bob"]


def test_a_thread_is_nobody_unless_it_runs_in_a_copy_of_the_context(audit_log: AuditLog) -> None:
    with acting_as(Actor("alice")):
        bare = threading.Thread(target=emit)
        inheriting = threading.Thread(target=contextvars.copy_context().run, args=(emit,))
        for thread in (bare, inheriting):
            thread.start()
            thread.join()

    assert actors(audit_log) == ["test", "alice"]


def test_inside_a_request_it_outranks_the_framework_and_names_the_request_s_own_record(audit_log: AuditLog) -> None:
    request = RequestScope(
        trace_id="a" * 32,
        span_id="b" * 16,
        source=None,
        path="/",
        method="GET",
        resolve_actor=lambda: Actor("carol"),
    )
    token = current_request.set(request)
    try:
        emit()
        with acting_as(Actor("alice")):
            emit()
        emit()
    finally:
        current_request.reset(token)

    assert actors(audit_log) == ["carol", "alice", "alice"]


@pytest.mark.parametrize("wrong", [Actor(""), Actor(42), Actor("a", "admin"), "alice", None])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def test_a_malformed_actor_is_an_error_at_the_call(wrong: Any) -> None:
    with pytest.raises(InvalidEvent, match="actor"), acting_as(wrong):
        raise AssertionError


def test_an_identity_of_an_enumeration_is_recorded_by_its_text(audit_log: AuditLog) -> None:
    class Robot(enum.StrEnum):
        NIGHTLY = "nightly-job"

    with acting_as(Actor(Robot.NIGHTLY, "service")):
        emit()

    assert actors(audit_log) == ["nightly-job"]
