"""What is said of a sink that is not there, or is something else: which, why, and what to do now."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from otel_audit.endpoint import Endpoint
from otel_audit.export.loop import open_transport
from otel_audit.export.outcome import Retry
from otel_audit.settings import Settings
from tests.export.sink import GrpcSink, HttpSink

ADDRESS = "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL"
Port = Callable[[str], int]


@pytest.fixture
def port() -> Iterator[Port]:
    """The port of a server of that kind."""
    with ExitStack() as stack:

        def listen(kind: str) -> int:
            if kind == "http":
                http = HttpSink()
                stack.callback(http.close)
                return http.port
            if kind == "grpc":
                grpc = GrpcSink()
                stack.callback(grpc.close)
                return grpc.port
            silent = socket.create_server(("127.0.0.1", 0))
            number = int(silent.getsockname()[1])
            if kind == "closed":
                silent.close()
            else:
                stack.callback(silent.close)
            return number

        yield listen


def endpoint(address: str, protocol: str) -> Endpoint:
    found = Settings.from_environ({ADDRESS: address, PROTOCOL: protocol, f"{ADDRESS[:-8]}TIMEOUT": "2s"}).endpoint
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("protocol", "address", "what", "now"),
    [
        ("http/protobuf", "http:closed", "cannot be reached (", f"start it, or correct {ADDRESS}"),
        ("grpc", "http:closed", "cannot be reached (", f"start it, or correct {ADDRESS}"),
        ("http/protobuf", "http:grpc", "does not speak HTTP", f"set {PROTOCOL}=grpc"),
        ("grpc", "http:http", "does not speak gRPC", f"set {PROTOCOL}=http/protobuf"),
        ("http/protobuf", "https:http", "does not speak TLS", f"http:// in {ADDRESS}"),
        ("grpc", "https:http", "does not speak TLS", f"http:// in {ADDRESS}"),
        ("grpc", "https:grpc", "does not speak TLS", f"http:// in {ADDRESS}"),
        ("http/protobuf", "http:silent", "does not answer within 2 s", "its own log"),
        ("grpc", "http:silent", "does not answer within 2 s", "its own log"),
    ],
)
def test_the_line_says_what_is_wrong_and_what_to_do(
    protocol: str, address: str, what: str, now: str, port: Port
) -> None:
    """*address*: the scheme that is configured, and what listens there in truth."""
    scheme, _, kind = address.partition(":")
    transport = open_transport(endpoint(f"{scheme}://127.0.0.1:{port(kind)}", protocol))

    outcome = transport.send(b"")
    transport.close()

    assert isinstance(outcome, Retry)
    assert outcome.why.startswith(what)
    assert now in outcome.why
    assert "Connection(host=" not in outcome.why


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_name_that_nobody_knows_is_repeated(protocol: str) -> None:
    transport = open_transport(endpoint("http://no-such-host.invalid:4319", protocol))

    outcome = transport.send(b"")
    transport.close()

    assert isinstance(outcome, Retry)
    assert "no-such-host.invalid" in outcome.why
    assert outcome.why.endswith(f"start it, or correct {ADDRESS}")
