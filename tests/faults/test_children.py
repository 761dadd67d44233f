"""A served application that has children of every kind: each event stands in the stream of its own process."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.autoload.servers import Program, Spool, Start, wait_for
from tests.faults.emitting import run
from tests.faults.shop import GUNICORN

APPLICATION = """
import ctypes, multiprocessing, os, subprocess, sys, time
import flask
import otel_audit

app = flask.Flask(__name__)
audit = otel_audit.get_audit_logger("shop")
EMIT = "import otel_audit; otel_audit.get_audit_logger('x').emit('child.other', action='READ')"
OTHER = [sys.executable, "-c", EMIT]


def emit(what):
    return audit.emit("child." + what, action="READ", target=otel_audit.Target(str(os.getpid()), "process"))

def work(_):
    emit("pool")

def ours():
    found = []
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            if os.environ["OTEL_AUDIT_DIR"] in os.readlink(f"/proc/self/fd/{number}"):
                found.append(number)
        except OSError:
            pass
    return found

def run(*command, **how):
    return subprocess.run(command, check=False, **how).returncode

def fork(child):
    pid = os.fork()
    if not pid:
        try:
            child()
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def detach():
    for last in (False, True):
        if os.fork():
            os._exit(0)
        os.setsid() if not last else None
    os.closerange(0, 4096)
    os.open("/dev/null", os.O_RDWR)
    emit("daemon")
    otel_audit.shutdown()
    os._exit(0)

def pool():
    with multiprocessing.get_context("fork").Pool(2) as workers:
        workers.map(work, range(4))
        workers.close()
        workers.join()
    return 0

CLOSE = "import os, sys; [os.close(int(number)) for number in sys.argv[1:]]"
HOW = {
    "vfork": lambda: run(*OTHER),
    "spawn": lambda: os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(OTHER[0], OTHER, os.environ), 0)[1]),
    "close_fds": lambda: run(*OTHER, close_fds=False),
    "pass_fds": lambda: run(sys.executable, "-S", "-c", CLOSE, *map(str, ours()), pass_fds=ours()),
    "preexec": lambda: run("true", preexec_fn=lambda: emit("preexec")),
    "pool": pool,
    "daemon": lambda: fork(detach),
    "exec": lambda: fork(lambda: (emit("exec"), os.execv(OTHER[0], OTHER))),
    "abort": lambda: fork(lambda: (emit("abort"), os.abort())),
    "fault": lambda: fork(lambda: (emit("fault"), ctypes.string_at(0))),
}

@app.get("/have/<how>")
def have(how):
    return str(HOW[how]())

@app.get("/become/<how>")
def become(how):
    emit(how)
    {"exec": lambda: os.execv(OTHER[0], OTHER), "fault": lambda: ctypes.string_at(0), "abort": os.abort}[how]()
"""
STATUS = {"abort": "-6", "fault": "-11"}
CHILDREN = ("vfork", "spawn", "close_fds", "pass_fds", "preexec", "pool", "daemon", "exec", "abort", "fault")
EVENTS = ["abort", "daemon", "exec", *["other"] * 4, *["pool"] * 4, "fault", "preexec"]


def start_shop(instrument: Start, folder: Path) -> Program:
    folder.joinpath("children.py").write_text(APPLICATION)
    return instrument(*GUNICORN, "children:app", OTEL_AUDIT_SEAL_INTERVAL="200ms")


def events(state: Spool) -> list[str]:
    return sorted(r["event"].removeprefix("child.") for r in state.records() if r["event"].startswith("child."))


def assert_in_their_own_streams(state: Spool) -> None:
    for records in state.streams().values():
        said = {record["target"]["id"] for record in records if record.get("target", {}).get("type") == "process"}
        assert said <= {str(records[0]["context"]["process.pid"])}


def test_children_of_a_worker_have_streams_of_their_own_and_its_own_goes_on(
    instrument: Start, state: Spool, tmp_path: Path
) -> None:
    shop = start_shop(instrument, tmp_path / "folder")
    for how in CHILDREN:
        assert (how, *shop.status_and_body(f"/have/{how}")) == (how, 200, STATUS.get(how, "0"))
    wait_for(lambda: events(state) == sorted(EVENTS), "the event of each child, the daemon's too")
    assert shop.stop() == 0

    assert state.paths() == sorted(f"/have/{how}" for how in CHILDREN)
    assert_in_their_own_streams(state)
    (worker,) = (records for records in state.streams().values() if any("/have/vfork" in str(r) for r in records))
    assert worker[-1]["context"]["audit.reason"] == "shutdown"
    assert "otel-audit" not in shop.log
    # who exits hard, or becomes another program, is ended by whoever comes later
    wait_for(lambda: state.ends().count("shutdown") >= 7, "the close of the daemon's stream")
    assert state.verdict(datetime.now(UTC)).status == "verified"


def test_a_worker_that_becomes_another_program_or_dies_loses_nothing_that_was_recorded(
    launch: Start, instrument: Start, state: Spool, tmp_path: Path
) -> None:
    shop = start_shop(instrument, tmp_path / "folder")
    for how in ("exec", "fault", "abort"):
        shop.status_and_body("/have/pass_fds")
        shop.cut(f"/become/{how}")
    shop.status_and_body("/have/pass_fds")
    assert shop.stop() == 0
    assert run(launch, "emit()").wait() == 0

    assert {"exec", "fault", "abort"} <= set(events(state))
    assert_in_their_own_streams(state)
    state.assert_verified(later=timedelta(days=1))


def test_children_that_die_in_a_loop_leave_a_stream_for_each_event_and_no_room_taken(
    launch: Start, state: Spool
) -> None:
    """Whoever emits nothing leaves nothing; a megabyte is reserved for whoever does, until its stream is ended."""
    process = run(
        launch,
        """
for number in range(60):
    pid = os.fork()
    if not pid:
        if number % 2:
            emit("child.read")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
""",
    )
    assert process.wait() == 0, process.log
    assert len(list(state.directory.glob("shop/*"))) == 30
    assert run(launch, "emit()").wait() == 0

    assert len(state.records("child.read")) == 30
    assert state.ends() == ["open"] * 30 + ["shutdown"]
    blocks = sum(path.stat().st_blocks for path in state.directory.rglob("*"))
    assert blocks * 512 < 2 << 20
    state.assert_verified(later=timedelta(days=1))


def test_a_sub_interpreter_says_that_nothing_is_audited_there_and_the_main_one_goes_on(
    launch: Start, state: Spool
) -> None:
    process = run(
        launch,
        """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
emit()
other = interpreters.create()
interpreters.run_string(other, '''
import otel_audit
try:
    otel_audit.configure()
except otel_audit.NotConfigured as error:
    print(error, flush=True)
''')
interpreters.destroy(other)
emit()
""",
    )
    assert process.wait() == 0, process.log
    assert "a sub-interpreter cannot be audited" in process.log
    assert len(state.records("item.read")) == 2
    assert state.ends() == ["shutdown"]
    state.assert_verified()


def test_a_process_that_is_killed_in_the_middle_of_rotations_loses_nothing(launch: Start, state: Spool) -> None:
    """What the kernel does that runs out of memory; every tenth record is another stream's."""
    accepted: set[str] = set()
    for number in range(6):
        process = run(
            launch,
            "while True: os.write(1, (emit().record_id + chr(10)).encode())",
            OTEL_AUDIT_STREAM_MAX_RECORDS="10",
            OTEL_AUDIT_SEAL_RECORDS="3",
        )
        streams = len(state.streams())
        wait_for(lambda: len(state.streams()) > streams + 2 + number, "rotations")  # noqa: B023 - done at once
        process.send(signal.SIGKILL)
        process.wait()
        accepted |= set(process.log.split("\n")[:-1])
    assert run(launch, "emit()").wait() == 0

    assert accepted <= {f"{record['stream']}-{record['seq']}" for record in state.records()}
    # one that was written to, and perhaps its successor
    assert 6 <= state.ends().count("open") <= 12
    state.assert_verified(later=timedelta(days=1))
