"""The door that events enter by: the application's own calls, and every instrumentation.

Between capture and evidence. An `AuditLogger` is a name and nothing else; it finds the process's pipeline
at each call, so loggers may be taken before `configure()` and survive a fork.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from otel_audit.errors import InvalidEvent, NoRoom, NotConfigured
from otel_audit.event import Actor, AuditEvent, Context, Outcome, Source, Target
from otel_audit.evidence.acceptance import accepted
from otel_audit.evidence.members import plain_text, shown
from otel_audit.receipt import NOT_RECORDED, Receipt

_log = logging.getLogger("otel_audit")


class Pipeline(Protocol):
    """What takes an event and makes evidence of it; one a process, made by `configure()`."""

    def record(self, event: AuditEvent) -> Receipt:
        """Apply the policy, complete the event from the current request, write the record.

        Raises:
            RecordingFailed: in fail mode `closed` only, when it could not be made durable.
        """
        ...

    async def record_async(self, event: AuditEvent) -> Receipt:
        """Like `record`, but waits for `fsync` without blocking the event loop."""
        ...

    def admit(self) -> Callable[[], None] | None:
        """Reserve room for the records of one request; returns what gives it back, or None without a need.

        Raises:
            NoRoom: in fail mode `closed` only, when there is none. Nothing has happened yet.
        """
        ...


_pipeline: Pipeline | None = None


@dataclass(slots=True)
class _Ended:
    """What becomes of requests once the pipeline was shut down and the process goes on."""

    is_refusing: bool
    is_said: bool = False


_ended: _Ended | None = None


def install(pipeline: Pipeline | None) -> Pipeline | None:
    """Make *pipeline* the process's own; returns the one it replaces."""
    global _pipeline, _ended
    previous, _pipeline, _ended = _pipeline, pipeline, None
    return previous


def uninstall(*, is_closed: bool) -> None:
    """The process's pipeline, of fail mode `closed` or not, was shut down: what comes now is not audited."""
    global _pipeline, _ended  # noqa: PLW0603 - as above
    _ended = _Ended(is_refusing=is_closed)
    _pipeline = None


def installed() -> Pipeline | None:
    """The process's pipeline, if there is one."""
    return _pipeline


def is_request_left_alone() -> bool:
    """Whether a request is let through unaudited, as there is no pipeline; in fail mode `closed` not after its end.

    An application that shuts its log down and serves on is told, once, that nobody sees what it does.
    """
    if _pipeline is not None:
        return False
    ended = _ended
    if ended is None:
        return True
    if not ended.is_said:
        ended.is_said = True
        what = "are refused (OTEL_AUDIT_FAIL_MODE=closed)" if ended.is_refusing else "are NOT AUDITED"
        _log.error(
            "otel-audit: auditing was shut down in this process, and requests still come: they %s. Call "
            "otel_audit.shutdown() last, or otel_audit.configure() again",
            what,
        )
    return not ended.is_refusing


class AuditLogger:
    """Emits audit events under a name (the draft audit signal's logger name; not evidence)."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def emit(
        self,
        event: str,
        *,
        action: str,
        outcome: Outcome = "success",
        actor: Actor | None = None,
        target: Target | None = None,
        source: Source | None = None,
        time_unix_nano: int | None = None,
        context: Context | None = None,
    ) -> Receipt:
        """Record that *event* happened; returns once the record would survive the process.

        *actor* None means whoever the current request acts as, outside of one the service itself.

        Raises:
            InvalidEvent: a mandatory field is missing or malformed; nothing was recorded.
            NotConfigured: `configure()` was never called here, or `shutdown()` was; nothing was recorded.
            RecordingFailed: in fail mode `closed` only; the log will carry a gap.
        """
        return _require().record(
            accepted(AuditEvent(event, action, outcome, actor, target, source, time_unix_nano, context=context))
        )

    async def emit_async(
        self,
        event: str,
        *,
        action: str,
        outcome: Outcome = "success",
        actor: Actor | None = None,
        target: Target | None = None,
        source: Source | None = None,
        time_unix_nano: int | None = None,
        context: Context | None = None,
    ) -> Receipt:
        """Like `emit`; with `OTEL_AUDIT_FSYNC=always` the wait for the disk does not block the event loop."""
        return await _require().record_async(
            accepted(AuditEvent(event, action, outcome, actor, target, source, time_unix_nano, context=context))
        )

    def emit_event(self, event: AuditEvent) -> Receipt:
        """Record what an instrumentation captured. The caller vouches for the fields.

        Without a pipeline nothing is recorded and nothing is said: the instrumentation of a process that
        was never configured, or has shut down, is silent.

        Raises:
            RecordingFailed: in fail mode `closed` only; the caller replaces the response.
        """
        pipeline = _pipeline
        if pipeline is None:
            return NOT_RECORDED
        try:
            return pipeline.record(event)
        except InvalidEvent as error:  # an instrumentation's mistake, or a value no one foresaw; counted as lost
            _log.error("otel-audit: %s: an event of %s could not be recorded: %s", self.name, event.event, error)
            return NOT_RECORDED
        except NotConfigured:  # shut down since the line above
            return NOT_RECORDED

    async def emit_event_async(self, event: AuditEvent) -> Receipt:
        """Like `emit_event`; with `OTEL_AUDIT_FSYNC=always` the wait for the disk does not block the event loop."""
        pipeline = _pipeline
        if pipeline is None:
            return NOT_RECORDED
        try:
            return await pipeline.record_async(event)
        except InvalidEvent as error:  # likewise
            _log.error("otel-audit: %s: an event of %s could not be recorded: %s", self.name, event.event, error)
            return NOT_RECORDED
        except NotConfigured:  # likewise
            return NOT_RECORDED

    def admit(self) -> Callable[[], None] | None:
        """Reserve room for the records of one request; see `Pipeline.admit`.

        Raises:
            NoRoom: in fail mode `closed` only.
        """
        pipeline = _pipeline
        if pipeline is None:
            return None
        try:
            return pipeline.admit()
        except NotConfigured:  # shut down since the line above, or just being: as where there is no pipeline
            return None

    def admit_request(self) -> Callable[[], None] | None:
        """Like `admit`, for a request that is not left alone; see `is_request_left_alone`.

        Raises:
            NoRoom: in fail mode `closed` only, also once the pipeline is shut down.
        """
        try:
            return _require().admit()
        except NotConfigured as error:
            if _pipeline is None and (_ended is None or not _ended.is_refusing):
                return None  # shut down since it was asked
            raise NoRoom(f"this request cannot be recorded: {error}") from error

    def admit_or_raise(self) -> Callable[[], None] | None:
        """Like `admit`, for work that must not be done where nothing can be recorded.

        Raises:
            NotConfigured: no pipeline in this process.
            NoRoom: in fail mode `closed` only.
        """
        return _require().admit()


def get_audit_logger(name: str) -> AuditLogger:
    """A logger of that *name*; an empty one is replaced by `unknown` and reported, never refused."""
    if not name:
        _log.warning("otel-audit: a logger was asked for without a name; it is called 'unknown'")
        name = "unknown"
    return AuditLogger(name)


def login_failed(
    claimed: str | None = None, *, reason: str | None = None, context: Context | None = None
) -> Receipt:
    """Record that a sign-in failed: `user.login_failed`, action LOGIN, outcome failure.

    *claimed* is the name that was tried. It is hashed, because people type passwords there, and stands
    in `audit.actor.claimed`: a name that nobody verified is never the actor.

    Raises:
        InvalidEvent: an argument is not of its form; nothing was recorded.
        NotConfigured: no pipeline in this process.
        RecordingFailed: in fail mode `closed` only.
    """
    from otel_audit.capture.redaction import keyed_hash

    event = accepted(AuditEvent("user.login_failed", "LOGIN", "failure", context=context))
    members: dict[str, str] = {"audit.reason": reason or "denied"}
    if claimed:
        name = plain_text(claimed)
        if not name:
            raise InvalidEvent(f"claimed={shown(claimed)}: expected the name that was tried, as a string")
        members["audit.actor.claimed"] = keyed_hash(name)
    return _require().record(event._replace(context={**(context or {}), **members}))


def _require() -> Pipeline:
    if _pipeline is None:
        raise NotConfigured(
            "no audit pipeline in this process: call otel_audit.configure(), or start with opentelemetry-instrument"
        )
    return _pipeline
