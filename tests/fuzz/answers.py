"""What a sink may answer: by its body, its status, its headers. One of four words, never an exception."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from otel_audit.export import otlp_grpc
from otel_audit.export.outcome import (
    LONGEST_WAIT_S,
    Delivered,
    Partial,
    Refused,
    Retry,
    one_line,
    read_answer,
    retry_after_s,
    status_message,
)

REGRESSIONS = (
    b"\2Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    b"\2Mon, 01 Jan 2020 00:00:00 +9999999999999999",
    b"\2\x1d1",
)
_grpc_delay_s: Callable[[bytes], float | None] = vars(otlp_grpc)["_delay_s"]
_TYPES = ("application/json", "application/x-protobuf", "", "text/html; charset=x", "application/grpc")


def seeds() -> Iterator[bytes]:
    for at in range(len(_TYPES)):
        yield bytes([at]) + b'{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}'
        yield bytes([at]) + b"\x0a\x08\x08\x03\x12\x04oops"
        yield bytes([at]) + b"<html>\x1b[2J"
        yield bytes([at])
    for header in ("120", "Fri, 01 Jan 2100 00:00:00 GMT", "Friday, 01-Jan-60 00:00:00 +0100 (x)"):
        yield b"\2" + header.encode()
    yield b"\2" + b"\x12\x08\x0a\x06\x08\xac\x02\x10\x80\x01"


def target(data: bytes) -> None:
    kind, body = _TYPES[data[0] % len(_TYPES)] if data else "", data[1:]
    answer = read_answer(body, kind)
    assert isinstance(answer, Delivered | Partial | Refused | Retry)
    if isinstance(answer, Partial):
        assert answer.rejected > 0
    for wait_s in (retry_after_s(body.decode("latin-1")), _grpc_delay_s(body)):
        assert wait_s is None or 0 <= wait_s <= LONGEST_WAIT_S
    assert one_line(body).isprintable()
    assert status_message(body, kind).isprintable()
