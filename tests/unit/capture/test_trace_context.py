"""`traceparent` is read strictly, and as opentelemetry-api reads it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_audit.capture.trace_context import ids_of_span, new_ids, parse_traceparent

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"

# W3C Trace Context §3.2.2.3 and its test suite (trace-context/test/test.py)
TABLE: list[tuple[str | None, bool]] = [
    (f"00-{TRACE}-{SPAN}-01", True),
    (f"00-{TRACE}-{SPAN}-00", True),
    (f" 00-{TRACE}-{SPAN}-01\t", True),
    (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
    (f"cc-{TRACE}-{SPAN}-01", True),
    (f"cc-{TRACE}-{SPAN}-01.what", False),
    (f"00-{TRACE}-{SPAN}-01-extra", False),
    (f"ff-{TRACE}-{SPAN}-01", False),
    (f"00-{'0' * 32}-{SPAN}-01", False),
    (f"00-{TRACE}-{'0' * 16}-01", False),
    (f"00-{TRACE.upper()}-{SPAN}-01", False),
    (f"00-{TRACE[:-1]}-{SPAN}-01", False),
    (f"00-{TRACE}-{SPAN}-1", False),
    (f"0-{TRACE}-{SPAN}-01", False),
    (f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01", False),
    (f"00-{TRACE}-{SPAN}-01\n", False),
    ("", False),
    (None, False),
]


@pytest.mark.parametrize(("header", "is_valid"), TABLE)
def test_a_traceparent_is_whole_or_none(header: str | None, is_valid: bool) -> None:
    assert parse_traceparent(header) == ((TRACE, SPAN) if is_valid else None)


@given(
    st.from_regex(r"\A([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[a-z]{0,3})?)\Z")
    | st.text("0123456789abcdefABCDEF- ", max_size=60)
)
def test_it_is_read_as_opentelemetry_reads_it(header: str) -> None:
    context = TraceContextTextMapPropagator().extract({"traceparent": header})
    span = get_current_span(context)

    assert parse_traceparent(header) == (None if span is INVALID_SPAN else ids_of_span(span))


def test_the_applications_random_seed_repeats_no_ids() -> None:
    random.seed(1)
    first = new_ids()
    random.seed(1)

    assert first != new_ids()
    assert [len(part) for part in first] == [32, 16]
