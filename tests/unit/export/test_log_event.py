"""Which attribute of anybody's log record is which member; what is none is kept aside, and nothing is refused."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LogRecordDroppedAttributesWarning, LogRecordLimits, ReadWriteLogRecord
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_audit.event import Actor, AuditEvent, Source, Target
from otel_audit.evidence.canonical import encode
from otel_audit.evidence.members import event_members, without_surrogates
from otel_audit.export.log_event import event_of

SERVICE = Actor("shop", "service")
UNLIMITED = LogRecordLimits(*4 * (LogRecordLimits.UNSET,))


def event(attributes: dict[str, Any] | None = None, logger: str = "audit", **parts: Any) -> AuditEvent:
    record = LogRecord(attributes=attributes, **parts)
    return event_of(ReadWriteLogRecord(record, None, InstrumentationScope(logger), UNLIMITED))


def context(attributes: dict[str, Any]) -> dict[str, Any]:
    """What comes of the attributes in a record's context, in the record's own bytes."""
    members = event_members(event(attributes), actor=SERVICE, source=None, trace_id=None, span_id=None)
    encode(without_surrogates(members))
    return {name: value for name, value in members["context"].items() if name != "otel.scope.name"}


def test_attributes_of_the_draft_become_members() -> None:
    made = event(
        {
            "audit.actor.id": "alice",
            "audit.actor.type": "service",
            "audit.actor.auth": "mtls",
            "audit.actor.name": "Alice",
            "audit.actor.on_behalf_of.id": "bob",
            "audit.action": "approve",
            "audit.outcome": "failure",
            "audit.target.id": "invoice/42",
            "audit.target.type": "invoice",
            "audit.source.id": "192.0.2.7",
            "invoice.total_cents": 120000,
        },
        event_name="invoice.approve",
        timestamp=1_700_000_000_000_000_000,
    )

    assert made.event == "invoice.approve"
    assert made.actor == Actor("alice", "service", "mtls", "Alice", Actor("bob"))
    assert (made.action, made.outcome) == ("APPROVE", "failure")
    assert (made.target, made.source) == (Target("invoice/42", "invoice"), Source("192.0.2.7", "ipv4"))
    assert made.time_unix_nano == 1_700_000_000_000_000_000
    assert made.context == {"invoice.total_cents": 120000, "otel.scope.name": "audit"}


def test_what_is_missing_is_unknown_and_the_logger_names_the_event() -> None:
    made = event(logger="billing")

    assert (made.event, made.action, made.outcome) == ("billing", "UNKNOWN", "unknown")
    assert (made.actor, made.target, made.source) == (None, None, None)


def test_a_named_actor_is_the_applications_word() -> None:
    assert event({"audit.actor.id": 42}).actor == Actor("42", "user", "explicit")


def test_text_and_severity_are_kept_in_the_context() -> None:
    made = event(body="invoice approved", severity_number=SeverityNumber.WARN, severity_text="WARN")

    assert made.context == {
        "log.body": "invoice approved",
        "log.severity_number": 13,
        "log.severity_text": "WARN",
        "otel.scope.name": "audit",
    }


def test_nobody_speaks_as_the_log_itself() -> None:
    """A record of event audit.seal or audit.gap in somebody's own words would be a lie, or break the stream."""
    assert event(event_name="audit.seal").event == "log.audit.seal"
    assert event(logger="audit.gap").event == "log.audit.gap"
    assert context({"audit.seal.root": "00", "audit.record.id": "mine"}) == {
        "log.audit.seal.root": "00",
        "log.audit.record.id": "mine",
    }


def test_a_claimed_name_is_hashed_and_a_reason_stays() -> None:
    made = context({"audit.actor.claimed": "hunter2", "audit.reason": "denied"})

    assert made["audit.reason"] == "denied"
    assert made["audit.actor.claimed"].startswith("hash:")
    assert "hunter2" not in str(made)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("audit.outcome", "maybe"),
        ("audit.actor.auth", ["basic"]),
        ("audit.outcome", {"is": "success"}),
        ("audit.source.type", "carrier pigeon"),
        ("audit.action", {"verb": "READ"}),
        ("audit.target.id", ""),
    ],
)
def test_a_value_that_no_member_can_have_is_kept_aside(attribute: str, value: object) -> None:
    assert f"log.{attribute}" in context({attribute: value})


def test_values_without_a_form_of_their_own_become_text() -> None:
    made = context(
        {
            "bytes": b"\x00\xff",
            "map": {"b": [1, 2.5], "a": None},
            "mixed": ["a", 1],
            "none": None,
            "float": 0.5,
            "large": 2**60,
            "surrogate": "\ud800",
        }
    )

    assert made == {
        "bytes": "AP8=",
        "map": '{"b":[1,2.5],"a":null}',
        "mixed": ["a", "1"],
        "float": "0.5",
        "large": str(2**60),
        "surrogate": made["surrogate"],
    }


def test_a_name_that_a_record_cannot_have_is_percent_encoded() -> None:
    assert context({"größe in m": 1}) == {"gr%C3%B6%C3%9Fe%20in%20m": 1}
    assert [len(name) for name in context({"x" * 300: 1})] == [256]


def test_a_value_nested_beyond_measure_is_named_by_its_type() -> None:
    nested: Any = "end"
    for _ in range(100_000):
        nested = [nested]

    made = event_of(ReadWriteLogRecord(LogRecord(body=nested), None, InstrumentationScope("audit"), UNLIMITED))

    assert made.context is not None
    assert made.context["log.body"] == "<list>"


@pytest.mark.parametrize("timestamp", [-1, 0, 2**70, "soon", None])
def test_a_time_that_cannot_be_is_now(timestamp: Any) -> None:
    assert event(timestamp=timestamp).time_unix_nano is None


def test_attributes_that_the_sdk_dropped_are_counted() -> None:
    """opentelemetry-sdk 1.45 cuts attributes before any processor sees them."""
    limits = LogRecordLimits(max_log_record_attributes=1)
    with pytest.warns(LogRecordDroppedAttributesWarning):
        record = ReadWriteLogRecord(
            LogRecord(attributes={"a": 1, "b": 2}), None, InstrumentationScope("audit"), limits
        )

    assert event_of(record).context == {"b": 2, "otel.scope.name": "audit", "log.dropped_attributes": 1}
