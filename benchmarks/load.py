"""A small closed-loop load generator: `load.py PORT REQUESTS CONNECTIONS` prints latencies in microseconds as JSON.

It ends after so many requests, or after `LASTS_S` where a server is slow; `count` says how many there were.

Each connection sends its next request when the response to the last one is there, and is kept alive; one thread
waits for all of them, so that no interpreter lock stands between a response and the clock.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

REQUEST = (
    b"GET /customers/42 HTTP/1.1\r\nHost: localhost\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\r\n"
)
LASTS_S = 10.0
WARM = 200
"""Requests before the clock counts: imports, caches, the stream's opening."""


class Connection:
    """One client: at most one request under way."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.open()

    def open(self) -> None:
        """Connect."""
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.began = 0

    def send(self) -> None:
        """Begin a request."""
        self.received = b""
        self.began = time.perf_counter_ns()
        self.socket.sendall(REQUEST)

    def receive(self) -> int | None:
        """Take what is there; nanoseconds since the request began once the response is whole.

        Raises:
            SystemExit: the response is not a success, or ends early.
        """
        data = self.socket.recv(65_536)
        if not data:
            raise SystemExit(f"the server closed the connection after {self.received!r}")
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return None
        if b" 200 " not in head[:13]:
            raise SystemExit(f"expected 200: {head!r}")
        return time.perf_counter_ns() - self.began


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise SystemExit(f"expected a Content-Length: {head!r}")


def run(port: int, count: int, connections: int) -> tuple[list[int], float]:
    """Latencies in nanoseconds of at most *count* requests, and the seconds that they took together."""
    taken: list[int] = []
    with selectors.DefaultSelector() as selector:
        clients = [Connection(port) for _ in range(connections)]
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send()
        began = time.perf_counter()
        while len(taken) < count and time.perf_counter() - began < LASTS_S:
            for key, _ in selector.select():
                ready: Connection = key.data
                latency = ready.receive()
                if latency is not None:
                    taken.append(latency)
                    ready.send()
        in_all_s = time.perf_counter() - began
        for client in clients:
            client.socket.close()
    return taken, in_all_s


def main() -> None:
    """Warm, measure, print."""
    port, count, connections = map(int, sys.argv[1:])
    run(port, WARM, connections)
    taken, in_all_s = run(port, count, connections)
    ordered = sorted(taken)
    shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    at = {name: ordered[int(len(ordered) * share)] / 1e3 for name, share in shares.items()}
    print(json.dumps({**at, "rate": len(taken) / in_all_s, "count": len(taken)}))


if __name__ == "__main__":
    main()
