"""Starts the process that imports the application, waits for it within bounds, and reads what it has found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from otel_audit.errors import SourceError

_LEFT_OUT = (
    "OTEL_AUDIT_COVERAGE",
    "OTEL_AUDIT_EXPORTER_OTLP_",
    "OTEL_AUDIT_IDENTITY",
    "OTEL_AUDIT_LOCAL_RETENTION",
    "OTEL_CONFIG_FILE",
    "OTEL_EXPORTER_OTLP_",
)
"""Beginnings of variables that would send something, or need what only the service itself may read."""
_SET = {
    "OTEL_AUDIT_DIR": "memory:",
    "OTEL_AUDIT_EXPORTER": "thread",
    "OTEL_AUDIT_FAIL_MODE": "open",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_TRACES_EXPORTER": "none",
}


def surveyed(application: str, timeout: timedelta) -> dict[str, Any]:
    """What the survey of *application* has found, see `found.Found.document`.

    The application's import runs in a process of its own, with every hook in place, records in memory only and
    no network of ours; what it prints goes to standard error.

    Raises:
        SourceError: the import failed, took longer than *timeout*, or ended the process.
    """
    what = application or "the application"
    with tempfile.TemporaryDirectory(prefix="otel-audit-") as directory:
        answer = Path(directory) / "found.json"
        # in a session of its own, so that whatever the application has started ends with it
        with subprocess.Popen(  # noqa: S603 - this interpreter, and the operator's own application
            [sys.executable, "-m", "otel_audit.cli.coverage.survey", str(answer), application],
            env=environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
        ) as process:
            try:
                status = process.wait(timeout.total_seconds())
            except subprocess.TimeoutExpired:
                raise SourceError(
                    f"{what}: its import did not end within {timeout.total_seconds():g} s: "
                    "give --timeout, or see what it waits for"
                ) from None
            finally:
                _end(process)
        if not answer.exists():
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise SourceError(f"{what}: its process ended before the import was done ({how}); see what it printed")
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "failed" in found:
        raise SourceError(f"{what}: the {found['failed']} failed: {found['why']}")
    return dict(found["found"])


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The application's environment, as `opentelemetry-instrument` makes it, without what leaves this machine."""
    from opentelemetry.instrumentation import auto_instrumentation

    kept = {name: value for name, value in environ.items() if not name.startswith(_LEFT_OUT)}
    # opentelemetry-instrumentation 0.66, auto_instrumentation.run: its own folder first, then where it was started
    own, here = str(Path(auto_instrumentation.__file__).parent), str(Path.cwd())
    path = [folder for folder in environ.get("PYTHONPATH", "").split(os.pathsep) if folder not in ("", own)]
    return {**kept, **_SET, "PYTHONPATH": os.pathsep.join([own, *([] if here in path else [here]), *path])}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever of the process and its children is still there."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
