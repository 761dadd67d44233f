"""OTLP/HTTP with protobuf bodies, by `requests`.

Export stage. Nothing is followed elsewhere: a redirect is an answer of somebody who is not the sink.
"""

from __future__ import annotations

import re
import time
import zlib
from http.client import BadStatusLine, RemoteDisconnected

import requests
from requests import PreparedRequest, Response, Session
from urllib3.exceptions import HTTPError

from otel_audit.endpoint import Endpoint
from otel_audit.export.http_deadline import TimelyAdapter
from otel_audit.export.outcome import (
    Outcome,
    Refused,
    Retry,
    no_answer,
    no_connection,
    no_trust,
    one_line,
    read_answer,
    retry_after_s,
    status_message,
)

_CONNECTION = re.compile(r"^\w+\(host=[^)]*\): ")
"""What urllib3 puts before its reasons; the address is said already."""

_REFUSALS = (400, 413, 422)
_LONGEST_ANSWER_BYTES = 64 << 10
"""An OTLP response is a few bytes; what is longer is a page, and is not read to its end."""

_ADVICE = {
    401: "the token is missing, wrong or has run out: see OTEL_AUDIT_EXPORTER_OTLP_HEADERS",
    403: "the token or certificate does not allow it: see OTEL_AUDIT_EXPORTER_OTLP_HEADERS and _CLIENT_CERTIFICATE",
    404: "the path is wrong: see OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT",
    405: "the path is wrong: see OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT",
    407: "a proxy wants credentials: see HTTPS_PROXY",
    415: "it does not take OTLP as protobuf: see OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT and _PROTOCOL",
    429: "it takes no more for now",
}


class HttpTransport:
    """Implements `outcome.Transport`."""

    def __init__(self, endpoint: Endpoint, user_agent: str) -> None:
        self._endpoint = endpoint
        self._headers = {
            "content-type": "application/x-protobuf",
            "user-agent": user_agent,
            **endpoint.headers,
        }
        if endpoint.compression == "gzip":
            self._headers["content-encoding"] = "gzip"
        self._session: Session | None = None

    def send(self, request: bytes) -> Outcome:
        """See `Transport.send`."""
        endpoint = self._endpoint
        if endpoint.compression == "gzip":
            request = _gzip(request)
        deadline_s = time.monotonic() + endpoint.timeout_s
        try:
            with self._opened().post(
                endpoint.target,
                data=request,
                headers=self._headers,
                timeout=endpoint.timeout_s,
                # not `Session.verify`, which REQUESTS_CA_BUNDLE in the environment overrides (requests #3829)
                verify=None if endpoint.certificate is None else str(endpoint.certificate),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = _read(response, deadline_s)
        except (requests.RequestException, HTTPError, OSError) as error:
            return Retry(_unreachable(endpoint, error))
        if body is None:
            return Retry(f"did not finish its answer within {endpoint.timeout_s:g} s: its own log says why")
        return _judge(response, body)

    def renew(self) -> None:
        """See `Transport.renew`."""
        self.close()

    def close(self) -> None:
        """See `Transport.close`."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _opened(self) -> Session:
        if self._session is None:
            endpoint = self._endpoint
            session = self._session = Session()
            session.auth = _as_it_is
            session.mount("http://", TimelyAdapter())
            session.mount("https://", TimelyAdapter())
            if endpoint.client_certificate is not None and endpoint.client_key is not None:
                session.cert = (str(endpoint.client_certificate), str(endpoint.client_key))
        return self._session


def _as_it_is(request: PreparedRequest) -> PreparedRequest:
    """Keep `requests` from putting a `.netrc` entry in the place of the token that was configured."""
    return request


def _read(response: Response, deadline_s: float) -> bytes | None:
    """The answer's body, as much of it as an OTLP response can have; None when it does not come in time."""
    body = b""
    while len(body) <= _LONGEST_ANSWER_BYTES:
        chunk: bytes = response.raw.read1(_LONGEST_ANSWER_BYTES, decode_content=True)
        if not chunk:
            return body
        body += chunk
        if time.monotonic() > deadline_s:
            return None
    return body


def _judge(response: Response, body: bytes) -> Outcome:
    status = response.status_code
    if 200 <= status < 300:
        return read_answer(body, response.headers.get("content-type", ""))
    said = status_message(body, response.headers.get("content-type", ""))
    what = f"answers {status} {response.reason or ''}".rstrip() + (f" ({said})" if said else "")
    if status in _REFUSALS:
        return Refused(what, is_size=status == 413)
    if 300 <= status < 400:
        elsewhere = one_line(response.headers.get("location", "").encode())
        return Retry(
            f"{what} and points to {elsewhere!r}: set OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT to the sink itself"
        )
    advice = _ADVICE.get(status, "its own log says why")
    return Retry(f"{what}: {advice}", retry_after_s(response.headers.get("retry-after")))


def _unreachable(endpoint: Endpoint, error: Exception) -> str:
    inner = _innermost(error)
    reason = one_line(_CONNECTION.sub("", str(inner)).encode()) or type(inner).__name__
    if isinstance(error, requests.exceptions.SSLError):
        return no_trust(reason)
    if isinstance(error, requests.exceptions.Timeout):
        return no_answer(endpoint.timeout_s)
    if isinstance(inner, BadStatusLine) and not isinstance(inner, RemoteDisconnected):
        return (
            f"does not speak HTTP ({reason}): if it is a gRPC port (4317), set "
            "OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL=grpc, else correct OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT"
        )
    return no_connection(reason)


def _innermost(error: BaseException) -> BaseException:
    """The first cause, which urllib3 and requests wrap into each other."""
    inner: object = error
    while isinstance(inner, BaseException):
        error = inner
        inner = getattr(inner, "reason", None) or next(
            (argument for argument in inner.args if isinstance(argument, BaseException)), None
        )
    return error


def _gzip(data: bytes) -> bytes:
    # level 1: a third of the time of the default level for a tenth more bytes; zlib gives up the interpreter lock
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()
