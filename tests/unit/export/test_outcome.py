"""What answers mean: which acknowledge, and which do not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (  # pyright: ignore[reportMissingTypeStubs]
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)

from otel_audit.export.outcome import (
    LONGEST_WAIT_S,
    Delivered,
    Partial,
    Retry,
    read_answer,
    retry_after_s,
    status_message,
)

PROTOBUF = "application/x-protobuf"


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1), st.text(max_size=50))
def test_what_the_official_class_writes_is_read(rejected: int, message: str) -> None:
    partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
    answer = ExportLogsServiceResponse(partial_success=partial).SerializeToString()

    if rejected:
        assert read_answer(answer, PROTOBUF) == Partial(rejected, message or "no reason given")
    else:
        assert read_answer(answer, PROTOBUF) == Delivered(message)


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["", PROTOBUF, "application/json", "text/html", "text/plain"]))
def test_no_answer_crashes_and_only_well_formed_ones_acknowledge(body: bytes, kind: str) -> None:
    outcome = read_answer(body, kind)

    assert isinstance(outcome, Delivered | Partial | Retry)
    if isinstance(outcome, Delivered) and body:
        assert kind in ("", PROTOBUF, "application/json")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>sign in</html>", "text/html"),
        (b"<html>sign in</html>", PROTOBUF),
        (b"OK", "text/plain"),
        (b"\x0a\x05\x08", PROTOBUF),
        (b"\x12\x00", PROTOBUF),
        (b"\x0a\x02\x18\x01", PROTOBUF),
        (b'{"status":"ok"}', "application/json"),
        (b'{"partialSuccess":{"code":1}}', "application/json"),
        (b'{"partialSuccess":{"rejectedLogRecords":"many"}}', "application/json"),
        (b"[]", "application/json"),
        (b"{", "application/json"),
    ],
)
def test_what_is_not_otlp_does_not_acknowledge(body: bytes, kind: str) -> None:
    outcome = read_answer(body, kind)

    assert isinstance(outcome, Retry)
    assert "not OTLP" in outcome.why


def test_json_of_a_partial_success_is_read_with_its_integer_as_a_string() -> None:
    body = b'{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"no"}}'

    assert read_answer(body, "application/json") == Partial(3, "no")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("99999999", LONGEST_WAIT_S),
        ("\x1d1", None),
        ("\u0661", None),
        ("soon", None),
        ("-1", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", LONGEST_WAIT_S),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2100 00:00:00 +99999999999999999999", None),
    ],
)
def test_retry_after_is_believed_within_bounds(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header) == seconds


def test_what_a_sink_says_is_one_short_printable_line() -> None:
    said = status_message(b"bad\r\nrequest\x1b[31m \xff" + b"x" * 5000, "text/plain")

    assert said.startswith("bad request")
    assert said.isprintable()
    assert len(said) <= 201


def test_a_status_of_protobuf_is_read_and_a_page_is_not_repeated() -> None:
    assert status_message(b"\x08\x03\x12\x0abad record", "application/x-protobuf") == "bad record"
    assert status_message(b"<html>", "text/html; charset=utf-8") == ""
    assert status_message(b"\x12\x7f", "application/x-protobuf") == ""
