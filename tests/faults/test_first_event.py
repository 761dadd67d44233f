"""The first event of a process: a request waits for it, so nothing of it waits for a disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.autoload.servers import Spool, Start, wait_for
from tests.faults.emitting import PRELUDE, run
from tests.faults.power_cut.recording import is_available

LIVING = "emit()\nprint('ready', flush=True)\ntime.sleep(600)\n"


def assert_names(state: Spool, naming: int, named: int) -> None:
    """The process *naming* says in a linked record where *named* was."""

    def is_named() -> bool:
        records = state.by_pid()
        stream = records[named][0]["stream"]
        return any(
            reference.startswith(stream)
            for record in records[naming]
            if record["event"] == "audit.stream.linked"
            for reference in record["context"]["audit.predecessors"]
        )

    wait_for(is_named, f"{naming} names {named}")


@pytest.mark.skipif(bool(is_available()), reason=is_available())
def test_the_first_event_syncs_nothing(launch: Start, state: Spool, tmp_path: Path) -> None:
    """Beside a busy disk a sync takes a second, and each living stream would need one."""
    living = run(launch, LIVING)
    living.wait_for_line("ready")
    trace = tmp_path / "trace"
    # without -f: the thread of the event, not the one behind it
    strace = ("strace", "-e", "trace=fsync,fdatasync,sync_file_range,msync,sync", "-o", str(trace))

    process = launch(*strace, sys.executable, "-c", PRELUDE + "emit()\nos._exit(0)\n")

    assert process.wait() == 0, process.log
    assert trace.read_text() == "+++ exited with 0 +++\n"
    assert len(state.streams()) == 2


def test_the_streams_that_live_beside_a_new_one_are_named_soon_after(launch: Start, state: Spool) -> None:
    first = run(launch, LIVING)
    first.wait_for_line("ready")
    second = run(launch, LIVING)
    second.wait_for_line("ready")

    assert_names(state, second.pid, first.pid)


def test_a_process_of_one_event_names_the_end_of_the_one_before(launch: Start, state: Spool) -> None:
    """A job that runs every hour, and nothing else: its log is one chain of references."""
    for _ in range(3):
        assert run(launch, "emit()\n").wait() == 0

    references = [record["context"]["audit.predecessors"] for record in state.records("audit.stream.open")]
    assert sorted(map(len, references)) == [0, 1, 1]
    assert {reference.split(":")[0] for named in references for reference in named} < set(state.streams())
    state.assert_verified()
