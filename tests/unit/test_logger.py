"""The door that an application's own events enter by: what it takes, and what it says otherwise."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import otel_audit
from otel_audit import Actor, InvalidEvent, NotConfigured, Settings, Source, Target, get_audit_logger, login_failed
from otel_audit.event import AuditEvent
from otel_audit.logger import install, installed
from otel_audit.pipeline import AuditPipeline
from otel_audit.testing import AuditLog, recording

AUDIT = get_audit_logger("test")


@pytest.fixture
def alone() -> Iterator[None]:
    """A process without a pipeline, before and after."""
    previous = install(None)
    yield
    otel_audit.shutdown()
    install(previous)


def test_a_full_event_is_recorded_with_all_that_was_given(audit_log: AuditLog) -> None:
    receipt = AUDIT.emit(
        "invoice.approve",
        action="APPROVE",
        outcome="failure",
        actor=Actor("alice", "user", "session", "Alice", Actor("bob", "service")),
        target=Target("invoice/42", "invoice"),
        source=Source("198.51.100.7", "ipv4"),
        time_unix_nano=1,
        context={"invoice.total_cents": 120_000},
    )

    record = audit_log.records[0]
    assert receipt.recorded
    assert receipt.record_id == f"{record['stream']}-{record['seq']}"
    assert receipt.record_hash == hashlib.sha256(audit_log.bodies[receipt.seq - 1]).hexdigest()
    assert record["time"] == "1970-01-01T00:00:00.000000001Z"
    assert record["actor"] == {
        "id": "alice",
        "type": "user",
        "auth": "session",
        "name": "Alice",
        "on_behalf_of": {"id": "bob", "type": "service"},
    }
    assert record["target"] == {"id": "invoice/42", "type": "invoice"}
    assert record["source"] == {"id": "198.51.100.7", "type": "ipv4"}
    assert (record["event"], record["action"], record["outcome"]) == ("invoice.approve", "APPROVE", "failure")
    assert record["context"] == {"invoice.total_cents": 120_000}


def test_work_that_no_request_caused_is_the_service_itself(audit_log: AuditLog) -> None:
    AUDIT.emit("job.run", action="EXECUTE")

    assert audit_log.records[0]["actor"] == {"id": "test", "type": "service"}


def test_an_awaited_event_is_recorded_too(audit_log: AuditLog) -> None:
    receipt = asyncio.run(AUDIT.emit_async("job.run", action="EXECUTE"))

    assert receipt.recorded
    audit_log.assert_audited(event="job.run")


def test_action_must_be_given() -> None:
    with pytest.raises(TypeError, match="action"):
        AUDIT.emit("a.b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"event": ""}, "event='': expected a name such as 'invoice.approve'"),
        ({"event": None}, "event=None"),
        ({"event": 7}, r"event=\(int\)"),
        ({"event": "audit.seal"}, r"event='audit.seal': .* not of 'audit\.\*'"),
        ({"action": ""}, "action='': expected an upper-case verb"),
        ({"action": "Read"}, "action='Read': expected an upper-case verb"),
        ({"action": ["READ"]}, r"action=\(list\)"),
        ({"outcome": "ok"}, "outcome='ok': expected one of success, failure, unknown"),
        ({"outcome": None}, "outcome=None"),
        ({"outcome": []}, r"outcome=\(list\)"),
        ({"actor": "alice"}, "actor='alice': expected an Actor"),
        ({"actor": Actor("")}, "actor: id='': expected a string that is not empty"),
        ({"actor": Actor(42)}, r"actor: id=\(int\): expected a string"),  # type: ignore[arg-type]
        ({"actor": Actor("a", "admin")}, "actor: type='admin': expected one of user, service, system"),  # type: ignore[arg-type]
        ({"actor": Actor("a", auth="kerberos")}, "actor: auth='kerberos': expected one of session"),  # type: ignore[arg-type]
        ({"actor": Actor("a", name=b"A")}, r"actor: name=\(bytes\): expected a string"),  # type: ignore[arg-type]
        ({"actor": Actor("a", on_behalf_of=Actor(""))}, "actor: id=''"),
        ({"target": Target("", "invoice")}, "target: id=''"),
        ({"target": Target("42", "")}, "type='': expected strings that are not empty"),
        ({"target": "invoice/42"}, "target='invoice/42': expected a Target"),
        ({"source": Source("1.2.3.4", "ip")}, "type='ip': expected an address, and one of ipv4, ipv6, hostname"),  # type: ignore[arg-type]
        ({"source": "1.2.3.4"}, "source='1.2.3.4': expected a Source"),
        ({"time_unix_nano": 1.5}, r"time_unix_nano=\(float\): expected whole nanoseconds since 1970"),
        ({"time_unix_nano": True}, r"time_unix_nano=\(bool\)"),
        ({"time_unix_nano": -(10**30)}, r"time_unix_nano=\(int\)"),
        ({"context": ["a"]}, r"context=\(list\): expected a mapping"),
        ({"context": {7: "a"}}, r"context name \(int\): expected 1 to 256 characters"),
        ({"context": {"a b": "a"}}, "context name 'a b': expected 1 to 256 characters of ASCII without spaces"),
        ({"context": {"audit.seal.root": "a"}}, r"context name 'audit.seal.root': names of 'audit\.\*' belong to"),
        ({"context": {"a": b"b"}}, "context 'a': a value of type bytes cannot be recorded; expected a string"),
        ({"context": {"a": [["b"]]}}, "context 'a': a value of type list cannot be recorded"),
        ({"context": {"a": [None]}}, "context 'a': a value of type NoneType cannot be recorded"),
        ({"context": {"a": 10**5000}}, "context 'a': an integer of 16610 bits is too long"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_an_error_at_the_call_and_nothing_is_recorded(
    wrong: dict[str, Any], message: str, audit_log: AuditLog
) -> None:
    arguments: dict[str, Any] = {"event": "a.b", "action": "READ", **wrong}

    with pytest.raises(InvalidEvent, match=message):
        AUDIT.emit(arguments.pop("event"), **arguments)

    assert audit_log.records == []


def test_a_list_that_holds_itself_is_refused_and_does_not_exhaust_the_stack(audit_log: AuditLog) -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(InvalidEvent, match="a value of type list"):
        AUDIT.emit("a.b", action="READ", context={"a": endless})


def test_an_event_of_an_instrumentation_that_cannot_be_recorded_is_logged_and_counted(
    audit_log: AuditLog, caplog: pytest.LogCaptureFixture
) -> None:
    """A request must not break for its own record, and the log says that one is missing."""
    AUDIT.emit_event(AuditEvent("a.b", "READ", "success", context={"a": object()}))  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    AUDIT.emit("c.d", action="READ")

    gap = next(members for members in map(orjson.loads, audit_log.bodies) if members["event"] == "audit.gap")
    assert "test: an event of a.b could not be recorded" in caplog.text
    assert (gap["context"]["audit.gap.count"], gap["context"]["audit.reason"]) == (1, "invalid")


# Sign-ins


def test_the_name_tried_at_a_failed_sign_in_is_hashed_under_the_configured_key() -> None:
    key = "sixteen characters and more"

    with recording(OTEL_AUDIT_HASH_KEY=key) as log:
        login_failed("hunter2", reason="wrong password", context={"user.country": "CH"})

    record = log.assert_audited(event="user.login_failed", action="LOGIN", outcome="failure")
    assert record["actor"]["id"] == "test"
    assert record["context"] == {
        "audit.actor.claimed": f"hash:{hmac.digest(key.encode(), b'hunter2', 'sha256').hex()}",
        "audit.reason": "wrong password",
        "user.country": "CH",
    }
    assert not any(b"hunter2" in body for body in log.bodies)


def test_a_failed_sign_in_without_a_name_is_recorded_as_denied(audit_log: AuditLog) -> None:
    login_failed()

    assert audit_log.records[0]["context"] == {"audit.reason": "denied"}


@pytest.mark.parametrize(
    ("claimed", "context", "message"),
    [(b"alice", None, r"claimed=\(bytes\)"), ("a", {"audit.seal.root": "b"}, "belong to"), ("a", ["b"], "mapping")],
)
def test_a_wrong_argument_of_a_failed_sign_in_is_an_error_at_the_call(
    claimed: Any, context: Any, message: str, audit_log: AuditLog
) -> None:
    with pytest.raises(InvalidEvent, match=message):
        login_failed(claimed, context=context)

    assert audit_log.records == []


# Without a pipeline


def test_without_a_pipeline_the_application_is_told_and_an_instrumentation_is_silent(alone: None) -> None:
    event = AuditEvent("a.b", "READ", "success")

    with pytest.raises(NotConfigured, match=r"call otel_audit\.configure\(\)"):
        AUDIT.emit("a.b", action="READ")
    with pytest.raises(NotConfigured):
        asyncio.run(AUDIT.emit_async("a.b", action="READ"))
    with pytest.raises(NotConfigured):
        login_failed("alice")
    assert not AUDIT.emit_event(event).recorded
    assert AUDIT.admit() is None


def test_a_logger_taken_before_configure_works_after_it_and_not_after_shutdown(alone: None, tmp_path: Path) -> None:
    early = get_audit_logger("early")
    otel_audit.configure(
        Settings.from_environ({"OTEL_AUDIT_DIR": str(tmp_path), "OTEL_AUDIT_SPOOL_RESERVE": "1MiB"})
    )

    assert early.emit("a.b", action="READ").recorded
    otel_audit.shutdown()
    otel_audit.shutdown()
    with pytest.raises(NotConfigured):
        early.emit("a.b", action="READ")
    assert not early.emit_event(AuditEvent("a.b", "READ", "success")).recorded


def test_switched_off_nothing_is_recorded_nothing_raises_and_the_application_s_log_says_so(
    alone: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    otel_audit.configure(Settings.from_environ({"OTEL_AUDIT_ENABLED": "false", "OTEL_AUDIT_DIR": str(tmp_path)}))

    @otel_audit.audited("a.b", action="READ")
    def work() -> str:
        return "done"

    assert not AUDIT.emit("a.b", action="READ").recorded
    assert not asyncio.run(AUDIT.emit_async("a.b", action="READ")).recorded
    assert not login_failed("alice").recorded
    assert not AUDIT.emit_event(AuditEvent("a.b", "READ", "success")).recorded
    assert AUDIT.admit() is None
    assert work() == "done"
    assert "auditing is OFF (OTEL_AUDIT_ENABLED=false)" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_configure_again_replaces_the_pipeline_before(alone: None, tmp_path: Path) -> None:
    settings = Settings.from_environ({"OTEL_AUDIT_DIR": str(tmp_path), "OTEL_AUDIT_SPOOL_RESERVE": "1MiB"})
    otel_audit.configure(settings)
    first, pipeline = AUDIT.emit("a.b", action="READ"), installed()

    otel_audit.configure(settings)

    assert installed() is not pipeline
    assert AUDIT.emit("a.b", action="READ").stream != first.stream


def test_a_logger_without_a_name_is_called_unknown_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "otel_audit"):
        assert get_audit_logger("").name == "unknown"

    assert "a logger was asked for without a name" in caplog.text


def test_a_request_that_comes_while_the_process_ends_is_let_in_as_where_nothing_is_audited(
    alone: None, tmp_path: Path
) -> None:
    otel_audit.configure(Settings(directory=tmp_path, service_name="shop", fail_mode="closed"))
    pipeline = installed()
    assert isinstance(pipeline, AuditPipeline)
    pipeline.shutdown(5.0)  # and it is still installed: `otel_audit.shutdown()` is in the middle of this

    assert AUDIT.admit() is None
