"""docs/api.md is a program that runs, and names everything that is public."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import otel_audit

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
TEST_FILE = "# test_billing.py\n"


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "OTEL_SERVICE_NAME": "billing",
        "OTEL_AUDIT_DIR": str(directory / "audit"),
        "OTEL_AUDIT_SPOOL_RESERVE": "1MiB",
    }
    return subprocess.run(
        [sys.executable, *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


def test_the_examples_are_one_program_that_records_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text("\n".join(block for block in BLOCKS if not block.startswith(TEST_FILE)))

    ran = run(tmp_path, "billing.py")

    assert (ran.returncode, ran.stderr) == (0, "")
    (log,) = (tmp_path / "audit" / "billing").glob("*/*.jsonl")
    records: list[dict[str, Any]] = [json.loads(line) for line in log.read_bytes().splitlines()]
    events = [record for record in records if not record["event"].startswith("audit.")]
    assert [(record["event"], record["actor"]["id"], record["outcome"]) for record in events] == [
        ("invoice.approve", "alice", "success"),
        ("report.export", "billing", "success"),
        ("invoice.create", "nightly-invoices", "success"),
        ("invoice.read", "carol", "success"),
        ("mail.send", "alice", "success"),
        ("user.login_failed", "billing", "failure"),
        ("invoice.reject", "billing", "success"),
        ("invoice.reject", "billing", "failure"),
    ]
    assert records[-1]["event"] == "audit.stream.close"


def test_the_example_of_a_test_passes(tmp_path: Path) -> None:
    (block,) = (block for block in BLOCKS if block.startswith(TEST_FILE))
    (tmp_path / "test_billing.py").write_text(block)

    ran = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_billing.py")

    assert "2 passed" in ran.stdout, ran.stdout


def test_every_public_name_is_on_the_page() -> None:
    page = PAGE.read_text()

    assert [name for name in otel_audit.__all__ if not re.search(rf"\b{name}\b", page)] == [
        "AuditLogger",
        "Receipt",
    ]
