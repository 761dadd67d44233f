"""OTLP/gRPC, by `grpcio`.

Export stage. The request is serialised already and the answer is read by `outcome`, so the method is called with
bytes; its name is that of the stub generated from collector/logs/v1/logs_service.proto.
"""

from __future__ import annotations

import re
from typing import cast

import grpc

from otel_audit.endpoint import Endpoint
from otel_audit.export.outcome import (
    LONGEST_WAIT_S,
    Outcome,
    Refused,
    Retry,
    no_answer,
    no_connection,
    no_trust,
    one_line,
    read_answer,
)
from otel_audit.small_files import MOST_PEM_BYTES, read_small

_METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_RETRY_INFO = "google.rpc.RetryInfo"

_NEVER_SENT = re.compile(r"handshake|SSL_ERROR|failed to connect|resolv|parsing HTTP/2|http1", re.IGNORECASE)
"""In what grpc-core 1.7x says of an UNAVAILABLE of its own; what the sink says has other words."""
_PREFIX = re.compile(r"^failed to connect to all addresses; last error: \w+: ")

_ADVICE = {
    grpc.StatusCode.UNAUTHENTICATED: (
        "the token is missing, wrong or has run out: see OTEL_AUDIT_EXPORTER_OTLP_HEADERS"
    ),
    grpc.StatusCode.PERMISSION_DENIED: (
        "the token or certificate does not allow it: see OTEL_AUDIT_EXPORTER_OTLP_HEADERS and _CLIENT_CERTIFICATE"
    ),
    grpc.StatusCode.UNIMPLEMENTED: (
        "no OTLP logs are received there: see OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT and _PROTOCOL"
    ),
    grpc.StatusCode.RESOURCE_EXHAUSTED: "it takes no more for now",
}


class GrpcTransport:
    """Implements `outcome.Transport`."""

    def __init__(self, endpoint: Endpoint, user_agent: str) -> None:
        self._endpoint = endpoint
        self._user_agent = user_agent
        self._metadata = tuple(endpoint.headers.items())
        self._channel: grpc.Channel | None = None

    def send(self, request: bytes) -> Outcome:
        """See `Transport.send`."""
        endpoint = self._endpoint
        try:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._opened().unary_unary(_METHOD)
            answer = call(request, timeout=endpoint.timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            return _judge(endpoint, cast("grpc.Call", error))
        except OSError as error:
            return Retry(f"cannot be reached: {error.filename}: {error.strerror}")
        return read_answer(answer, "")

    def renew(self) -> None:
        """See `Transport.renew`."""
        self.close()

    def close(self) -> None:
        """See `Transport.close`."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _opened(self) -> grpc.Channel:
        if self._channel is None:
            endpoint = self._endpoint
            options = [("grpc.primary_user_agent", self._user_agent), ("grpc.enable_retries", 0)]
            compression = (
                grpc.Compression.Gzip if endpoint.compression == "gzip" else grpc.Compression.NoCompression
            )
            if endpoint.is_secure:
                self._channel = grpc.secure_channel(
                    endpoint.target, _credentials(endpoint), options=options, compression=compression
                )
            else:
                self._channel = grpc.insecure_channel(endpoint.target, options=options, compression=compression)
        return self._channel


def _credentials(endpoint: Endpoint) -> grpc.ChannelCredentials:
    """Raises OSError where a file cannot be read."""
    read = [
        None if path is None else read_small(path, MOST_PEM_BYTES)
        for path in (endpoint.certificate, endpoint.client_key, endpoint.client_certificate)
    ]
    return grpc.ssl_channel_credentials(*read)


def _judge(endpoint: Endpoint, call: grpc.Call) -> Outcome:
    code = call.code()
    said = one_line((call.details() or "").encode())
    what = f"answers {code.name}" + (f" ({said})" if said else "")
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return Refused(what)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _is_about_size(said):
        return Refused(what, is_size=True)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Retry(no_answer(endpoint.timeout_s))
    if code is grpc.StatusCode.UNAVAILABLE and _NEVER_SENT.search(said):
        return Retry(_no_channel(_PREFIX.sub("", said)))
    advice = _ADVICE.get(code, "its own log says why")
    return Retry(f"{what}: {advice}", _retry_after_s(call))


def _no_channel(reason: str) -> str:
    if re.search(r"handshake|SSL_ERROR", reason):
        return no_trust(reason)
    if re.search(r"parsing HTTP/2|http1", reason):
        return (
            f"does not speak gRPC ({reason}): if it is an HTTP port (4318), set "
            "OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL=http/protobuf, else correct OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT"
        )
    return no_connection(reason)


def _is_about_size(said: str) -> bool:
    """Whether RESOURCE_EXHAUSTED is about this message: grpc-go and grpc-core both name its size and the limit."""
    return re.search(r"larger than max|message.{0,40}(too large|exceeds)", said, re.IGNORECASE) is not None


def _retry_after_s(call: grpc.Call) -> float | None:
    """`RetryInfo.retry_delay` among the details of a `google.rpc.Status`, if there is one."""
    for name, value in call.trailing_metadata() or ():
        if name == "grpc-status-details-bin" and isinstance(value, bytes) and _RETRY_INFO.encode() in value:
            return _delay_s(value.partition(_RETRY_INFO.encode())[2])
    return None


def _delay_s(data: bytes) -> float | None:
    """Seconds of `Any{value = 2: RetryInfo{retry_delay = 1: Duration{seconds = 1}}}`, behind the type's name."""
    # 12 LEN 0a LEN 08 SECONDS: each length is below 128; a delay of less than a second has no seconds
    if len(data) >= 4 and data[0] == 0x12 and data[2] == 0x0A:
        if data[3] >= 2 and len(data) >= 6 and data[4] == 0x08:
            seconds = shift = 0
            for byte in data[5:10]:
                seconds |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            return min(float(seconds), LONGEST_WAIT_S)
        return 0.0
    return None
