"""What the draft audit signal asks of an API, where no other test says it (docs/draft-audit-signal.md)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import otel_audit
from otel_audit import Actor, InvalidEvent, NotConfigured, Target
from otel_audit.logger import install
from otel_audit.testing import recording


def test_a_logger_without_a_name_works_and_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with recording() as log:
        otel_audit.get_audit_logger("").emit("invoice.approve", action="APPROVE")

        assert log.find(event="invoice.approve")
    assert "without a name" in caplog.text


def test_a_logger_may_be_taken_before_configure() -> None:
    before = install(None)
    audit = otel_audit.get_audit_logger("billing")
    with pytest.raises(NotConfigured):
        audit.emit("invoice.approve", action="APPROVE")

    with recording() as log:
        audit.emit("invoice.approve", action="APPROVE")

        assert log.find(event="invoice.approve")
    install(before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"event": ""},
        {"event": "audit.seal"},
        {"action": ""},
        {"action": "approve"},
        {"outcome": "maybe"},
        {"actor": Actor("")},
        {"target": Target("", "invoice")},
        {"context": {"audit.sequence.number": 1}},
    ],
)
def test_a_mandatory_field_that_is_missing_or_malformed_is_refused(wrong: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"action": "APPROVE", **wrong}
    event = fields.pop("event", "invoice.approve")
    with recording() as log:
        with pytest.raises(InvalidEvent):
            otel_audit.get_audit_logger("billing").emit(event, **fields)

        assert log.records == []


def test_threads_emit_in_order_and_without_gaps() -> None:
    logger = otel_audit.get_audit_logger("billing")
    start = threading.Barrier(4)

    def work(name: str) -> None:
        start.wait()
        for number in range(250):
            logger.emit("item.read", action="READ", actor=Actor(name), context={"number": number})

    with recording() as log:
        threads = [threading.Thread(target=work, args=(f"worker {number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [record["seq"] for record in log.records if record["event"] == "item.read"] == sorted(
            record["seq"] for record in log.records
        )
        assert len(log.find(event="item.read")) == 1000
        for number in range(4):
            mine = log.find(actor=f"worker {number}")
            assert [record["context"]["number"] for record in mine] == list(range(250))
