"""Milliseconds to be ready in a new process: the stock SDK's imports, or those and ours with `configure()`."""

from __future__ import annotations

import importlib
import sys
import time

began = time.perf_counter()
for module in ("opentelemetry.sdk._logs", "opentelemetry.sdk.trace"):
    importlib.import_module(module)

if sys.argv[1] == "otel-audit":
    import otel_audit

    otel_audit.configure()
print((time.perf_counter() - began) * 1e3)
