"""A server that answers every connection with the same bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def answering(head: bytes, body: bytes = b"") -> Generator[str]:
    """Its address; *head* is the status line and headers, without `content-length`."""
    answer = head.rstrip(b"\r\n") + b"\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, answer), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def _serve(listener: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            _read_request(connection)
            try:
                connection.sendall(answer)
            except OSError:
                continue


def _read_request(connection: socket.socket) -> None:
    came = b""
    while b"\r\n\r\n" not in came and (data := connection.recv(65536)):
        came += data
    head, _, body = came.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            left = int(line.partition(b":")[2]) - len(body)
            while left > 0 and (data := connection.recv(65536)):
                left -= len(data)
