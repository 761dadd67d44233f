"""One WSGI request through the audit's door: admitted, served, its body counted, recorded once.

Around the application, outermost. A record is written before the last byte of its response is handed to
the server: whoever has the whole answer has left a trace. Nothing here knows a framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from otel_audit.capture.actor import certificate_actor
from otel_audit.capture.request import current_request
from otel_audit.errors import NoRoom, RecordingFailed
from otel_audit.logger import get_audit_logger, is_request_left_alone
from otel_audit.serving.faults import ExcInfo, Headers, complain, refusal
from otel_audit.serving.request import ENDLESS, ServedRequest
from otel_audit.serving.wsgi_body import AuditedBody, close_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from otel_audit.event import Actor

Write: TypeAlias = Callable[[bytes], object]

KEY = "otel_audit.request"
"""Where a request's scope stands in its WSGI environment while it is served; no header can set it."""


_logger = get_audit_logger("otel_audit.serving")


class WsgiScope(ServedRequest):
    """One request on its way through, and what the server is still owed.

    In fail mode `closed` (*release* is then not None) the status and headers are held back until the
    first byte of the body, so that they can still be replaced by a refusal.
    """

    __slots__ = (
        "_is_started",
        "_start_response",
        "_write",
        "environ",
        "held",
    )

    def __init__(
        self, environ: WSGIEnvironment, start_response: StartResponse, release: Callable[[], None] | None
    ) -> None:
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        if not path.isascii():
            # PEP 3333: bytes carried as latin-1
            path = path.encode("latin-1", "replace").decode("utf-8", "replace")
        # werkzeug.middleware.proxy_fix keeps what the server said, where it stands outside of this door
        server_said = environ.get("werkzeug.proxy_fix.orig")
        known = environ if server_said is None else {**environ, **server_said}
        super().__init__(known.get, path=path, release=release)
        self.environ = environ
        self._start_response = start_response
        self._write: Write | None = None
        self.held: tuple[str, Headers] | None = None
        """Status and headers that the server has not been given yet."""
        self._is_started = False

    def header(self, variable: str) -> str | None:
        """See `ServedRequest.header`."""
        value: str | None = self.environ.get(variable)
        return value

    def vouched_actor(self) -> Actor | None:
        """The subject of a client certificate that the server has verified, else whom a trusted proxy names."""
        return certificate_actor(self.environ) or super().vouched_actor()

    def start(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Write:
        """The `start_response` (PEP 3333) that the application sees."""
        self.status = int(status[:3]) if status[:3].isdecimal() else None
        self.length = _declared_length(headers)
        if self.is_replaceable and not self._is_started:
            self.held = (status, headers)
            return self._held_write
        self._is_started = True
        self._write = (
            self._start_response(status, headers)
            if exc_info is None
            else self._start_response(status, headers, exc_info)
        )
        return self._counted_write

    def hand_over(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """What the server gets instead of *body*: itself where all is known by now, else a counting body.

        A file that the server sends by itself (`wsgi.file_wrapper`) is recorded before it is sent, with the
        length that was declared, because wrapping it would keep the server from sending it.
        """
        if isinstance(body, (list, tuple)):
            self.sent += sum(map(len, body))  # pyright: ignore[reportUnknownArgumentType] - list[bytes] by contract
        elif _is_file(body, self.environ.get("wsgi.file_wrapper")):
            self.sent = self.length
        else:
            return AuditedBody(self, body)
        return self.handed_over(body)  # pyright: ignore[reportUnknownArgumentType] - narrowed to list[Unknown]

    def handed_over(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """*body* itself, of which all is known, once it is recorded; else a refusal."""
        try:
            self.finish()
        except RecordingFailed as error:
            close_body(body)
            return [self.refuse(error)]
        self.flush()
        return body

    def fail(self, error: BaseException) -> None:
        """The application raised: PEP 3333 lets the server answer, and servers answer 500."""
        super().fail(error)
        if not self._is_started or not self.sent:
            self.status = 500

    def flush(self) -> None:
        """Give the server the status and headers that were held back."""
        if self.held is not None:
            status, headers = self.held
            self.held = None
            self._is_started = True
            self._write = self._start_response(status, headers)

    def refuse(self, error: RecordingFailed) -> bytes:
        """Answer 503 instead of what the application answered; returns the body.

        Raises:
            RecordingFailed: *error*, when the server has sent the headers already: the response is aborted.
        """
        complain(error)
        self.held = None
        if not self._is_started:
            self._is_started = True
            return refusal(self._start_response)
        assert error.__traceback__ is not None
        return refusal(self._start_response, (type(error), error, error.__traceback__))

    def _counted_write(self, chunk: bytes) -> object:
        assert self._write is not None
        self.sent += len(chunk)
        return self._write(chunk)

    def _held_write(self, chunk: bytes) -> object:
        """PEP 3333's imperative way out sends at once: nothing can be held back any more."""
        self.flush()
        return self._counted_write(chunk)


Serve: TypeAlias = "Callable[[Any, WSGIEnvironment, StartResponse], Iterable[bytes]]"
"""An application's door: the application, the WSGI environment, the server's `start_response`."""


def serve(
    scope_type: type[WsgiScope], call: Serve, app: object, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Let one request through *call* and record it; without a pipeline, or inside a request, only let it through.

    Whatever *call* raises goes on to the server unchanged, once it is recorded. In fail mode `closed` a request
    for whose records there is no room is refused before the application sees it.
    """
    if is_request_left_alone():
        return call(app, environ, start_response)
    outer = environ.get(KEY)
    if outer is not None and not outer.is_recorded:
        return call(app, environ, start_response)
    try:
        release = _logger.admit_request()
    except NoRoom as error:
        complain(error)
        return [refusal(start_response)]
    try:
        scope = scope_type(environ, start_response, release)
    except Exception as error:  # noqa: BLE001 - an audit fault never breaks a request in fail mode open
        complain(error)
        if release is None:
            return call(app, environ, start_response)
        release()
        return [refusal(start_response)]
    environ[KEY] = scope
    token = current_request.set(scope)
    try:
        return scope.hand_over(call(app, environ, scope.start))
    except BaseException as error:
        scope.finish_after(error)
        raise
    finally:
        current_request.reset(token)
        environ.pop(KEY, None)


def _declared_length(headers: Headers) -> int:
    for name, value in headers:
        if name == "Content-Length" or name.lower() == "content-length":
            return int(value) if value.isdecimal() else ENDLESS
    return ENDLESS


def _is_file(body: object, wrapper: object) -> bool:
    """Whether *body* is the server's own file wrapper (PEP 3333, optional platform-specific file handling).

    gunicorn's is a class; uWSGI's a function that returns the file, which it recognises by identity.
    """
    if wrapper is None:
        return False
    if isinstance(wrapper, type):
        return isinstance(body, wrapper)
    return hasattr(body, "read")
