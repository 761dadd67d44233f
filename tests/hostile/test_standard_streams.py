"""Commands whose output goes nowhere, or to a terminal of a size that is none: a status, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = f"{sys.executable} -m otel_audit.cli"


def _run(command: str, directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        ["/bin/sh", "-c", command.replace("otel-audit", COMMAND, 1)],
        cwd=directory,
        env=kept | {"OTEL_AUDIT_DIR": str(directory / "state"), **environ},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("otel-audit keys show >&-", 4),
        ("otel-audit keys show <&- >&- 2>&-", 4),
        ("otel-audit verify nowhere.jsonl 2>&-", 2),
        ("otel-audit verify nowhere.jsonl 2>/dev/full", 2),
        ("otel-audit doctor >/dev/full", 2),
        ("otel-audit doctor >/dev/full 2>/dev/full", 2),
    ],
)
def test_output_that_goes_nowhere_leaves_a_status(command: str, status: int, tmp_path: Path) -> None:
    """1 would say that the log was tampered with."""
    ran = _run(command, tmp_path)

    assert (ran.returncode, ran.stdout) == (status, "")
    assert "Traceback" not in ran.stderr
    assert ran.stderr.count("\n") <= 1


def test_what_is_printed_nowhere_stands_in_no_file_either(tmp_path: Path) -> None:
    """A closed descriptor is the next one that is opened."""
    _run("otel-audit keys init . --json >&- 2>&-", tmp_path)

    key = (tmp_path / "issuer-key.pem").read_text()
    assert key.startswith("-----BEGIN")
    assert key.endswith("-----\n")


@pytest.mark.parametrize("size", ["²", "0", "-1", "9" * 5000, "1e3", " 80"])
def test_a_size_of_the_terminal_that_is_none_is_passed_over(size: str, tmp_path: Path) -> None:
    ran = _run("otel-audit keys show", tmp_path, COLUMNS=size, LINES=size)

    assert (ran.returncode, ran.stderr) == (4, "")
    assert ran.stdout == "No issuer yet: the first event makes one, or otel-audit keys init does.\n"


def test_one_column_is_a_size(tmp_path: Path) -> None:
    assert _run("otel-audit doctor", tmp_path, COLUMNS="1").returncode == 0
