"""Python programs that emit, given as text, and what each process must have left behind."""

from __future__ import annotations

import sys

from tests.autoload.servers import Program, Spool, Start

PRELUDE = """
import os, signal, sys, threading, time
import otel_audit
otel_audit.configure()
audit = otel_audit.get_audit_logger("test")
def emit(name="item.read"):
    return audit.emit(name, action="READ", target=otel_audit.Target(str(os.getpid()), "process"))
"""


C_FORK = """
import ctypes
libc = ctypes.PyDLL(None)  # fork(2) as C code does it: no hook of os.register_at_fork runs
# CPython's own trouble: a child of such a fork may wait for ever for a thread that just wanted the interpreter lock
sys.setswitchinterval(60)
def all_rest():
    time.sleep(0.02)
    others = {t.ident for t in threading.enumerate()} - {threading.get_ident()}
    frames = sys._current_frames()
    return all(frames[i].f_code.co_name == "wait" for i in others if i in frames)
def c_fork():
    while not (all_rest() and all_rest()):
        pass
    return libc.fork()
def fork(child):
    pid = c_fork()
    if pid == 0:
        signal.alarm(60)  # a hang would be a death by SIGALRM
        exec(child)
    assert os.waitpid(pid, 0)[1] == 0
"""


def run(launch: Start, program: str, **environment: str) -> Program:
    """Start *program* after the prelude: `emit()` records whose process it is."""
    return launch(sys.executable, "-c", PRELUDE + program, **environment)


def assert_each_process_has_its_events(state: Spool, ends: dict[str, int]) -> None:
    """Every event stands in the stream of the process that emitted it; streams ended as counted."""
    for pid, records in state.by_pid().items():
        events = [record for record in records if not record["event"].startswith("audit.")]
        assert events, "a stream without an event"
        assert {record["target"]["id"] for record in events} == {str(pid)}
    assert {end: state.ends().count(end) for end in set(state.ends())} == ends
