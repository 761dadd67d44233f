"""One ASGI request through the audit's door: admitted, served, its body counted, recorded once.

The counterpart of `serving.wsgi`, for ASGI 3 (specification 2.0 and later): the record is written before the
message that ends the response is handed to the server. Nothing here knows a framework.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from otel_audit.capture.request import current_request
from otel_audit.errors import NoRoom, RecordingFailed
from otel_audit.logger import get_audit_logger, is_request_left_alone
from otel_audit.serving.faults import REFUSAL, REFUSAL_HEADERS, complain
from otel_audit.serving.request import ENDLESS, ServedRequest
from otel_audit.serving.wsgi import KEY

Message: TypeAlias = MutableMapping[str, Any]
Connection: TypeAlias = MutableMapping[str, Any]
"""What ASGI calls a scope."""
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]

# ASGI: names are lower-case; one with an underscore could pose as another under its CGI name, and is not read
_VARIABLES = {
    b"host": "HTTP_HOST",
    b"user-agent": "HTTP_USER_AGENT",
    b"authorization": "HTTP_AUTHORIZATION",
    b"traceparent": "HTTP_TRACEPARENT",
    b"forwarded": "HTTP_FORWARDED",
    b"x-forwarded-for": "HTTP_X_FORWARDED_FOR",
}
# the latter two are extensions: the server sends a file by itself
_BODY = frozenset(("http.response.body", "http.response.pathsend", "http.response.zerocopysend"))
_logger = get_audit_logger("otel_audit.serving")


class AsgiScope(ServedRequest):
    """One request on its way through, and what the server is still owed.

    In fail mode `closed` the start of the response is held back until the first of its body, so that it can
    still be replaced by a refusal.
    """

    __slots__ = ("_is_refused", "_is_started", "_send", "connection", "held")

    def __init__(self, connection: Connection, send: Send, release: Callable[[], None] | None) -> None:
        variables = {"REQUEST_METHOD": connection["method"], "wsgi.url_scheme": connection.get("scheme", "http")}
        client = connection.get("client")
        if client:
            variables["REMOTE_ADDR"] = client[0]
        for name, value in connection["headers"]:
            variable = _VARIABLES.get(name)
            if variable is not None:
                text = value.decode("latin-1")
                before = variables.get(variable)
                variables[variable] = text if before is None else f"{before},{text}"
        super().__init__(variables.get, path=connection["path"], release=release)
        self.connection = connection
        self._send = send
        self.held: Message | None = None
        """The start of the response, which the server has not been given yet."""
        self._is_started = False
        self._is_refused = False

    def header(self, variable: str) -> str | None:
        """See `ServedRequest.header`."""
        wanted = variable.removeprefix("HTTP_").lower().replace("_", "-").encode("latin-1")
        values = [value.decode("latin-1") for name, value in self.connection["headers"] if name == wanted]
        return ",".join(values) if values else None

    async def send(self, message: Message) -> None:
        """The `send` that the application is given."""
        if self._is_refused:
            return
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            self.length = _declared_length(message.get("headers", ()))
            if self.is_replaceable and not self._is_started:
                self.held = message
                return
            self._is_started = True
        elif kind in _BODY:
            if kind == "http.response.body":
                self.sent += len(message.get("body", b""))
            else:
                self.sent += message.get("count") or self.length
            if not self.is_recorded and (self.sent >= self.length or not message.get("more_body", False)):
                try:
                    await self.finish_async()
                except RecordingFailed as error:
                    await self._refuse(error)
                    return
            if self.held is not None:
                start, self.held = self.held, None
                self._is_started = True
                await self._send(start)
        await self._send(message)

    def fail(self, error: BaseException) -> None:
        """The application raised, and servers answer 500; or it was cancelled, as servers do when a client left."""
        if isinstance(error, asyncio.CancelledError):
            self.is_cut_off = True
            return
        super().fail(error)
        if not self._is_started:
            self.status = 500

    def end(self) -> None:
        """The application has returned; whatever it has not sent by now, the client does not get."""
        if not self.is_recorded:
            # Django and Starlette return without an answer when the client has gone
            self.is_cut_off = True
            self.finish()

    async def _refuse(self, error: RecordingFailed) -> None:
        """Answer 503 instead of what the application answered.

        Raises:
            RecordingFailed: *error*, when the response has begun: the server aborts it.
        """
        complain(error)
        self.held = None
        self._is_refused = True
        if self._is_started:
            raise error
        await refuse(self._send)


async def refuse(send: Send) -> None:
    """Answer 503 with `Retry-After`."""
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in REFUSAL_HEADERS]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": REFUSAL})


Serve: TypeAlias = "Callable[[Any, Connection, Receive, Send], Awaitable[None]]"
"""An application's door: the application, and ASGI's three arguments."""


async def serve(  # noqa: PLR0917 - ASGI's own three arguments, and what a door knows
    scope_type: type[AsgiScope], call: Serve, app: object, connection: Connection, receive: Receive, send: Send
) -> None:
    """Let one connection through *call*, and record it if it is a request; see `serving.wsgi.serve`."""
    if connection["type"] != "http" or is_request_left_alone():
        return await call(app, connection, receive, send)
    outer = connection.get(KEY)
    if outer is not None and not outer.is_recorded:
        return await call(app, connection, receive, send)
    try:
        release = _logger.admit_request()
    except NoRoom as error:
        complain(error)
        return await refuse(send)
    try:
        scope = scope_type(connection, send, release)
    except Exception as error:  # noqa: BLE001 - an audit fault never breaks a request in fail mode open
        complain(error)
        if release is None:
            return await call(app, connection, receive, send)
        release()
        return await refuse(send)
    connection[KEY] = scope
    token = current_request.set(scope)
    try:
        await call(app, connection, receive, scope.send)
        scope.end()
    except BaseException as error:
        scope.finish_after(error)
        raise
    finally:
        current_request.reset(token)
        connection.pop(KEY, None)


def _declared_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    for name, value in headers:
        if name.lower() == b"content-length":
            return int(value) if value.isdigit() else ENDLESS
    return ENDLESS
