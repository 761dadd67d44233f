"""Milliseconds to be ready in a new process: the stock SDK's imports, or those and ours with `configure()`."""

from __future__ import annotations

import sys
import time

began = time.perf_counter()
from opentelemetry import trace  # noqa: E402, F401
from opentelemetry.sdk._logs import LoggerProvider  # noqa: E402, F401
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402, F401

if sys.argv[1] == "otel-audit":
    import otel_audit

    otel_audit.configure()
print((time.perf_counter() - began) * 1e3)
