"""A response's body on its way to the server: counted, and the moment of the request's record.

Inside `serving.wsgi`, for bodies whose end is not known when the application returns them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from otel_audit.capture.request import current_request
from otel_audit.errors import RecordingFailed

if TYPE_CHECKING:
    from otel_audit.serving.wsgi import WsgiScope


class AuditedBody:
    """An iterable of the same bytes, as lazy as the body that it wraps.

    What runs while the body is made (a generator's queries) belongs to the request. The record is made
    when the declared length is reached, before its last bytes leave; else when the body ends, raises, or
    is closed before its end by a server whose client has gone.
    """

    __slots__ = ("_body", "_next", "_scope")

    def __init__(self, scope: WsgiScope, body: Iterable[bytes]) -> None:
        self._scope = scope
        self._body = body
        self._next: Callable[[], bytes] = iter(body).__next__

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        scope = self._scope
        token = current_request.set(scope)
        try:
            chunk = self._next()
            scope.sent += len(chunk)
            if scope.sent >= scope.length and not scope.is_recorded:
                scope.finish()
        except StopIteration:
            if scope.is_recorded:
                raise
            return self._end()
        except RecordingFailed as error:
            if not scope.is_recorded:  # the application's own, out of its generator
                scope.finish_after(error)
                raise
            return self._refused(error)
        except BaseException as error:
            scope.finish_after(error)
            raise
        else:
            if scope.held is not None:
                scope.flush()
            return chunk
        finally:
            current_request.reset(token)

    def close(self) -> None:
        """Close the body within; a record is made if its end was never reached."""
        scope = self._scope
        token = current_request.set(scope)
        try:
            close_body(self._body)
            if not scope.is_recorded:
                scope.is_cut_off = scope.method != "HEAD"
                scope.finish()
        except BaseException as error:
            scope.finish_after(error)
            raise
        finally:
            current_request.reset(token)

    def _end(self) -> bytes:
        scope = self._scope
        try:
            scope.finish()
        except RecordingFailed as error:
            return self._refused(error)
        scope.flush()
        raise StopIteration

    def _refused(self, error: RecordingFailed) -> bytes:
        refused = self._scope.refuse(error)
        self._next = iter(()).__next__
        return refused


def close_body(body: object) -> None:
    """Call the body's `close`, where it has one (PEP 3333)."""
    close: Callable[[], None] | None = getattr(body, "close", None)
    if close is not None:
        close()
