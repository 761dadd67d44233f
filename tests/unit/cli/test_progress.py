"""The moving line that somebody at a terminal sees while an archive is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.archives import Archive


def read_all(descriptor: int) -> str:
    """What is drawn until the terminal's other side is closed, which Linux says by EIO."""
    parts: list[bytes] = []
    while True:
        try:
            parts.append(os.read(descriptor, 65_536))
        except OSError:
            return b"".join(parts).decode()


def test_the_line_says_what_was_found_until_there_are_records(tmp_path: Path) -> None:
    archive = Archive()
    archive.stream().events(2)
    archive.write(tmp_path)
    ours, theirs = os.openpty()

    process = subprocess.Popen(
        [sys.executable, "-m", "otel_audit.cli", "verify", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    drawn = read_all(ours)
    os.close(ours)

    assert process.wait() == 3
    assert "verifying 0 streams or files found" in drawn
    assert "3 records" in drawn
