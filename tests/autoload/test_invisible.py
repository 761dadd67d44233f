"""A process without events pays for the import of its hook and nothing else: no thread, no file, no stream."""

from __future__ import annotations

from pathlib import Path

from tests.autoload.servers import Spool, Start, wait_for


def threads(pid: int) -> int:
    """Threads of a process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def open_files(pid: int, below: Path) -> list[str]:
    """Files below a directory that a process holds open."""
    names = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return [name for name in names if name.startswith(str(below))]


def test_a_process_without_events_has_no_thread_no_open_file_and_no_stream(instrument: Start, spool: Spool) -> None:
    listed = instrument(
        "python",
        "-c",
        "import os, threading; print(threading.enumerate(), os.listdir('/proc/self/task'))",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*",
    )
    assert listed.wait() == 0
    assert "otel-audit" not in listed.log
    assert spool.streams() == {}
    assert not list(spool.directory.glob("*/*"))


def test_gunicorns_master_stays_as_it_was_and_a_worker_has_one_thread_more_from_its_first_event(
    instrument: Start, spool: Spool
) -> None:
    command = ("gunicorn", "--bind", "127.0.0.1:0", "app:app")
    without = instrument(*command, OTEL_AUDIT_ENABLED="false")
    program = instrument(*command)
    plain, audited = int(without.get("/items/1")), int(program.get("/items/1"))

    assert threads(program.pid) == threads(without.pid)
    assert open_files(program.pid, spool.directory) == []
    assert threads(audited) == threads(plain) + 1
    # the segment and its lock; its keeper may just be syncing a directory
    assert wait_for(lambda: len(open_files(audited, spool.directory)) == 2, "two open files")
