"""Trace ids of a request, with or without tracing.

Capture stage, framework-neutral. W3C Trace Context, read strictly: what is not exactly a `traceparent` is
none, as in opentelemetry-api's own propagator.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from typing import TypeAlias

from opentelemetry.trace import Span

Ids: TypeAlias = tuple[str, str]
"""Trace id and span id, 32 and 16 lower-case hex digits."""

# W3C Trace Context §3.2.2. Version ff is invalid; later versions may append fields after a dash.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.ASCII)
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


def new_ids() -> Ids:
    """Random ids from the system, so that neither a fork nor the application's `random.seed` repeats them."""
    try:
        digits = os.urandom(24).hex()
    except OSError:  # the system has none to give; ids are no secret, and the request must not fail for them
        moment = f"{os.getpid()} {threading.get_ident()} {time.time_ns()} {time.perf_counter_ns()}"
        digits = hashlib.blake2b(moment.encode(), digest_size=24).hexdigest()
    return digits[:32], digits[32:]


def parse_traceparent(header: str | None) -> Ids | None:
    """Trace id and parent id of a `traceparent` header; None where there is none, or none that is valid."""
    if not header:
        return None
    match = _TRACEPARENT.fullmatch(header.strip(" \t"))
    if match is None or match[2] == _NO_TRACE or match[3] == _NO_SPAN or (match[1] == "00" and match[4]):
        return None
    return match[2], match[3]


def ids_of_span(span: Span | None) -> Ids | None:
    """The ids of a span, sampled or not; None where it is none or invalid (tracing is off)."""
    if span is None:
        return None
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"
