"""`@audited`: one event a call, made when it has ended, and no work where none can be recorded."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from otel_audit import InvalidEvent, NoRoom, NotConfigured, Target, audited
from otel_audit.logger import install, installed
from otel_audit.testing import AuditLog, recording


def approve(done: list[int], invoice: int) -> str:
    done.append(invoice)
    return f"approved {invoice}"


def invoice_of(done: list[int], invoice: int) -> Target:
    return Target(f"invoice/{invoice}", "invoice")


@pytest.fixture
def done() -> list[int]:
    """What the audited function has done."""
    return []


def test_a_call_is_recorded_with_the_target_its_arguments_name(
    audit_log: AuditLog, done: list[int], assert_audited: Callable[..., Any]
) -> None:
    decorated = audited("invoice.approve", action="APPROVE", target=invoice_of)(approve)

    assert decorated(done, invoice=42) == "approved 42"
    assert_audited(event="invoice.approve", action="APPROVE", target="invoice/42", outcome="success", count=1)
    assert decorated.__name__ == "approve"
    assert done == [42]


def test_a_fixed_target_and_none_are_recorded_as_they_are(audit_log: AuditLog, done: list[int]) -> None:
    audited("a.b", action="READ", target=Target("all", "invoice"))(approve)(done, 1)
    audited("a.b", action="READ")(approve)(done, 1)

    assert [record.get("target") for record in audit_log.records] == [{"id": "all", "type": "invoice"}, None]


def test_a_failure_has_the_class_of_its_exception_and_never_the_message(audit_log: AuditLog) -> None:
    @audited("invoice.approve", action="APPROVE")
    def fail() -> None:
        raise ValueError("the password is hunter2")

    with pytest.raises(ValueError, match="hunter2"):
        fail()

    record = audit_log.assert_audited(event="invoice.approve", outcome="failure")
    assert record["context"] == {"error.type": "ValueError"}
    assert not any(b"hunter2" in body for body in audit_log.bodies)


def test_a_coroutine_function_is_recorded_when_it_has_ended(audit_log: AuditLog) -> None:
    seen: list[int] = []

    @audited("invoice.approve", action="APPROVE")
    async def work(fails: bool) -> str:
        await asyncio.sleep(0)
        seen.append(len(audit_log.records))
        if fails:
            raise LookupError
        return "done"

    assert asyncio.run(work(False)) == "done"
    with pytest.raises(LookupError):
        asyncio.run(work(True))
    assert seen == [0, 1]
    assert [record["outcome"] for record in audit_log.records] == ["success", "failure"]


def test_a_cancelled_coroutine_is_a_failure(audit_log: AuditLog) -> None:
    @audited("invoice.approve", action="APPROVE")
    async def forever() -> None:
        await asyncio.Event().wait()

    async def cancel() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())

    assert audit_log.assert_audited(outcome="failure")["context"] == {"error.type": "CancelledError"}


def own_invoice(invoice: Any) -> Target:
    return Target(f"invoice/{invoice.number}", "invoice")


def test_a_method_is_decorated_like_a_function(audit_log: AuditLog) -> None:
    class Invoice:
        def __init__(self, number: int) -> None:
            self.number = number

        @audited("invoice.approve", action="APPROVE", target=own_invoice)
        def approve(self) -> int:
            return self.number

    assert Invoice(7).approve() == 7
    audit_log.assert_audited(target="invoice/7")


def broken(done: list[int], invoice: int) -> Target:
    raise LookupError(invoice)


def of_another_signature(invoice: int) -> Target:
    return Target(f"{invoice}", "invoice")


def no_target(done: list[int], invoice: int) -> Any:
    return invoice


def number_as_id(done: list[int], invoice: Any) -> Target:
    return Target(invoice, "invoice")


def empty_id(done: list[int], invoice: int) -> Target:
    return Target("", "invoice")


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (broken, LookupError),
        (of_another_signature, TypeError),
        (no_target, InvalidEvent),
        (number_as_id, InvalidEvent),
        (empty_id, InvalidEvent),
    ],
)
def test_a_target_that_cannot_be_told_stops_the_call_before_anything_has_happened(
    target: Any, error: type[Exception], audit_log: AuditLog, done: list[int]
) -> None:
    decorated = audited("a.b", action="READ", target=target)(approve)

    with pytest.raises(error):
        decorated(done, 42)

    assert done == []
    assert audit_log.records == []


def test_without_a_pipeline_the_work_is_not_done(done: list[int]) -> None:
    previous = install(None)
    try:
        with pytest.raises(NotConfigured):
            audited("a.b", action="READ")(approve)(done, 42)
    finally:
        install(previous)

    assert done == []


def test_in_fail_mode_closed_the_work_is_refused_before_it_begins_when_there_is_no_room(done: list[int]) -> None:
    decorated = audited("a.b", action="READ")(approve)

    with recording(OTEL_AUDIT_FAIL_MODE="closed") as log:
        decorated(done, 1)
        pipeline: Any = installed()
        pipeline.writer.storage.limit_bytes = pipeline.writer.storage.used_bytes
        with pytest.raises(NoRoom):
            decorated(done, 2)
        pipeline.writer.storage.limit_bytes = 1 << 30
        decorated(done, 3)
        admitted: int = pipeline.writer._admitted

    assert done == [1, 3]
    assert len(log.records) == 2
    assert admitted == 0


def test_generators_are_refused_when_they_are_decorated() -> None:
    def lazy() -> Iterator[int]:
        yield 1

    async def lazy_async() -> AsyncIterator[int]:
        yield 1

    for function in (lazy, lazy_async, functools.partial(lazy)):
        with pytest.raises(InvalidEvent, match=r"audited\('a.b'\): a generator ends when its reader likes"):
            audited("a.b", action="READ")(function)


@pytest.mark.parametrize(
    ("event", "action", "target"),
    [("", "READ", None), ("audit.seal", "READ", None), ("a.b", "read", None), ("a.b", "READ", Target("", "x"))],
)
def test_what_no_event_may_be_called_is_refused_when_it_is_decorated(event: str, action: str, target: Any) -> None:
    with pytest.raises(InvalidEvent):
        audited(event, action=action, target=target)
