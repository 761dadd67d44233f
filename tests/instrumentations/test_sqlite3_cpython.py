"""CPython's own tests of sqlite3 give the same result with auditing on: same run, skipped, failed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = """
import contextlib, json, sys, unittest
from otel_audit.testing import recording

class Names(unittest.TextTestResult):
    def startTest(self, test):
        super().startTest(test)
        ran.append(test.id())

ran = []
with contextlib.ExitStack() as stack:
    log = stack.enter_context(recording()) if sys.argv[1] == "on" else None
    if log is not None:
        from otel_audit_sqlite3 import SQLite3AuditInstrumentor
        SQLite3AuditInstrumentor().instrument()
    suite = unittest.defaultTestLoader.loadTestsFromName("test.test_sqlite3")
    result = unittest.TextTestRunner(sys.stderr, resultclass=Names).run(suite)
    events = len(log.records) if log is not None else 0
print(json.dumps({
    "events": events,
    "outcome": {
        "ran": sorted(ran),
        "skipped": sorted(test.id() for test, _ in result.skipped),
        "failed": sorted(test.id() for test, _ in result.failures + result.errors),
    },
}))
"""


def _has_cpythons_tests() -> bool:
    try:
        return importlib.util.find_spec("test.test_sqlite3") is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.skipif(
    not _has_cpythons_tests(),
    reason="this interpreter comes without the package test.test_sqlite3 (Debian: libpython3-testsuite)",
)
def test_cpythons_own_tests_give_the_same_result_with_auditing_on(tmp_path: Path) -> None:
    plain, audited = (_run(auditing, tmp_path) for auditing in ("off", "on"))

    assert audited["outcome"] == plain["outcome"]
    assert len(plain["outcome"]["ran"]) > 400
    assert plain["outcome"]["failed"] == []
    assert audited["events"] > 1000


def _run(auditing: str, directory: Path) -> dict[str, Any]:
    completed = subprocess.run(
        [sys.executable, "-c", RUN, auditing], cwd=directory, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    result: dict[str, Any] = json.loads(completed.stdout.splitlines()[-1])
    return result
