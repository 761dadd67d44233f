"""What users' tests get: an audit log in memory, a clock, and failures that say what was recorded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from cryptography import x509

from otel_audit import Actor, InvalidSetting, Target, get_audit_logger
from otel_audit.logger import install, installed
from otel_audit.testing import AuditLog, recording
from otel_audit.verify import verify
from tests.memory_source import MemorySource

AUDIT = get_audit_logger("test")


def emit(actor: str, target: str, **more: Any) -> None:
    AUDIT.emit("invoice.approve", action="APPROVE", actor=Actor(actor), target=Target(target, "invoice"), **more)


def test_the_fixtures_share_one_log(audit_log: AuditLog, assert_audited: Callable[..., Any]) -> None:
    emit("alice", "invoice/42")

    record = assert_audited(actor="alice", action="APPROVE", target="invoice/42")

    assert record == audit_log.records[0]


def test_patterns_match_as_file_names_do_and_the_last_match_is_given(audit_log: AuditLog) -> None:
    emit("alice", "invoice/1")
    emit("alice", "invoice/2", outcome="failure")
    emit("bob", "note/1")

    assert audit_log.assert_audited(target="invoice/*")["target"]["id"] == "invoice/2"
    assert len(audit_log.find(actor="?????")) == 2
    assert len(audit_log.find(outcome="failure", event="invoice.*")) == 1
    assert audit_log.find(target="INVOICE/*") == []


def test_a_failure_says_what_was_asked_and_what_was_recorded(audit_log: AuditLog) -> None:
    emit("alice", "invoice/42")
    AUDIT.emit("job.run", action="EXECUTE")

    with pytest.raises(AssertionError) as failure:
        audit_log.assert_audited(actor="bob", action="APPROVE")

    assert str(failure.value) == (
        "not audited: actor='bob', action='APPROVE'\n"
        "recorded were:\n"
        "  invoice.approve alice APPROVE invoice/42 success\n"
        "  job.run test EXECUTE - success"
    )


def test_a_failure_with_nothing_recorded_says_so(audit_log: AuditLog) -> None:
    with pytest.raises(AssertionError, match=r"not audited: any event\nrecorded were:\n  nothing"):
        audit_log.assert_audited()


def test_a_count_is_exact_and_nought_means_not_recorded(audit_log: AuditLog) -> None:
    emit("alice", "invoice/42")

    assert audit_log.assert_audited(actor="bob", count=0) == {}
    audit_log.assert_audited(actor="alice", count=1)
    with pytest.raises(AssertionError, match=r"not audited 2 times \(found 1\): actor='alice'"):
        audit_log.assert_audited(actor="alice", count=2)
    with pytest.raises(AssertionError, match=r"not audited 0 times \(found 1\)"):
        audit_log.assert_audited(count=0)


def test_time_stands_still_until_it_is_advanced(audit_log: AuditLog) -> None:
    emit("alice", "invoice/1")
    emit("alice", "invoice/2")
    audit_log.clock.advance(90)
    emit("alice", "invoice/3")

    assert [record["observed"] for record in audit_log.records] == [
        "2026-01-01T00:00:00.000000000Z",
        "2026-01-01T00:00:00.000000000Z",
        "2026-01-01T00:01:30.000000000Z",
    ]


def test_the_log_is_a_whole_stream_that_verifies() -> None:
    """Users' tests see what production would write, not an imitation of it."""
    with recording() as log:
        for at in range(100):
            emit("alice", f"invoice/{at}")
        pipeline: Any = installed()
    issuer: x509.Certificate = pipeline.writer._identity._issuer

    verdict = verify([MemorySource(log.bodies)], trust=[issuer], now=datetime(2026, 1, 2, tzinfo=UTC))

    assert (verdict.status, verdict.records, verdict.streams[0].closed) == ("verified", 103, True)


def test_settings_can_be_given_and_a_wrong_one_is_an_error() -> None:
    with recording(OTEL_AUDIT_SIGN="record", OTEL_SERVICE_NAME="shop") as log:
        emit("alice", "invoice/42")
        AUDIT.emit("job.run", action="EXECUTE")

    assert all("sig" in record for record in log.records)
    assert log.records[1]["actor"]["id"] == "shop"
    with pytest.raises(InvalidSetting, match="OTEL_AUDIT_SIGN='never'"), recording(OTEL_AUDIT_SIGN="never"):
        raise AssertionError


def test_the_pipeline_of_the_process_is_put_back_also_after_a_failure(audit_log: AuditLog) -> None:
    before = installed()

    with pytest.raises(KeyError), recording():
        raise KeyError

    assert installed() is before
    emit("alice", "invoice/42")
    assert len(audit_log.records) == 1


def test_the_stream_is_closed_at_the_end_of_the_block() -> None:
    with recording() as log:
        emit("alice", "invoice/42")
        assert orjson.loads(log.bodies[-1])["event"] == "invoice.approve"

    assert orjson.loads(log.bodies[-1])["event"] == "audit.stream.close"


def test_where_nothing_was_recorded_before_nothing_is_installed_afterwards() -> None:
    previous = install(None)
    try:
        with recording():
            assert installed() is not None
        assert installed() is None
    finally:
        install(previous)
