"""From an event to its receipt: policy, the current request, the writer.

The pipeline that `configure()` installs; every stage meets here, and nothing is implemented here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from opentelemetry import trace

from otel_audit.capture.policy import Policy
from otel_audit.capture.request import current_actor, current_request
from otel_audit.errors import InvalidEvent, RecordingFailed
from otel_audit.event import Actor, AuditEvent
from otel_audit.evidence.members import event_members
from otel_audit.export.exporter import Exporter
from otel_audit.receipt import NOT_RECORDED, SKIPPED, Receipt
from otel_audit.spool.keeper import Keeper
from otel_audit.spool.writer import Writer

_SYNC_TIMEOUT_S = 60.0
"""How long `fsync=always` waits for other threads' syncs before the record counts as not durable."""


_REFUSED = "an audit record could not be made durable (OTEL_AUDIT_FAIL_MODE=closed); the log will carry a gap"


class DisabledPipeline:
    """`OTEL_AUDIT_ENABLED=false`: calls go through, and nothing is recorded."""

    def record(self, event: AuditEvent) -> Receipt:  # noqa: ARG002 - the protocol's
        """Record nothing."""
        return NOT_RECORDED

    async def record_async(self, event: AuditEvent) -> Receipt:  # noqa: ARG002 - the protocol's
        """Record nothing."""
        return NOT_RECORDED

    def admit(self) -> None:
        """Let everything in."""


class AuditPipeline:
    """Implements `logger.Pipeline` on a writer and its keeper."""

    def __init__(self, writer: Writer, keeper: Keeper, policy: Policy, exporter: Exporter | None = None) -> None:
        declaration = writer.config.declaration
        self.exporter = exporter
        self.writer = writer
        self.keeper = keeper
        self.policy = policy
        self._has_rules = policy.has_rules
        self._service = Actor(declaration.service, "service")
        self.is_closed_mode = declaration.fail_mode == "closed"
        self._syncs = writer.config.fsync == "always"
        self._end = threading.RLock()
        self._is_ending = False
        self._after_end: list[Callable[[], object]] = []

    def record(self, event: AuditEvent) -> Receipt:
        """See `logger.Pipeline.record`."""
        receipt = self._append(event)
        if self._syncs and receipt.recorded and not receipt.wait_durable(_SYNC_TIMEOUT_S):
            receipt = self.writer.lose("write-failed", event.time_unix_nano)
        # by identity: the receipt of an event that waits behind another one (`Receipt.become`) is not yet recorded
        if receipt is NOT_RECORDED and self.is_closed_mode:
            raise RecordingFailed(_REFUSED)
        return receipt

    async def record_async(self, event: AuditEvent) -> Receipt:
        """See `logger.Pipeline.record_async`."""
        receipt = self._append(event)
        if self._syncs and receipt.recorded:
            import asyncio  # loaded already where there is a loop

            loop = asyncio.get_running_loop()
            if not await loop.run_in_executor(None, receipt.wait_durable, _SYNC_TIMEOUT_S):
                receipt = self.writer.lose("write-failed", event.time_unix_nano)
        if receipt is NOT_RECORDED and self.is_closed_mode:
            raise RecordingFailed(_REFUSED)
        return receipt

    def admit(self) -> Callable[[], None] | None:
        """See `logger.Pipeline.admit`."""
        return self.writer.admit() if self.is_closed_mode else None

    def shutdown(self, timeout_s: float, then: Callable[[], object] = lambda: None) -> None:
        """Close the stream, deliver it in what is left of the time, end the threads, and do *then*.

        Safe to call twice, and from any thread.

        A signal handler may call it in the middle of a record, or of a shutdown, of its own thread: what it asks
        for is then done right after that.
        """
        self._after_end.append(then)
        self.writer.when_idle(lambda: self._shutdown(timeout_s))

    def _shutdown(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        # in vain where another thread's shutdown waits for something that this one, interrupted, holds
        if self._end.acquire(timeout=timeout_s):
            try:
                if self._is_ending:
                    return  # this very thread is at it
                self._is_ending = True
                try:
                    self.keeper.stop(timeout_s)
                    self.writer.shut()
                    self.keeper.finish()
                    if self.exporter is not None:
                        self.exporter.finish(deadline_s - time.monotonic())
                finally:
                    self._is_ending = False
            finally:
                self._end.release()
        while self._after_end:
            self._after_end.pop(0)()

    def _append(self, event: AuditEvent) -> Receipt:
        request = current_request.get()
        if self._has_rules:
            decision = self.policy.decide(event, request)
            if not decision.is_recorded:
                self.writer.skip()
                return SKIPPED
            event = decision.reduce(event)
        _, _, _, actor, _, source, happened, trace_id, span_id, _ = event
        if actor is None:
            actor = current_actor() or self._service
        if request is not None:
            source = source or request.source
            if trace_id is None:
                trace_id, span_id = request.ids
        elif trace_id is None:
            span = trace.get_current_span().get_span_context()
            if span.is_valid:
                trace_id, span_id = f"{span.trace_id:032x}", f"{span.span_id:016x}"
        try:
            members = event_members(event, actor=actor, source=source, trace_id=trace_id, span_id=span_id)
            return self.writer.append(members, happened)
        except InvalidEvent:
            self.writer.lose("invalid")
            raise
