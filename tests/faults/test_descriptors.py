"""Other code of the process closes our descriptors, and the numbers become files of its own: these are not ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_audit.event import AuditEvent
from otel_audit.spool.layout import LOCK
from tests.autoload.servers import Spool, Start
from tests.faults.emitting import C_FORK, run
from tests.faults.test_interrupts import pipeline_on

EVENT = AuditEvent("item.read", "READ", "success")

CLOSE_ALL = """
import resource
def take_every_number_that_was_ours():
    os.closerange(3, 65536)
    return [open(f"theirs-{n}", "w+") for n in range(40)]
def assert_theirs_are_untouched(files):
    for n, file in enumerate(files):
        file.write(str(n))  # still open, and not somebody else's
        file.flush()
        file.seek(0)
        assert file.read() == str(n)
"""

DAEMONS = {
    "at its usual number": "",
    # no number above 48 is to be had, so that ours are the next ones to be given out
    "where no high number is left": """
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
filling = [os.dup2(2, n) for n in range(44, 64)]
""",
}


@pytest.mark.parametrize("fsync", ["interval", "always"])
@pytest.mark.parametrize("case", DAEMONS)
def test_a_daemon_that_closes_everything_finds_nothing_of_ours_in_its_files(
    case: str, fsync: str, launch: Start, state: Spool
) -> None:
    process = run(
        launch,
        f"""
{CLOSE_ALL}
{DAEMONS[case]}
assert emit().recorded
files = take_every_number_that_was_ours()
for _ in range(3):
    assert emit().recorded
otel_audit.shutdown()
assert_theirs_are_untouched(files)
""",
        OTEL_AUDIT_FSYNC=fsync,
    )
    assert process.wait() == 0, process.log
    assert len(state.records("item.read")) == 4
    state.assert_verified()


@pytest.mark.parametrize("child", ["sys.exit()", "emit(); sys.exit()", "os.execv('/bin/true', ['true'])"])
@pytest.mark.parametrize("fork", ["os.fork", "c_fork"])
def test_a_fork_after_everything_was_closed_closes_no_file_of_others(
    fork: str, child: str, launch: Start, state: Spool
) -> None:
    process = run(
        launch,
        f"""
{C_FORK}
{CLOSE_ALL}
emit()
files = take_every_number_that_was_ours()
pid = {fork}()
if pid == 0:
    signal.alarm(60)
    assert_theirs_are_untouched(files)
    {child}
assert os.waitpid(pid, 0)[1] == 0
for file in files:
    file.truncate(0)
    file.seek(0)
assert_theirs_are_untouched(files)
""",
    )
    assert process.wait() == 0, process.log
    assert run(launch, "emit()").wait() == 0
    state.assert_verified()


def test_an_end_leaves_a_file_alone_that_took_the_very_number(spool: Path, state: Spool, tmp_path: Path) -> None:
    """No number is safe from `dup2`: neither the close's bytes nor its truncation reach that file."""
    pipeline = pipeline_on(spool)
    pipeline.record(EVENT)
    live = pipeline.writer.live
    assert live is not None
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    with theirs.open("r+") as file:
        number: int = getattr(live.slot, "descriptor")  # noqa: B009 - a disk's slot alone has one
        os.dup2(file.fileno(), number)
        pipeline.shutdown(5)
        os.close(number)  # left open: whoever put it there owns it
    assert theirs.read_text() == "theirs"
    last = pipeline_on(spool)
    last.keeper.tick()
    last.shutdown(5)
    state.assert_verified()


def test_a_lock_that_other_code_dropped_is_taken_again(spool: Path) -> None:
    """POSIX drops it when any descriptor of the file is closed: a backup's, say, made by the process."""
    pipeline = pipeline_on(spool)
    pipeline.record(EVENT)
    live = pipeline.writer.live
    assert live is not None
    directory = spool / "shop" / live.stream.id
    (directory / LOCK).open().close()
    assert _others_can_take(directory)

    pipeline.keeper.tick()

    assert not _others_can_take(directory)
    pipeline.shutdown(5)


def test_a_stream_that_another_process_ended_meanwhile_is_not_gone_on_with(spool: Path, state: Spool) -> None:
    pipeline = pipeline_on(spool)
    pipeline.record(EVENT)
    live = pipeline.writer.live
    assert live is not None
    (spool / "shop" / live.stream.id / LOCK).open().close()
    recover = "from otel_audit.configure import recover; from otel_audit.settings import Settings; import os\n"
    subprocess.run(
        [sys.executable, "-c", recover + "recover(Settings.from_environ(os.environ))"],
        env={**os.environ, "OTEL_AUDIT_DIR": str(spool), "OTEL_SERVICE_NAME": "shop"},
        check=True,
    )

    pipeline.keeper.tick()
    assert pipeline.record(EVENT).stream != live.stream.id
    pipeline.shutdown(5)
    state.assert_verified()


def _others_can_take(directory: Path) -> bool:
    program = f"""
import sys
from pathlib import Path
from otel_audit.spool.ownership import acquire
sys.exit(acquire(Path({str(directory)!r})) is None)
"""
    return subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
