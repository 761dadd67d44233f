"""Milliseconds to be ready in a new process: the stock SDK's imports, or those and ours with `configure()`.

From bytecode, which pip writes when it installs: a working tree under `PYTHONDONTWRITEBYTECODE` would be compiled
in every process, which takes twice as long as all else. So a process that is not measured writes it first.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import time


def ready(variant: str) -> float:
    """Import, and configure; returns milliseconds."""
    began = time.perf_counter()
    for module in ("opentelemetry.sdk._logs", "opentelemetry.sdk.trace"):
        importlib.import_module(module)
    if variant == "otel-audit":
        import otel_audit

        otel_audit.configure()
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    """Measure the second of two processes, unless this is one of them."""
    if len(sys.argv) > 2:
        print(ready(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = bytecode
        command = [sys.executable, __file__, sys.argv[1], "measured"]
        _, printed = (
            subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
            for _ in range(2)
        )
    print(printed.strip())


if __name__ == "__main__":
    main()
