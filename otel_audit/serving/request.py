"""One served request: what it is recorded as, once, and what becomes of it when that fails.

Between capture and the frameworks' instrumentations: `serving.wsgi` and `serving.asgi` say when a response has
ended, a framework's subclass says whose request it was.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from otel_audit.capture.actor import proxy_actor
from otel_audit.capture.http import HttpScope, actor_variable, error_type
from otel_audit.errors import RecordingFailed
from otel_audit.event import Actor, AuditEvent
from otel_audit.logger import get_audit_logger
from otel_audit.serving.faults import complain

ENDLESS = sys.maxsize
"""The length of a body that declares none."""

_logger = get_audit_logger("otel_audit.serving")


class ServedRequest(HttpScope):
    """What `HttpScope` knows, how much of the response has left, and whether the record stands.

    *release* gives back the room that fail mode `closed` has reserved; it is None in fail mode `open`.
    """

    __slots__ = ("_release", "failure", "is_recorded", "length", "sent")

    def __init__(
        self, variable: Callable[[str], str | None], *, path: str, release: Callable[[], None] | None
    ) -> None:
        super().__init__(variable, path=path)
        self._release = release
        self.sent = 0
        """Bytes of the body handed over."""
        self.length = ENDLESS
        """Bytes that the body will have, as far as its headers declare it."""
        self.is_recorded = False
        self.failure: RecordingFailed | None = None
        """A record of this request that was refused in fail mode `closed`."""

    def header(self, variable: str) -> str | None:
        """A header by its CGI name; its values joined by commas, where it was sent twice (RFC 9110 §5.3)."""
        raise NotImplementedError

    def vouched_actor(self) -> Actor | None:
        """Whom somebody in front of the application has verified: a trusted proxy that names the user."""
        variable = actor_variable() if self.peer_is_trusted else None
        return None if variable is None else proxy_actor(self.header(variable))

    @property
    def is_replaceable(self) -> bool:
        """Whether a response has to wait for its record: fail mode `closed`."""
        return self._release is not None

    def fail(self, error: BaseException) -> None:
        """The application raised; what the client gets instead is the server's business."""
        self.error_type = error_type(error)

    def emit(self, event: AuditEvent) -> None:
        """Record *event* as this request's; in fail mode `open` it does not raise.

        Raises:
            RecordingFailed: in fail mode `closed`; the response will be replaced.
        """
        try:
            _logger.emit_event(event)
        except RecordingFailed as error:
            self.failure = error
            raise
        except Exception as error:  # noqa: BLE001 - an audit fault never breaks a request in fail mode open
            self._excuse(error)

    def finish(self) -> None:
        """Write the request's own record, once, and give back the room that was reserved.

        Raises:
            RecordingFailed: in fail mode `closed`; also when an earlier record of this request was refused.
        """
        if self.is_recorded:
            return
        self.is_recorded = True
        try:
            _logger.emit_event(self._last_event())
        except RecordingFailed:
            raise
        except Exception as error:  # noqa: BLE001 - likewise, for what goes wrong in capture
            self._excuse(error)
        finally:
            if self._release is not None:
                self._release()
        if self.failure is not None:
            raise self.failure

    async def finish_async(self) -> None:
        """Like `finish`; with `OTEL_AUDIT_FSYNC=always` the wait for the disk does not block the event loop."""
        if self.is_recorded:
            return
        self.is_recorded = True
        try:
            await _logger.emit_event_async(self._last_event())
        except RecordingFailed:
            raise
        except Exception as error:  # noqa: BLE001 - likewise
            self._excuse(error)
        finally:
            if self._release is not None:
                self._release()
        if self.failure is not None:
            raise self.failure

    def finish_after(self, error: BaseException) -> None:
        """Record that the application raised *error*, which goes on to the server whatever becomes of that."""
        if self.is_recorded:
            return
        self.fail(error)
        try:
            self.finish()
        except RecordingFailed as failure:
            complain(failure)

    def _last_event(self) -> AuditEvent:
        # RFC 9110 §9.3.2: of what an application hands over for HEAD a server sends nothing
        self.size = 0 if self.method == "HEAD" else self.sent if self.sent < ENDLESS else None
        return self.event(self.acting_as or self.resolve_actor())

    def _excuse(self, error: Exception) -> None:
        """An audit fault nobody foresaw: said in the log, and in fail mode `closed` a refusal."""
        complain(error)
        if self._release is not None:
            self.failure = RecordingFailed(f"an access could not be recorded: {error_type(error)} in its capture")
            raise self.failure from error
