"""Programs that emit while they end, from wherever Python still runs code: what was accepted stands in the log."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.autoload.servers import Program, Spool, Start, wait_for
from tests.faults.emitting import run
from tests.faults.shop import GUNICORN

ACCEPTING = """
import atexit, weakref
from concurrent.futures import ThreadPoolExecutor
from otel_audit.event import AuditEvent
def emit(name="item.read"):
    receipt = audit.emit(name, action="READ")
    if receipt.recorded:
        os.write(1, f"accepted {receipt.record_id}\\n".encode())
def instrumented():
    while True:
        receipt = audit.emit_event(AuditEvent("item.read", "READ", "success"))
        if receipt.recorded:
            os.write(1, f"accepted {receipt.record_id}\\n".encode())
def late(count=1):
    threading.main_thread().join()
    for _ in range(count):
        emit("late.read")
class Finalised:
    def __del__(self):
        emit("late.read")
def handle(number, frame):
    emit("late.read")
    if callable(before):
        before(number, frame)
    sys.exit(3)
before = None
def thread(target):
    one = threading.Thread(target=target)
    one.start()
    one.join()
def quit_thread():
    emit("late.read")
    sys.exit(4)
def fail(*_):
    raise LookupError
emit()
"""

ENDS = {
    "daemon threads": (0, "for _ in range(4): threading.Thread(target=instrumented, daemon=True).start()"),
    "an exit beside daemon threads": (
        5,
        "threading.Thread(target=instrumented, daemon=True).start(); time.sleep(0.1); sys.exit(5)",
    ),
    "an exit handler": (0, "atexit.register(emit, 'late.read')"),
    "a finaliser": (0, "it = Finalised(); del it"),
    "weakref.finalize": (0, "class It: pass\nit = It(); weakref.finalize(it, emit, 'late.read')"),
    "a thread that outlives the main one": (0, "threading.Thread(target=late, args=(200,)).start()"),
    "work in a pool": (0, "pool = ThreadPoolExecutor(4); [pool.submit(emit, 'late.read') for _ in range(200)]"),
    "a handler of SIGTERM": (3, "signal.signal(15, handle); os.kill(os.getpid(), 15); time.sleep(60)"),
    "a handler that calls the one before it": (
        -15,
        "before = signal.signal(15, handle); os.kill(os.getpid(), 15); time.sleep(60)",
    ),
    "the same in the middle of emits": (
        -15,
        """before = signal.signal(15, handle); threading.Timer(0.1, os.kill, (os.getpid(), 15)).start()
while True: emit()""",
    ),
    "sys.exit in a thread": (0, "thread(quit_thread)"),
    "the hook of a thread's exception": (0, "threading.excepthook = lambda _: emit('late.read'); thread(fail)"),
    "the hook of an exception": (1, "sys.excepthook = lambda *_: emit('late.read'); fail()"),
}


def assert_all_accepted_are_kept(program: Program, state: Spool) -> None:
    """Every receipt's record stands in the log, the stream is closed, and nothing else was printed."""
    accepted = {line.split()[1] for line in program.log.splitlines() if line.startswith("accepted")}
    kept = {f"{record['stream']}-{record['seq']}" for record in state.records()}
    assert accepted
    assert accepted <= kept
    assert [line for line in program.log.splitlines() if not line.startswith("accepted")] == []
    assert state.ends() == ["shutdown"]
    state.assert_verified()


@pytest.mark.parametrize("how", ENDS)
def test_what_is_emitted_while_a_program_ends_is_kept_and_nothing_is_printed(
    how: str, launch: Start, state: Spool
) -> None:
    status, program = ENDS[how]
    ended = run(launch, ACCEPTING + program)
    assert ended.wait() == status, ended.log
    assert_all_accepted_are_kept(ended, state)
    assert "daemon" in how or "middle" in how or state.records("late.read")


def test_what_is_emitted_after_the_close_is_refused(launch: Start, state: Spool) -> None:
    """A known limit: Python ends modules, and collects what is left, after every exit handler."""
    late = "import gc; gc.set_threshold(0)  # no collection before Python's own, at the very end\n"
    late += "it = Finalised(); other = Finalised(); other.other = other; del other\n"
    ended = run(launch, ACCEPTING + late)
    assert ended.wait() == 0
    assert ended.log.count("errors.NotConfigured:") == 2
    assert not state.records("late.read")
    assert state.ends() == ["shutdown"]
    state.assert_verified()


def test_a_handler_that_emits_while_the_stream_is_closed_does_not_keep_it_open(launch: Start, state: Spool) -> None:
    """It comes too late, and its exception comes out of wherever the closing was."""
    for number in range(5):
        ended = run(
            launch,
            ACCEPTING + "signal.signal(14, lambda *_: emit('late.read'))\n"
            "signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001); time.sleep(0.1)\n",
        )
        ended.wait()
        accepted = {line.split()[1] for line in ended.log.splitlines() if line.startswith("accepted")}
        assert accepted <= {f"{record['stream']}-{record['seq']}" for record in state.records()}
        assert state.ends() == ["shutdown"] * (number + 1)
    state.assert_verified()


APPLICATION = """
import atexit, os, signal, threading, time
import flask
import otel_audit
from otel_audit.event import AuditEvent

app = flask.Flask(__name__)
audit = otel_audit.get_audit_logger("shop")

def emit(name="item.read"):
    receipt = audit.emit_event(AuditEvent(name, "READ", "success"))
    if receipt.recorded:
        os.write(1, f"accepted {receipt.record_id}\\n".encode())
    time.sleep(0.001)

def spin():
    while True:
        emit()

atexit.register(emit, "exit.read")
signal.signal(signal.SIGUSR2, lambda *_: emit("signal.read"))
for _ in range(3):
    threading.Thread(target=spin, daemon=True).start()

@app.get("/")
def index():
    return str(os.getpid())
"""


def test_a_served_application_that_emits_until_it_is_torn_down_loses_nothing(
    instrument: Start, state: Spool, tmp_path: Path
) -> None:
    tmp_path.joinpath("folder", "restless.py").write_text(APPLICATION)
    shop = instrument(*GUNICORN, "restless:app")
    worker = int(shop.get("/"))
    wait_for(lambda: len(state.records("item.read")) > 100, "events of the threads")
    for _ in range(20):
        os.kill(worker, signal.SIGUSR2)
        shop.get("/")
    assert shop.stop() == 0

    accepted = {line.split()[1] for line in shop.log.splitlines() if line.startswith("accepted")}
    assert accepted <= {f"{record['stream']}-{record['seq']}" for record in state.records()}
    assert state.records("signal.read")
    assert len(state.records("exit.read")) == 1
    assert state.ends() == ["shutdown"]
    assert "Traceback" not in shop.log
    assert "otel-audit" not in shop.log
    state.assert_verified()
