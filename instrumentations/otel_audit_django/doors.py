"""The doors of Django: where servers come in (WSGI, ASGI), and where Django itself begins.

`WSGIHandler.__call__` and `ASGIHandler.__call__` are outside of every middleware of the project, so that what
a middleware answers is recorded too. `BaseHandler.get_response` is where both, the test clients and any other
handler meet; a request that came through no outer door is recorded there.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from django.http import HttpResponse, HttpResponseBase
from django.http.request import HttpRequest

from otel_audit.capture.request import current_request
from otel_audit.errors import NoRoom, RecordingFailed
from otel_audit.event import Actor
from otel_audit.logger import get_audit_logger, is_request_left_alone
from otel_audit.serving import asgi, wsgi
from otel_audit.serving.faults import REFUSAL, REFUSAL_HEADERS, complain
from otel_audit.serving.request import ENDLESS, ServedRequest
from otel_audit.serving.wsgi import KEY
from otel_audit_django.request import DjangoFacts

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_logger = get_audit_logger("otel_audit_django")


class DjangoWsgiScope(wsgi.WsgiScope):
    """A request that a WSGI server has brought."""

    __slots__ = ("django",)

    def __init__(
        self, environ: WSGIEnvironment, start_response: StartResponse, release: Callable[[], None] | None
    ) -> None:
        super().__init__(environ, start_response, release)
        self.django = DjangoFacts(self)

    def resolve_actor(self) -> Actor:
        """See `DjangoFacts.resolve_actor`."""
        return self.django.resolve_actor()

    def hand_over(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """See `WsgiScope.hand_over`; a response whose content is there is handed over as it is."""
        if isinstance(body, HttpResponse):
            self.sent += len(body.content)
            return self.handed_over(body)
        return super().hand_over(body)


class DjangoAsgiScope(asgi.AsgiScope):
    """A request that an ASGI server has brought."""

    __slots__ = ("django",)

    def __init__(self, connection: asgi.Connection, send: asgi.Send, release: Callable[[], None] | None) -> None:
        super().__init__(connection, send, release)
        self.django = DjangoFacts(self)

    def resolve_actor(self) -> Actor:
        """See `DjangoFacts.resolve_actor`."""
        return self.django.resolve_actor()


class HandledRequest(ServedRequest):
    """A request that came through no server's door: a test client's, or one of another handler."""

    __slots__ = ("_meta", "django")

    def __init__(self, request: HttpRequest, release: Callable[[], None] | None) -> None:
        meta = request.META
        super().__init__(meta.get, path=request.path, release=release)
        self._meta = meta
        if self.scheme is None:  # an ASGI request's stands elsewhere
            self.scheme = getattr(request, "scope", {}).get("scheme")
        self.django = DjangoFacts(self)

    def header(self, variable: str) -> str | None:
        """See `ServedRequest.header`."""
        value: str | None = self._meta.get(variable)
        return value

    def resolve_actor(self) -> Actor:
        """See `DjangoFacts.resolve_actor`."""
        return self.django.resolve_actor()

    def fail(self, error: BaseException) -> None:
        """The handler raised: whoever called it answers 500, if it answers."""
        if isinstance(error, asyncio.CancelledError):
            self.is_cut_off = True  # the client has left
            return
        super().fail(error)
        self.status = 500

    def hand_over(self, response: HttpResponseBase) -> HttpResponseBase:
        """*response*, recorded, or to be recorded when its stream has ended; a refusal where that fails."""
        self.status = response.status_code
        if not response.streaming:
            self.sent = len(cast("HttpResponse", response).content)
        else:
            streaming = cast("Any", response)
            length: str = response.headers.get("Content-Length", "")
            self.length = int(length) if length.isdecimal() else ENDLESS
            if getattr(response, "file_to_stream", None) is None:
                kind = _AsyncStream if streaming.is_async else _Stream
                streaming.streaming_content = kind(self, streaming.streaming_content)
                return response
            self.sent = self.length  # the server may send the file by itself
        try:
            self.finish()
        except RecordingFailed as error:
            complain(error)
            response.close()
            return refusal()
        return response


class _Stream:
    """The same pieces of a body; the record is made when they end, or are closed before their end."""

    def __init__(self, scope: HandledRequest, pieces: Any) -> None:
        self._scope = scope
        self._pieces = iter(pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        scope = self._scope
        token = current_request.set(scope)
        try:
            piece: bytes = next(self._pieces)
            scope.sent += len(piece)
        except StopIteration:
            scope.finish()
            raise
        except BaseException as error:
            scope.finish_after(error)
            raise
        else:
            return piece
        finally:
            current_request.reset(token)

    def close(self) -> None:
        """Called with the response's own `close`."""
        _close(self._scope)


class _AsyncStream:
    """`_Stream`, of an asynchronous body."""

    def __init__(self, scope: HandledRequest, pieces: Any) -> None:
        self._scope = scope
        self._pieces = aiter(pieces)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        scope = self._scope
        token = current_request.set(scope)
        try:
            piece: bytes = await anext(self._pieces)
            scope.sent += len(piece)
        except StopAsyncIteration:
            await scope.finish_async()
            raise
        except BaseException as error:
            scope.finish_after(error)
            raise
        else:
            return piece
        finally:
            current_request.reset(token)

    def close(self) -> None:
        """Called with the response's own `close`."""
        _close(self._scope)


def _close(scope: HandledRequest) -> None:
    if not scope.is_recorded:
        scope.is_cut_off = scope.method != "HEAD"
        scope.finish()


def wsgi_door(call: Callable[..., Any]) -> Callable[..., Any]:
    """`WSGIHandler.__call__`, audited."""

    @functools.wraps(call)
    def __call__(self: object, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:  # noqa: N807 - its name in a traceback
        return wsgi.serve(DjangoWsgiScope, call, self, environ, start_response)

    return __call__


def asgi_door(call: Callable[..., Any]) -> Callable[..., Any]:
    """`ASGIHandler.__call__`, audited."""

    @functools.wraps(call)
    async def __call__(self: object, scope: asgi.Connection, receive: asgi.Receive, send: asgi.Send) -> None:  # noqa: N807 - likewise
        await asgi.serve(DjangoAsgiScope, call, self, scope, receive, send)

    return __call__


def handler_door(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """`BaseHandler.get_response`, or a middleware's, audited."""

    @functools.wraps(get_response)
    def audited(*args: Any) -> HttpResponseBase:
        request: HttpRequest = args[-1]
        facts = outer_facts(request)
        if facts is not None:
            facts.enter(request)
            try:
                response: HttpResponseBase = get_response(*args)
            finally:
                facts.leave()
            facts.note_response(response)
            return response
        scope = _admitted(request)
        if not isinstance(scope, HandledRequest):
            return cast("HttpResponseBase", get_response(*args)) if scope is None else scope
        token = current_request.set(scope)
        try:
            scope.django.enter(request)
            try:
                response = get_response(*args)
            finally:
                scope.django.leave()
            scope.django.note_response(response)
            return scope.hand_over(response)
        except BaseException as error:
            scope.finish_after(error)
            raise
        finally:
            current_request.reset(token)

    return audited


def async_handler_door(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """`BaseHandler.get_response_async`, or an asynchronous middleware's, audited."""

    @functools.wraps(get_response)
    async def audited(*args: Any) -> HttpResponseBase:
        request: HttpRequest = args[-1]
        facts = outer_facts(request)
        if facts is not None:
            facts.enter(request)
            try:
                response: HttpResponseBase = await get_response(*args)
            finally:
                facts.leave()
            facts.note_response(response)
            return response
        scope = _admitted(request)
        if not isinstance(scope, HandledRequest):
            return cast("HttpResponseBase", await get_response(*args)) if scope is None else scope
        token = current_request.set(scope)
        try:
            scope.django.enter(request)
            try:
                response = await cast("Awaitable[HttpResponseBase]", get_response(*args))
            finally:
                scope.django.leave()
            scope.django.note_response(response)
            return scope.hand_over(response)
        except BaseException as error:
            scope.finish_after(error)
            raise
        finally:
            current_request.reset(token)

    return audited


def refusal() -> HttpResponse:
    """503 with `Retry-After`."""
    return HttpResponse(REFUSAL, status=503, headers=dict(REFUSAL_HEADERS))


def outer_facts(request: HttpRequest) -> DjangoFacts | None:
    """Those of the outer door that *request* came through, unless a request of its has been entered already."""
    outer = _outer(request)
    if outer is None or outer.is_recorded:
        return None
    facts: DjangoFacts = outer.django
    return facts if facts.request is None else None


def _outer(request: HttpRequest) -> Any:
    return request.META.get(KEY) or getattr(request, "scope", {}).get(KEY)


def _admitted(request: HttpRequest) -> HandledRequest | HttpResponse | None:
    """A scope for *request*; None where it is not to be recorded here, a response where it is refused."""
    if is_request_left_alone():
        return None
    outer = _outer(request)
    if outer is not None and not outer.is_recorded:
        return None
    try:
        release = _logger.admit_request()
    except NoRoom as error:
        complain(error)
        return refusal()
    try:
        scope = HandledRequest(request, release)
    except Exception as error:  # noqa: BLE001 - an audit fault never breaks a request in fail mode open
        complain(error)
        if release is None:
            return None
        release()
        return refusal()
    request.META[KEY] = scope
    return scope
