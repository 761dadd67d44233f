"""What a sink may answer: by its body, its status, its headers. One of four words, never an exception."""

from __future__ import annotations

from collections.abc import Iterator

from otel_audit.export.outcome import Delivered, Partial, Refused, Retry, one_line, read_answer, status_message

REGRESSIONS: tuple[bytes, ...] = ()
_TYPES = ("application/json", "application/x-protobuf", "", "text/html; charset=x", "application/grpc")


def seeds() -> Iterator[bytes]:
    for at in range(len(_TYPES)):
        yield bytes([at]) + b'{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}'
        yield bytes([at]) + b"\x0a\x08\x08\x03\x12\x04oops"
        yield bytes([at]) + b"<html>\x1b[2J"
        yield bytes([at])


def target(data: bytes) -> None:
    kind, body = _TYPES[data[0] % len(_TYPES)] if data else "", data[1:]
    answer = read_answer(body, kind)
    assert isinstance(answer, Delivered | Partial | Refused | Retry)
    if isinstance(answer, Partial):
        assert answer.rejected > 0
    assert one_line(body).isprintable()
    assert status_message(body, kind).isprintable()
