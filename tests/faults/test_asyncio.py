"""Events of coroutines: the loop never waits for the disk, and each task acts as itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import otel_audit
from otel_audit.logger import installed
from otel_audit.pipeline import AuditPipeline
from otel_audit.settings import Settings
from tests.autoload.servers import PATIENCE_S, Spool


@pytest.fixture
def pipeline(spool: Path) -> Iterator[AuditPipeline]:
    """This process audits, and syncs before it says so."""
    environment = {"OTEL_SERVICE_NAME": "shop", "OTEL_AUDIT_DIR": str(spool), "OTEL_AUDIT_FSYNC": "always"}
    otel_audit.configure(Settings.from_environ(environment))
    pipeline = installed()
    assert isinstance(pipeline, AuditPipeline)
    yield pipeline
    otel_audit.shutdown()


def test_a_disk_that_does_not_answer_does_not_stop_the_loop(
    pipeline: AuditPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = otel_audit.get_audit_logger("test")
    audit.emit("item.read", action="READ")
    live = pipeline.writer.live
    assert live is not None
    answers = threading.Event()
    monkeypatch.setattr(live.slot, "sync", lambda: answers.wait(PATIENCE_S))

    async def main() -> tuple[bool, bool]:
        task = asyncio.create_task(audit.emit_async("item.update", action="UPDATE"))
        while live.stream.seq < 4:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        was_waiting = not task.done()
        answers.set()
        return was_waiting, (await task).recorded

    assert asyncio.run(main()) == (True, True)


def test_sixty_four_tasks_act_each_as_themselves(pipeline: AuditPipeline, state: Spool) -> None:
    audit = otel_audit.get_audit_logger("test")

    async def act(number: int) -> None:
        with otel_audit.acting_as(otel_audit.Actor(f"user-{number}", "user")):
            for step in range(3):
                target = otel_audit.Target(f"{number}", "item")
                receipt = await audit.emit_async(f"item.step{step}", action="READ", target=target)
                assert receipt.recorded
                await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(act(number) for number in range(64)))

    asyncio.run(main())
    otel_audit.shutdown()

    records = state.records()
    assert len(records) == 192
    assert {record["actor"]["id"] for record in records} == {f"user-{number}" for number in range(64)}
    assert all(record["actor"]["id"] == f"user-{record['target']['id']}" for record in records)
    state.assert_verified()
