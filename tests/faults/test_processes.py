"""Processes that fork, spawn, are told to stop, or end on their own: a stream for events, and its close."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.autoload.servers import Spool, Start, wait_for
from tests.faults.emitting import PRELUDE, assert_each_process_has_its_events, run

# Children -------------------------------------------------------------------------------------------------

MULTIPROCESSING = """
import multiprocessing, concurrent.futures
def work(_):
    emit()
    return os.getpid()
if __name__ == "__main__":
    method, kind = sys.argv[1:]
    context = multiprocessing.get_context(method)
    emit()
    if kind == "Process":
        child = context.Process(target=work, args=(1,))
        child.start()
        child.join()
        assert child.exitcode == 0
    elif kind == "Pool":
        with context.Pool(2) as pool:
            pool.map(work, range(8))
            pool.close()
            pool.join()
    elif kind == "terminated Pool":
        with context.Pool(2) as pool:
            pool.map(work, range(8))
    else:
        with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
            list(pool.map(work, range(8)))
"""


@pytest.mark.parametrize("kind", ["Process", "Pool", "terminated Pool", "ProcessPoolExecutor"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_close_their_streams(
    method: str, kind: str, launch: Start, state: Spool, tmp_path: Path
) -> None:
    """A forked child ends by `os._exit`: no exit handler runs, and the stock SDK loses all of it."""
    program = tmp_path / "program.py"
    program.write_text(PRELUDE + MULTIPROCESSING)
    process = launch(sys.executable, str(program), method, kind)
    assert process.wait() == 0
    assert process.log == ""

    assert len(state.streams()) >= 2
    assert_each_process_has_its_events(state, {"shutdown": len(state.streams())})
    state.assert_verified()


def test_a_child_of_multiprocessing_that_fails_closes_its_stream(launch: Start, state: Spool) -> None:
    process = run(
        launch,
        """
import multiprocessing
def fail():
    emit()
    raise LookupError
child = multiprocessing.get_context("fork").Process(target=fail)
child.start()
child.join()
sys.exit(child.exitcode)
""",
    )
    assert process.wait() == 1
    assert_each_process_has_its_events(state, {"shutdown": 1})


def test_a_python_child_of_an_instrumented_process_is_instrumented(
    instrument: Start, state: Spool, tmp_path: Path
) -> None:
    query = "import sqlite3; sqlite3.connect(':memory:').execute('SELECT 1').fetchone()"
    process = instrument(
        "python", "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {query!r}], check=True)"
    )
    assert process.wait() == 0
    (pid,) = state.by_pid()
    assert pid != process.pid
    assert state.ends() == ["shutdown"]
    state.assert_verified()


FORKS = {
    "the child emits, the parent does not": ("", "emit(); sys.exit()", "", {"shutdown": 1}),
    "the child does not emit": ("emit()", "sys.exit()", "emit()", {"shutdown": 1}),
    "both emit, before and after": ("emit()", "emit(); sys.exit()", "emit()", {"shutdown": 2}),
    "the child leaves by os._exit": ("emit()", "emit(); os._exit(0)", "emit()", {"open": 1, "shutdown": 1}),
    "a child of a child": ("emit()", "emit(); fork('emit(); sys.exit()'); sys.exit()", "emit()", {"shutdown": 3}),
}


@pytest.mark.parametrize("case", FORKS)
def test_a_fork_opens_a_stream_at_the_childs_first_event(case: str, launch: Start, state: Spool) -> None:
    before, child, after, ends = FORKS[case]
    process = run(
        launch,
        f"""
def fork(child):
    pid = os.fork()
    if pid == 0:
        exec(child)
    assert os.waitpid(pid, 0)[1] == 0
{before or "pass"}
fork({child!r})
{after or "pass"}
""",
    )
    assert (process.wait(), process.log) == (0, "")
    assert_each_process_has_its_events(state, ends)


def test_what_a_child_left_by_exiting_hard_is_ended_by_the_next_process(launch: Start, state: Spool) -> None:
    assert run(launch, "emit(); os._exit(3)").wait() == 3
    assert run(launch, "emit()").wait() == 0
    assert state.ends() == ["open", "shutdown"]
    state.assert_verified()


@pytest.fixture
def memory_state() -> Iterator[Spool]:
    """A spool that no disk slows down: each child waits until the end of its parent's stream is synced."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Spool(Path(directory) / "state")


def test_forks_while_other_threads_emit_at_full_rate_neither_hang_nor_lose(
    launch: Start, memory_state: Spool
) -> None:
    """A child inherits every lock as it was at that moment, and the threads that held them are gone."""
    state = memory_state
    process = run(
        launch,
        """
counts = {}
stop = False
def busy(name):
    while not stop:
        emit(name)
        counts[name] = counts.get(name, 0) + 1
threads = [threading.Thread(target=busy, args=(f"busy.{n}",)) for n in range(4)]
for thread in threads:
    thread.start()
forked = 0
def fork():
    global forked
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # a hang would be a death by SIGALRM
        assert emit("child.read").recorded
        otel_audit.shutdown()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    forked += 1
def fork_often():
    for _ in range(10):
        fork()
from_thread = threading.Thread(target=fork_often)
from_thread.start()
fork_often()
from_thread.join()
stop = True
for thread in threads:
    thread.join()
print(sum(counts.values()), forked)
""",
        OTEL_AUDIT_DIR=str(state.directory),
    )
    assert process.wait() == 0, process.log
    counted, forked = map(int, process.log.split())
    assert forked == 20
    assert len(state.records("child.read")) == 20
    assert len([record for record in state.records() if record["event"].startswith("busy.")]) == counted
    assert_each_process_has_its_events(state, {"shutdown": 21})
    state.assert_verified()


def test_a_daemon_that_detaches_itself_goes_on_in_a_stream_of_its_own(launch: Start, state: Spool) -> None:
    process = run(
        launch,
        """
emit()
readable, writable = os.pipe()
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.close(writable)
os.read(readable, 1)  # ends when the launching processes have
emit()
print(os.getpid())
while True:
    time.sleep(60)
""",
    )
    assert process.wait() == 0
    daemon = int(wait_for(lambda: process.log.strip(), "the daemon's pid"))  # noqa: PLW0108 - read anew
    try:
        # the launching process left hard: the daemon, the next to look, says where its stream ended
        wait_for(lambda: state.records("audit.stream.recovered"), "the recovery of the launcher's stream")
    finally:
        os.kill(daemon, signal.SIGTERM)
    wait_for(lambda: state.ends() == ["open", "shutdown"], "the close of the daemon's stream")
    assert_each_process_has_its_events(state, {"open": 1, "shutdown": 1})
    state.assert_verified()


# The end --------------------------------------------------------------------------------------------------

ENDS = {
    "the program ends": "",
    "sys.exit": "sys.exit(3)",
    "an exception": "raise LookupError",
    "os._exit": "os._exit(4)",
    "os.abort": "os.abort()",
    "SIGTERM to itself": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
    "SIGINT to itself": "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
    "SIGHUP to itself": "os.kill(os.getpid(), signal.SIGHUP); time.sleep(60)",
    "SIGQUIT to itself": "os.kill(os.getpid(), signal.SIGQUIT); time.sleep(60)",
    "a handler of its own": "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); os.kill(os.getpid(), 15); 1",
    "SIGTERM ignored": "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(os.getpid(), 15)",
    "a thread that is a daemon and emits": "threading.Thread(target=spin, daemon=True).start()",
    "a thread that ends later": "threading.Thread(target=late).start()",
}
NOT_CLOSED = {"os._exit", "os.abort", "SIGQUIT to itself"}


@pytest.mark.parametrize("how", ENDS)
def test_a_process_ends_with_the_status_that_it_has_without_auditing(how: str, launch: Start, state: Spool) -> None:
    program = f"""
def spin():
    while True:
        try:
            emit("late.read")
        except otel_audit.NotConfigured:
            return
def late():
    threading.main_thread().join()
    emit("late.read")
emit()
{ENDS[how]}
"""
    without = run(launch, program, OTEL_AUDIT_ENABLED="false") if "daemon" not in how else None
    process = run(launch, program)
    assert process.wait() == (0 if without is None else without.wait())
    assert state.ends() == (["open"] if how in NOT_CLOSED else ["shutdown"])
    if how == "a thread that ends later":
        assert len(state.records("late.read")) == 1
    if how not in NOT_CLOSED:
        state.assert_verified()


BLOCKED = {
    "time.sleep": "time.sleep(600)",
    "a lock": "threading.Event().wait()",
    "a pipe": "os.read(os.pipe()[0], 1)",
    "a child": "import subprocess; subprocess.run(['sleep', '60'])",
    "asyncio": "import asyncio; asyncio.run(asyncio.sleep(600))",
    "another thread": "t = threading.Thread(target=time.sleep, args=(600,), daemon=True); t.start(); t.join()",
}


@pytest.mark.parametrize("where", BLOCKED)
def test_sigterm_ends_a_script_wherever_it_is_blocked_and_its_stream_is_closed(
    where: str, launch: Start, state: Spool
) -> None:
    process = run(launch, f"emit()\nprint('ready')\n{BLOCKED[where]}\n")
    process.wait_for_line("ready")
    assert process.stop() == -signal.SIGTERM
    assert state.ends() == ["shutdown"]
    state.assert_verified()


@pytest.mark.parametrize("fsync", ["interval", "always"])
@pytest.mark.parametrize("attempt", range(4))
def test_sigterm_in_the_middle_of_emits_at_full_rate_leaves_a_closed_stream(
    attempt: int, fsync: str, launch: Start, state: Spool
) -> None:
    process = run(launch, "print('ready')\nwhile True: emit()\n", OTEL_AUDIT_FSYNC=fsync)
    process.wait_for_line("ready")
    wait_for(lambda: len(state.records()) > 50 * (attempt + 1), "records")
    assert process.stop() == -signal.SIGTERM
    assert state.ends() == ["shutdown"]
    state.assert_verified()


@pytest.mark.parametrize("attempt", range(6))
def test_an_interrupt_in_the_middle_of_emits_at_full_rate_never_spoils_the_chain(
    attempt: int, launch: Start, state: Spool
) -> None:
    """KeyboardInterrupt comes at any bytecode: also between a record's bytes and the note of them.

    A stream that it may have spoilt gets no close; it ends as one that crashed does.
    """
    process = run(launch, "print('ready')\nwhile True: emit()\n")
    process.wait_for_line("ready")
    wait_for(lambda: len(state.records()) > 50 * (attempt + 1), "records")
    assert process.stop(signal.SIGINT) == -signal.SIGINT
    assert run(launch, "emit()").wait() == 0
    state.assert_verified()


def test_two_signals_at_once_end_it_too(launch: Start, state: Spool) -> None:
    """A supervisor and its process group may both send one; whoever comes second may end it before the close."""
    process = run(launch, "print('ready')\nwhile True: emit()\n")
    process.wait_for_line("ready")
    process.send(signal.SIGTERM)
    process.send(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
    assert run(launch, "emit()").wait() == 0
    state.assert_verified()
