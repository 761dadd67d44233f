"""The demonstration goes as it is told, ends what it started, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "otel_audit.cli", "demo"]


def processes_in(directory: Path) -> list[str]:
    """Command lines of what runs in a directory below *directory*."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(directory) in str((process / "cwd").readlink()):
                found.append((process / "cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def test_the_demo_goes_as_told_and_cleans_up(tmp_path: Path) -> None:
    ran = subprocess.run(
        [*COMMAND, "--json"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    document = json.loads(ran.stdout)
    requests, *steps = document["steps"]

    assert (ran.returncode, document["as_told"], ran.stderr) == (0, True, "")
    assert (requests["requests"], requests["statuses"].count(401), requests["statuses"].count(403)) == (13, 2, 1)
    assert [step["exit_status"] for step in steps] == [0, 0, 0, 1, 1, 3]
    assert (list(tmp_path.iterdir()), processes_in(tmp_path)) == ([], [])


def test_ctrl_c_ends_what_the_demo_started(tmp_path: Path) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(COMMAND, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "started again" in line:
                break
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=120)

    assert (demo.returncode, err) == (130, "")
    assert (list(tmp_path.iterdir()), processes_in(tmp_path)) == ([], [])


def test_what_the_demo_needs_and_misses_is_named() -> None:
    code = (
        "import sys; sys.modules['gunicorn'] = None; sys.argv = ['otel-audit', 'demo']\n"
        "from otel_audit.cli import main; main()"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "otel-audit: the demo needs gunicorn: pip install gunicorn\n"
