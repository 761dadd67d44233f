"""A small file system under a server: full, out of inodes, read-only, replaced; and what heals by itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.autoload.servers import Program, Spool, Start, wait_for

SIZE_MIB = 12
OTEL_AUDIT = ("OTEL_SERVICE_NAME=shop", "OTEL_AUDIT_SPOOL_RESERVE=1MiB", sys.executable, "-m", "otel_audit.cli")
RESERVE = {"OTEL_AUDIT_SPOOL_RESERVE": "1MiB"}


def shell(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, check=False)


def must(*command: str) -> None:
    ran = shell(*command)
    assert ran.returncode == 0, ran.stderr.decode()


def mount(place: Path, *options: str) -> None:
    """Mount something on *place*, or skip the test where that is not allowed."""
    place.mkdir(exist_ok=True)
    mounted = shell("mount", *options, str(place))
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")


def image(path: Path) -> Path:
    """An ext4 file system in a file, that a loop device makes a volume of."""
    path.write_bytes(b"")
    os.truncate(path, SIZE_MIB << 20)
    try:
        made = shell("mkfs.ext4", "-q", "-m", "0", "-e", "remount-ro", str(path))
    except FileNotFoundError:
        pytest.skip("mkfs.ext4 is not installed")
    assert made.returncode == 0, made.stderr.decode()
    return path


@pytest.fixture(params=["tmpfs", "ext4"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A volume of 12 MiB."""
    place = tmp_path / "volume"
    if request.param == "ext4":
        mount(place, "-o", "loop", str(image(tmp_path / "image")))
    else:
        mount(place, "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=700", "tmpfs")
    yield place
    shell("umount", "--lazy", str(place))


@pytest.fixture
def state(volume: Path) -> Spool:
    """The state directory on that volume."""
    return Spool(volume / "state")


def fill(path: Path) -> None:
    """Take every byte that is left."""
    with path.open("wb", buffering=0) as filler:
        for size in (1 << 16, 1 << 12):
            try:
                while filler.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def ask(program: Program, numbers: Iterator[int]) -> Callable[[], tuple[int, int]]:
    """Ask for the next item; its number and the status of the answer."""

    def next_one() -> tuple[int, int]:
        number = next(numbers)
        return number, program.status_and_body(f"/items/{number}")[0]

    return next_one


def lost(state: Spool) -> int:
    """Events that the log says it lacks."""
    return sum(gap["context"]["audit.gap.count"] for gap in state.records("audit.gap"))


def assert_only_gaps(state: Spool) -> None:
    """The verifier has nothing to say but what the log says itself."""
    findings = {finding.kind for finding in state.verdict().findings if finding.severity != "warning"}
    assert findings == {"declared-gap", "declared-drops"}


# Full -----------------------------------------------------------------------------------------------------


def test_a_volume_that_others_fill_changes_no_answer_and_the_log_counts_what_it_lacks(
    volume: Path, state: Spool, instrument: Start
) -> None:
    program = instrument("python", "app.py", **RESERVE, OTEL_AUDIT_DIR=str(state.directory))
    numbers = iter(range(1, 100_000))
    asked = ask(program, numbers)
    statuses = [asked()[1]]
    fill(volume / "filler")
    while "is full: events are being lost, make room" not in program.log:  # room that was reserved lasts a while
        statuses.append(asked()[1])
    statuses += [asked()[1] for _ in range(5)]
    (volume / "filler").unlink()
    last, status = asked()
    wait_for(lambda: "the spool can be written to again" in program.log, "the end of the alarm")
    program.stop()

    assert {*statuses, status} == {200}
    assert f"/items/{last}" in state.paths()
    # two events a request: the request and its query
    assert len(state.paths()) + len(state.records("db.query")) + lost(state) == 2 * last
    assert lost(state) >= 10
    assert_only_gaps(state)


def test_in_closed_mode_no_work_is_done_while_others_fill_the_volume(
    volume: Path, state: Spool, instrument: Start
) -> None:
    program = instrument(
        "python", "app.py", **RESERVE, OTEL_AUDIT_DIR=str(state.directory), OTEL_AUDIT_FAIL_MODE="closed"
    )
    asked = ask(program, iter(range(1, 100_000)))
    answers = [asked()]
    fill(volume / "filler")
    while answers[-1][1] != 503:
        answers.append(asked())
    (volume / "filler").unlink()
    answers.append(wait_for(lambda: answer if (answer := asked())[1] == 200 else None, "an answer"))
    program.stop()

    assert {status for _, status in answers} == {200, 503}
    done = sorted(f"/items/{number}" for number, status in answers if status == 200)
    assert state.paths() == done
    assert len(state.records("db.query")) == len(done)
    state.assert_verified()


@pytest.mark.parametrize("volume", ["tmpfs"], indirect=True)
def test_the_limit_of_the_spool_holds_and_room_that_somebody_makes_is_used_without_a_restart(
    state: Spool, instrument: Start
) -> None:
    """The spool's bytes are counted every ten seconds."""
    elsewhere = state.directory / "elsewhere"
    elsewhere.mkdir(parents=True)
    (elsewhere / "more").write_bytes(bytes(2 << 20))
    program = instrument(
        "python", "app.py", **RESERVE, OTEL_AUDIT_DIR=str(state.directory), OTEL_AUDIT_SPOOL_MAX_BYTES="4MiB"
    )
    asked = ask(program, iter(range(1, 100_000)))
    while "is full: events are being lost, make room" not in program.log:
        assert asked()[1] == 200
    used = sum(path.stat().st_blocks * 512 for path in state.directory.rglob("*") if path.is_file())
    assert used <= (4 << 20) + (64 << 10)  # segments ask for room, the small files beside them do not
    (elsewhere / "more").unlink()
    wait_for(lambda: asked() and "the spool can be written to again" in program.log, "room")
    program.stop()

    assert_only_gaps(state)


# Out of inodes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("volume", ["tmpfs"], indirect=True)
def test_without_inodes_the_present_stream_goes_on_past_its_rotation(
    volume: Path, state: Spool, instrument: Start
) -> None:
    must("mount", "-o", "remount,nr_inodes=200", str(volume))
    program = instrument(
        "python",
        "app.py",
        **RESERVE,
        OTEL_AUDIT_DIR=str(state.directory),
        OTEL_AUDIT_STREAM_MAX_RECORDS="10",
        OTEL_AUDIT_SEAL_INTERVAL="100ms",
    )
    asked = ask(program, iter(range(1, 100_000)))
    assert asked()[1] == 200
    fillers = volume / "fillers"
    fillers.mkdir()
    try:
        for number in range(1000):
            (fillers / str(number)).touch()
    except OSError:
        pass
    for _ in range(20):
        assert asked()[1] == 200
    wait_for(lambda: "No space left on device" in program.log, "the alarm")
    for path in fillers.iterdir():
        path.unlink()
    assert asked()[1] == 200
    program.stop()

    assert len(state.paths()) == len(state.records("db.query")) == 22
    state.assert_verified()


# Read-only, and gone --------------------------------------------------------------------------------------


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
@pytest.mark.parametrize("mode", ["open", "closed"])
def test_a_volume_that_an_error_made_read_only_is_left_alone_and_used_again_once_it_is_mended(
    mode: str, volume: Path, state: Spool, instrument: Start, tmp_path: Path
) -> None:
    """What ext4 does with `errors=remount-ro` when it finds that something is wrong with itself."""
    device = next(line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if str(volume) in line)
    trigger = Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error")
    if not os.access(trigger, os.W_OK):
        pytest.skip("this kernel lets nobody trigger an error of ext4")
    program = instrument(
        "python",
        "app.py",
        **RESERVE,
        OTEL_AUDIT_DIR=str(state.directory),
        OTEL_AUDIT_FAIL_MODE=mode,
        OTEL_AUDIT_SEAL_INTERVAL="100ms",
    )
    asked = ask(program, iter(range(1, 100_000)))
    answers = [asked()]
    trigger.write_text("1")
    while not re.search("cannot be written|a new stream is tried", program.log):
        answers.append(asked())
    answers += [asked() for _ in range(5)]
    # nothing of the volume is held any more, so it can be taken away
    wait_for(lambda: shell("umount", str(volume)).returncode == 0, "the volume's release")
    assert shell("e2fsck", "-p", "-f", str(tmp_path / "image")).returncode in (0, 1)  # 1: errors were mended
    mount(volume, "-o", "loop", str(tmp_path / "image"))
    expected = 200
    last, _ = wait_for(
        lambda: answer if (answer := asked())[1] == expected and "written to again" in program.log else None,
        "an end",
    )
    program.stop()

    assert {status for _, status in answers} == ({200} if mode == "open" else {200, 503})
    assert f"/items/{last}" in state.paths()
    # a query that cannot be recorded raises in the application, in fail mode `closed`; Flask logs that
    assert program.log.count("Traceback") == program.log.count("\notel_audit.errors.RecordingFailed:")
    # what broke is ended within a minute by this process, or by this command
    must("env", f"OTEL_AUDIT_DIR={state.directory}", *OTEL_AUDIT, "recover")
    kinds = {finding.kind for finding in state.verdict().findings if finding.severity != "warning"}
    assert kinds <= {"declared-gap", "declared-drops"}


@pytest.mark.parametrize("volume", ["tmpfs"], indirect=True)
def test_a_volume_that_is_taken_away_and_replaced_by_an_empty_one_gets_the_records_again(
    volume: Path, state: Spool, instrument: Start
) -> None:
    program = instrument(
        "python", "app.py", **RESERVE, OTEL_AUDIT_DIR=str(state.directory), OTEL_AUDIT_SEAL_INTERVAL="100ms"
    )
    asked = ask(program, iter(range(1, 100_000)))
    assert asked()[1] == 200
    must("umount", "--lazy", str(volume))
    mount(volume, "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=700", "tmpfs")
    assert asked()[1] == 200
    wait_for(lambda: "were removed under us; put back" in program.log, "the alarm")
    assert asked()[1] == 200
    program.stop()

    assert len(state.paths()) == len(state.records("db.query")) == 3
    state.assert_verified()
