"""For users' tests: an audit log in memory, a clock that stands still, `assert_audited`.

Loaded by pytest through its entry point `pytest11`, so it imports the rest only when a fixture is asked for.

    def test_approval_is_audited(client, assert_audited):
        client.post("/invoices/42/approve")
        assert_audited(actor="alice", action="APPROVE", target="invoice/42")
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import orjson
import pytest

if TYPE_CHECKING:
    from otel_audit.spool.live import Clock

Record = Mapping[str, Any]
"""The members of one record, as "Record" in the evidence format has them."""

_NOT_GIVEN: Any = object()


class FixedClock:
    """A clock that moves only when told to; nanoseconds since the epoch."""

    def __init__(self, time_unix_nano: int = 1_767_225_600_000_000_000) -> None:
        """Begin at *time_unix_nano*, by default 2026-01-01T00:00:00Z."""
        self.time_unix_nano = time_unix_nano
        self.monotonic_nano = 0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time_unix_nano += int(seconds * 1e9)
        self.monotonic_nano += int(seconds * 1e9)

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP would: no time passes."""
        self.time_unix_nano += int(seconds * 1e9)

    def clock(self) -> Clock:
        """What a pipeline reads."""
        from otel_audit.spool.live import Clock

        return Clock(lambda: self.time_unix_nano, lambda: self.monotonic_nano)


class AuditLog:
    """What was recorded since the log was made: real records of a real stream, kept in memory."""

    def __init__(self, bodies: Callable[[], list[bytes]], clock: FixedClock) -> None:
        self._bodies = bodies
        self.clock = clock

    @property
    def bodies(self) -> list[bytes]:
        """The bytes of every record, lifecycle records included, in order."""
        return self._bodies()

    @property
    def records(self) -> list[Record]:
        """Members of every record that is an event, in order."""
        members: list[Record] = [orjson.loads(body) for body in self.bodies]
        return [record for record in members if not record["event"].startswith("audit.")]

    def find(
        self,
        *,
        event: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        outcome: str | None = None,
    ) -> list[Record]:
        """Events that match all that is given; `*` and `?` stand for any characters, as in a file name."""
        wanted = {"event": event, "actor": actor, "action": action, "target": target, "outcome": outcome}
        return [record for record in self.records if _matches(record, wanted)]

    def assert_audited(
        self,
        *,
        event: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        outcome: str | None = None,
        count: int = _NOT_GIVEN,
    ) -> Record:
        """The last event that matches; *count*: exactly so many do (0: the access was not recorded).

        Raises:
            AssertionError: none does, or another number; the message lists what was recorded.
        """
        found = self.find(event=event, actor=actor, action=action, target=target, outcome=outcome)
        if (not found) if count is _NOT_GIVEN else len(found) != count:
            wanted = {"event": event, "actor": actor, "action": action, "target": target, "outcome": outcome}
            asked = ", ".join(f"{name}={value!r}" for name, value in wanted.items() if value is not None)
            number = "" if count is _NOT_GIVEN else f" {count} times (found {len(found)})"
            seen = "\n".join(f"  {_line(record)}" for record in self.records) or "  nothing"
            raise AssertionError(f"not audited{number}: {asked or 'any event'}\nrecorded were:\n{seen}")
        return found[-1] if found else {}


@contextmanager
def recording(**environment: str) -> Generator[AuditLog]:
    """Audit in memory inside the block, with `OTEL_AUDIT_*` as given and all else as by default.

    Where records go and who certifies is not a test's choice: `OTEL_AUDIT_DIR`, `OTEL_AUDIT_IDENTITY` and
    `OTEL_AUDIT_ENABLED` are not followed. The process's own pipeline, if it has one, is put back afterwards.

    Raises:
        InvalidSetting: a variable is not accepted.
    """
    from otel_audit.capture.redaction import configure_hash_key
    from otel_audit.configure import build, configure_capture, read_policy
    from otel_audit.evidence.identity import memory_identity
    from otel_audit.logger import install
    from otel_audit.settings import Settings
    from otel_audit.spool.alarm import Alarms
    from otel_audit.spool.storage import MemoryStorage

    settings = Settings.from_environ({"OTEL_SERVICE_NAME": "test", **environment, "OTEL_AUDIT_DIR": "memory:"})
    clock = FixedClock()
    storage = MemoryStorage(limit_bytes=1 << 30)
    # the issuer's certificate is made by the real clock, and is an anchor: its validity is not read
    policy = read_policy(settings)
    pipeline = build(settings, policy, storage, memory_identity(), Alarms(), clock=clock.clock())
    configure_capture(settings, policy)
    if settings.hash_key is not None:
        configure_hash_key(settings.hash_key)
    previous = install(pipeline)
    try:
        yield AuditLog(storage.bodies, clock)
    finally:
        install(previous)
        pipeline.shutdown(5.0)


@pytest.fixture
def audit_log() -> Iterator[AuditLog]:
    """An audit log in memory for one test."""
    with recording() as log:
        yield log


@pytest.fixture
def assert_audited(audit_log: AuditLog) -> Callable[..., Record]:
    """`AuditLog.assert_audited` of the test's own audit log."""
    return audit_log.assert_audited


def _matches(record: Record, wanted: Mapping[str, str | None]) -> bool:
    for name, pattern in wanted.items():
        if pattern is not None:
            # actor and target are objects, absent where an event has no target
            value: Any = record.get(name, {"id": ""})
            text: str = value if isinstance(value, str) else value["id"]
            if not fnmatchcase(text, pattern):
                return False
    return True


def _line(record: Record) -> str:
    target = record.get("target", {}).get("id", "-")
    return f"{record['event']} {record['actor']['id']} {record['action']} {target} {record['outcome']}"
