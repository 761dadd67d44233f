"""What `import otel_audit` and `configure()` do not load: each is imported by who needs it, when it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import opentelemetry.sdk._logs, opentelemetry.sdk.trace
before = set(sys.modules)
import otel_audit
otel_audit.configure()
print(*sorted(sys.modules.keys() - before))
"""

LATER = (
    "cryptography",  # a stream's key and certificate: the first event
    "sqlglot", "otel_audit.capture.sql", "otel_audit.capture.sql_text",  # a driver that is hooked
    "requests", "grpc", "google.protobuf", "otel_audit.export.loop", "otel_audit.export.encoding",  # delivery
    "yaml",  # a policy file
    "sqlite3", "otel_audit.sources", "otel_audit.verify",  # reading back
    "asyncio", "multiprocessing", "ssl", "http", "email",
)  # fmt: skip
FOUND = 75
"""Modules that are loaded, of ours and of the standard library, over those of the stock SDK."""


def test_a_process_that_records_nothing_loads_no_more_than_it_must(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment |= {
        "OTEL_AUDIT_DIR": str(tmp_path / "state"),
        "OTEL_SERVICE_NAME": "bench",
        "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    }

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )

    loaded = done.stdout.split()
    assert [name for name in loaded if name.startswith(LATER)] == ["otel_audit.capture.sql_config"]
    assert len(loaded) <= FOUND * 1.1
