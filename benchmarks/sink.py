"""An OTLP/HTTP sink in a process of its own: it takes every request, answers at once, and can keep what came.

`running_sink(keep=PATH)` from another script, or `sink.py PORT [PATH]`; it ends when its standard input does.
A kept request is its length, 4 bytes, and its body as it stood on the wire.
"""

from __future__ import annotations

import gzip
import socketserver
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (  # pyright: ignore[reportMissingTypeStubs]
    ExportLogsServiceRequest,
)

_GZIP = b"\x1f\x8b"


@contextmanager
def running_sink(port: int = 0, keep: Path | None = None) -> Generator[str]:
    """The endpoint of a sink on loopback while the block runs; *port* 0: any."""
    command = [sys.executable, __file__, str(port), *([] if keep is None else [str(keep)])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.communicate(timeout=60)


def kept_requests(path: Path) -> Iterator[bytes]:
    """Request bodies as they came, in order."""
    if not path.exists():
        return
    with path.open("rb") as file:
        while head := file.read(4):
            yield file.read(int.from_bytes(head))


def kept_bodies(path: Path) -> Iterator[str]:
    """The body of every log record that came, repetitions included."""
    for data in kept_requests(path):
        message = ExportLogsServiceRequest.FromString(gzip.decompress(data) if data[:2] == _GZIP else data)
        for resource in message.resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    yield record.body.string_value


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def _serve(port: int, keep: Path | None) -> None:
    lock = threading.Lock()
    file = None if keep is None else keep.open("ab", buffering=0)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while (size := self._read_head()) is not None:
                body = self.rfile.read(size)
                if len(body) < size:
                    return  # the client was killed while it sent
                if file is not None:
                    with lock:
                        file.write(size.to_bytes(4) + body)
                self.wfile.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
                )

        def _read_head(self) -> int | None:
            size = 0
            while (line := self.rfile.readline()) != b"\r\n":
                if not line:
                    return None
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    size = int(value)
            return size

    with _Server(("127.0.0.1", port), Handler) as server:
        print(server.server_address[1], flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
