"""What is too large for memory goes to a temporary file; where there is no room for that, it is said."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.archives import Archive


def limit_files() -> None:
    """Let this process write no file of more than a mebibyte."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


@pytest.mark.parametrize(("command", "streams"), [("show", 1), ("verify", 2)], ids=["to keep", "to sort"])
def test_no_room_for_the_temporary_file_is_one_line_and_status_2(
    tmp_path: Path, command: str, streams: int
) -> None:
    """`show` ended in a stack trace. What SQLite keeps in memory are two mebibytes, and the records are more."""
    archive = Archive()
    for _ in range(streams):
        stream = archive.stream()
        for _ in range(100):
            stream.event(context={"text": "x" * 60_000})
    (tmp_path / "x.jsonl").write_bytes(b"\n".join(archive.bodies) + b"\n")

    done = subprocess.run(
        [sys.executable, "-m", "otel_audit.cli", command, str(tmp_path / "x.jsonl")],
        capture_output=True,
        text=True,
        env={**os.environ, "SQLITE_TMPDIR": str(tmp_path)},
        preexec_fn=limit_files,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "is there room in TMPDIR?" in done.stderr
