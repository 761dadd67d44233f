"""Disks that are full, read-only, gone: what the application sees, the log says and the verifier finds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.autoload.servers import Program, Spool, Start, wait_for

PRELUDE = """
import os, sys
import otel_audit
from otel_audit.logger import installed
def configure():
    otel_audit.configure()
    global keeper
    keeper = installed().keeper
audit = otel_audit.get_audit_logger("test")
def emit(name="item.read", size=0):
    return audit.emit(name, action="READ", context={"text": "x" * size}).recorded
"""


def run(launch: Start, program: str, **environment: str) -> Program:
    return launch(sys.executable, "-c", PRELUDE + program, **environment)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 6 MiB."""
    place = tmp_path / "volume"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m,mode=700", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


# At start -------------------------------------------------------------------------------------------------


@pytest.fixture
def unusable(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A spool directory that cannot be made, or not be written to."""
    if request.param == "a file in the way":
        (tmp_path / "file").write_text("")
        return tmp_path / "file" / "state"
    volume: Path = request.getfixturevalue("volume")
    subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
    return volume if request.param == "a read-only volume" else volume / "state"


WAYS = ["a file in the way", "a read-only volume", "a folder on a read-only volume"]


@pytest.mark.parametrize("unusable", WAYS, indirect=True)
def test_in_open_mode_an_unusable_spool_is_an_alarm_and_records_stay_in_memory(
    unusable: Path, instrument: Start
) -> None:
    program = instrument("python", "app.py", OTEL_AUDIT_DIR=str(unusable))
    assert program.get("/items/1") == str(program.pid)
    program.stop()
    assert "records are kept in memory only and are lost with the process" in program.log
    assert "no new stream can be opened" not in program.log
    assert str(unusable.parent) in program.log


@pytest.mark.parametrize("unusable", WAYS, indirect=True)
def test_in_closed_mode_an_unusable_spool_prevents_the_start(unusable: Path, instrument: Start) -> None:
    program = instrument(
        "python", "-c", "print('started')", OTEL_AUDIT_DIR=str(unusable), OTEL_AUDIT_FAIL_MODE="closed"
    )
    assert program.wait() == 1
    assert "otel-audit: refusing to start" in program.log
    assert "started" not in program.log


def test_memory_is_sealed_and_says_so(launch: Start) -> None:
    program = run(
        launch,
        """
configure()
assert emit()
bodies = installed().writer.storage.bodies
otel_audit.shutdown()
""",
        OTEL_AUDIT_DIR="memory:",
    )
    assert (program.wait(), program.log) == (0, "")


# While it runs --------------------------------------------------------------------------------------------


def test_a_volume_that_others_fill_loses_events_visibly_until_there_is_room_again(
    volume: Path, launch: Start
) -> None:
    state = Spool(volume / "state")
    program = run(
        launch,
        f"""
configure()
emit("before")
with open({str(volume / "filler")!r}, "wb") as filler:
    try:
        while filler.write(bytes(65536)): filler.flush()
    except OSError:
        pass
lost = kept = 0
while lost < 50:  # room that was reserved before lasts a while
    if emit("during", 10000): kept += 1
    else: lost += 1
os.unlink({str(volume / "filler")!r})
keeper.tick()
assert emit("after")
otel_audit.shutdown()
print(kept, file=sys.stdout)
""",
        OTEL_AUDIT_DIR=str(state.directory),
        OTEL_AUDIT_SPOOL_RESERVE="4KiB",
    )
    assert program.wait() == 0, program.log
    (gap,) = state.records("audit.gap")
    assert (gap["context"]["audit.gap.count"], gap["context"]["audit.reason"]) == (50, "disk-full")
    assert "is full: events are being lost, make room" in program.log
    assert "the spool can be written to again" in program.log
    assert len(state.records("before")) == len(state.records("after")) == 1
    verdict = state.verdict()
    assert verdict.status == "incomplete"
    kinds = {finding.kind for finding in verdict.findings if finding.severity != "warning"}
    assert kinds == {"declared-gap", "declared-drops"}


def test_a_volume_that_the_log_fills_keeps_its_reserve_and_closes_in_order(volume: Path, launch: Start) -> None:
    state = Spool(volume / "state")
    program = run(
        launch,
        """
configure()
while emit("item.read", 10000): pass
otel_audit.shutdown()
""",
        OTEL_AUDIT_DIR=str(state.directory),
        OTEL_AUDIT_SPOOL_RESERVE="1MiB",
    )
    assert program.wait() == 0, program.log
    assert state.ends() == ["shutdown"]
    free = os.statvfs(volume)
    assert free.f_bavail * free.f_frsize >= 1 << 20
    assert {finding.kind for finding in state.verdict().findings if finding.severity != "warning"} == {
        "declared-gap",
        "declared-drops",
    }


def test_in_closed_mode_a_full_volume_refuses_requests_before_the_work_until_there_is_room(
    volume: Path, instrument: Start
) -> None:
    state = Spool(volume / "state")
    program = instrument(
        "python",
        "app.py",
        OTEL_AUDIT_DIR=str(state.directory),
        OTEL_AUDIT_FAIL_MODE="closed",
        OTEL_AUDIT_SPOOL_RESERVE="4KiB",
    )
    assert program.status_and_body("/items/1")[0] == 200
    filler = volume / "filler"
    free = os.statvfs(volume)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - 4096))
    refused = wait_for(
        lambda: next((n for n in range(2, 5000) if program.status_and_body(f"/items/{n}")[0] == 503), None),
        "a refusal",
    )
    filler.unlink()
    wait_for(lambda: program.status_and_body("/items/0")[0] == 200, "an answer")
    program.stop()

    assert f"/items/{refused}" not in state.paths()
    assert len(state.paths()) == len(state.records("db.query"))
    assert state.records("audit.gap") == []
    state.assert_verified()


def test_a_file_size_limit_ends_a_stream_in_a_torn_line_and_the_next_one_goes_on(
    launch: Start, state: Spool
) -> None:
    """RLIMIT_FSIZE: a short write, then EFBIG; CPython ignores SIGXFSZ."""
    program = run(
        launch,
        """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
configure()
assert all(emit("item.read", 10000) for _ in range(60))
print("ready")
import time
time.sleep(60)
""",
    )
    program.wait_for_line("ready")
    recovered = wait_for(
        lambda: found if len(found := state.records("audit.stream.recovered")) >= 3 else None, "recoveries"
    )
    assert len(state.records("item.read")) == 60
    assert any(record["context"]["audit.recovered.torn_bytes"] for record in recovered)
    state.assert_verified()


def test_without_a_file_descriptor_no_stream_opens_and_one_that_is_open_goes_on(
    launch: Start, state: Spool
) -> None:
    program = run(
        launch,
        """
import contextlib, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
def take():
    with contextlib.suppress(OSError):
        while True: taken.append(os.open("/dev/null", os.O_RDONLY))
def give():
    while taken: os.close(taken.pop())
configure()
take()
assert not emit("lost")
give()
installed().writer._retry_at_nano = 0
assert emit("first")
take()
installed().writer.storage._room._counted_s = None  # the next MiB needs a look at the spool
lost = 0
for _ in range(120):  # the first MiB is reserved
    take()  # what the keeper has just given back, too
    lost += not emit("kept", 10000)
assert 0 < lost < 60, lost
give()
assert emit("again")
otel_audit.shutdown()
""",
    )
    assert program.wait() == 0, program.log
    assert "Too many open files" in program.log
    assert len(state.streams()) == 1
    assert len(state.records("again")) == 1
    reasons = [gap["context"]["audit.reason"] for gap in state.records("audit.gap")]
    assert reasons[0] in ("no-identity", "write-failed")  # whichever file was missed first
    assert reasons[1:] == ["disk-full"]
    assert state.ends() == ["shutdown"]


def test_a_directory_that_disappears_is_put_back_with_all_its_records(launch: Start, state: Spool) -> None:
    program = run(
        launch,
        f"""
import shutil
configure()
for _ in range(100): emit()
shutil.rmtree({str(state.directory)!r})
emit()
keeper.tick()
emit()
otel_audit.shutdown()
""",
    )
    assert program.wait() == 0, program.log
    assert "were removed under us; put back" in program.log
    assert len(state.records("item.read")) == 102
    assert state.ends() == ["shutdown"]
    state.assert_verified()


def test_threads_that_cannot_start_cost_no_event(launch: Start, state: Spool) -> None:
    program = run(
        launch,
        """
import threading
threading.stack_size(1 << 46)
configure()
assert emit()
threading.stack_size(0)
otel_audit.shutdown()
""",
    )
    assert program.wait() == 0, program.log
    assert "no thread to seal the log with" in program.log
    assert state.ends() == ["shutdown"]
    state.assert_verified()
