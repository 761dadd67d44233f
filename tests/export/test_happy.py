"""What was recorded arrives: sealed, in order, once, and what arrives verifies."""

from __future__ import annotations

import asyncio
from pathlib import Path

from otel_audit.evidence.identity import local_issuers
from otel_audit.verify import verify
from tests.export.conftest import MakeApp
from tests.export.sink import Sink
from tests.memory_source import MemorySource


def test_everything_arrives_and_what_arrives_verifies(app: MakeApp, sink: Sink, spool: Path) -> None:
    shop = app(sink)
    receipt = shop.emit(*range(2500))
    assert receipt.wait_delivered(30)
    shop.shutdown()

    assert sink.targets() == [str(number) for number in range(2500)]
    assert len(sink.bodies) == len(set(sink.bodies)), "nothing was sent twice"
    verdict = verify([MemorySource(sink.bodies)], trust=local_issuers(spool))
    assert (verdict.status, [f for f in verdict.findings if f.severity != "warning"]) == ("verified", [])
    assert sink.records[-1]["event"] == "audit.stream.close"


def test_a_receipt_can_be_awaited(app: MakeApp, sink: Sink) -> None:
    shop = app(sink)

    async def emit_and_wait() -> list[bool]:
        receipts = [shop.emit(number) for number in range(20)]
        return await asyncio.gather(*(receipt.delivered(30) for receipt in receipts))

    assert asyncio.run(emit_and_wait()) == [True] * 20
    assert sink.targets() == [str(number) for number in range(20)]
