"""A sink that answers as it is told: real HTTP and gRPC servers on loopback, read with the official classes."""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import orjson
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs] - there are no stubs
from opentelemetry.proto.collector.logs.v1 import (  # pyright: ignore[reportMissingTypeStubs]
    logs_service_pb2_grpc as service,
)
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

PATIENCE_S = 60.0
"""How long a test waits for what must happen; far more than it takes on a busy machine."""


@dataclass
class Request:
    """One request as the sink has it."""

    number: int
    """From 0 on, over all connections."""
    message: ExportLogsServiceRequest
    headers: dict[str, str]

    @property
    def bodies(self) -> list[bytes]:
        """Record bodies in order."""
        return [
            record.body.string_value.encode()
            for resource in self.message.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def carries(self, target: str) -> bool:
        """Whether a record about *target* is among them."""
        return any(orjson.loads(body).get("target", {}).get("id") == target for body in self.bodies)


@dataclass
class Reply:
    """What the sink does with a request."""

    status: int = 200
    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    body: bytes = b""
    content_type: str = "application/x-protobuf"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    is_taken: bool = True
    rejected: int = 0
    waits_for: threading.Event | None = None
    """Answer only once this is set."""
    is_reset: bool = False
    """Break the connection off instead of answering."""
    trickles: threading.Event | None = None
    """Answer with a header that never ends, one byte every hundredth of a second, until this is set."""
    retry_info_s: int | None = None
    """By gRPC: a `google.rpc.RetryInfo`."""


TAKE = Reply()
Behaviour = Callable[[Request], Reply]


class Sink:
    """What both servers have in common: records in the order in which they were taken."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = lambda _: TAKE
        self.bodies: list[bytes] = []
        self.requests: list[Request] = []
        self.too_large = 0
        self.changed = threading.Condition()

    def answer(self, message: ExportLogsServiceRequest, headers: dict[str, str]) -> Reply:
        with self.changed:
            request = Request(len(self.requests), message, headers)
            self.requests.append(request)
            self.changed.notify_all()
        reply = self.behaviour(request)
        if reply.waits_for is not None:
            reply.waits_for.wait(PATIENCE_S)
        with self.changed:
            if reply.is_taken:
                self.bodies += request.bodies
            self.changed.notify_all()
        return reply

    def refuse(self) -> None:
        """Count a request that is too large to be read."""
        with self.changed:
            self.too_large += 1
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], object], what: str = "") -> None:
        """Block until *condition* holds, looked at after each request."""
        with self.changed:
            assert self.changed.wait_for(lambda: bool(condition()), PATIENCE_S), what or "it did not happen"

    @property
    def records(self) -> list[dict[str, Any]]:
        """Members of everything taken, duplicates left out, in the order of the first arrival."""
        return [orjson.loads(body) for body in dict.fromkeys(self.bodies)]

    def targets(self) -> list[str]:
        """Targets of the events taken, in the order of their first arrival."""
        return [record["target"]["id"] for record in self.records if "target" in record]


def partial(rejected: int, message: str = "no") -> bytes:
    """A serialised answer that rejects some."""
    answer = ExportLogsServiceResponse(
        partial_success=ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
    )
    return answer.SerializeToString()


def retry_info(reply: Reply) -> bytes:
    """A `google.rpc.Status` that says when to come again."""
    status = status_pb2.Status(code=reply.code.value[0], message=reply.details)
    delay = duration_pb2.Duration(seconds=reply.retry_info_s)
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    data: bytes = status.SerializeToString()
    return data


class HttpSink(Sink):
    """OTLP/HTTP."""

    def __init__(
        self,
        wrap: Callable[[socket.socket], socket.socket] | None = None,
        port: int = 0,
        limit_bytes: int = 1 << 30,
    ) -> None:
        """*limit_bytes*: what is larger is refused by its length, before it is read."""
        super().__init__()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                if length > limit_bytes:
                    self.send_response(413)
                    self.send_header("content-length", "0")
                    self.end_headers()
                    sink.refuse()
                data = self.rfile.read(length)
                if length > limit_bytes:
                    return
                if self.headers.get("content-encoding") == "gzip":
                    data = gzip.decompress(data)
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = sink.answer(ExportLogsServiceRequest.FromString(data), {**headers, ":path": self.path})
                if reply.is_reset:
                    self._reset()
                    return
                if reply.trickles is not None:
                    self._trickle(reply.trickles)
                    return
                body = partial(reply.rejected) if reply.rejected else reply.body
                self.send_response(reply.status)
                for name, value in {"content-type": reply.content_type, **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _trickle(self, stop: threading.Event) -> None:
                self.close_connection = True
                with contextlib.suppress(OSError):  # the client has gone
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
                    while not stop.wait(0.01):
                        self.wfile.write(b"a")

            def _reset(self) -> None:
                """Half an answer, then RST."""
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-le")
                self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

            def finish(self) -> None:
                if self.connection.fileno() >= 0:
                    super().finish()

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that has gone is what several tests are about."""

        self._server = Server(("127.0.0.1", port), Handler)
        if wrap is not None:
            self._server.socket = wrap(self._server.socket)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class GrpcSink(Sink, service.LogsServiceServicer):
    """OTLP/gRPC."""

    def __init__(
        self, credentials: grpc.ServerCredentials | None = None, port: int = 0, limit_bytes: int = 4 << 20
    ) -> None:
        """*limit_bytes*: what is larger is refused by the server itself."""
        super().__init__()
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", limit_bytes)]
        self._server = grpc.server(ThreadPoolExecutor(4), options=options)
        service.add_LogsServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]  # pyright: ignore[reportUnknownMemberType]
        address = f"127.0.0.1:{port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        self._server.start()

    def Export(self, request: ExportLogsServiceRequest, context: Any) -> ExportLogsServiceResponse:  # noqa: N802
        metadata = {name: str(value) for name, value in context.invocation_metadata()}
        reply = self.answer(request, metadata)
        if reply.code is not grpc.StatusCode.OK:
            if reply.retry_info_s is not None:
                context.set_trailing_metadata((("grpc-status-details-bin", retry_info(reply)),))
            context.abort(reply.code, reply.details)
        return ExportLogsServiceResponse.FromString(partial(reply.rejected) if reply.rejected else b"")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.stop(0).wait(5)
