"""A segment: what fits, what a failed call leaves, and that nothing is done to a file that is not ours."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from otel_audit.spool.segment import LIFECYCLE_RESERVE_BYTES, RESERVE_STEP_BYTES, NoSpace, Segment

from .conftest import descriptors

FOR_EVENTS = RESERVE_STEP_BYTES - LIFECYCLE_RESERVE_BYTES


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    """One that may grow whenever it asks."""
    made = Segment(tmp_path, 1, lambda _: True)
    yield made
    made.abandon()


@pytest.fixture
def bounded(tmp_path: Path) -> Iterator[Segment]:
    """One that gets the room that it begins with, and no more."""
    steps = iter([True])
    made = Segment(tmp_path, 1, lambda _: next(steps, False))
    yield made
    made.abandon()


@pytest.fixture
def theirs(segment: Segment, tmp_path: Path) -> Iterator[Path]:
    """A file of other code, which has taken the number of the segment's descriptor with `dup2`."""
    path = tmp_path / "theirs"
    path.write_bytes(b"theirs\n")
    with path.open("r+b") as file:
        os.dup2(file.fileno(), segment.descriptor)
        yield path
        os.close(segment.descriptor)


def reserved_bytes(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_room_is_the_file_s_own_before_the_first_line_and_yet_it_is_empty(segment: Segment) -> None:
    assert segment.path.stat().st_size == 0
    assert segment.room_bytes == FOR_EVENTS
    assert reserved_bytes(segment.path) >= RESERVE_STEP_BYTES


@pytest.mark.parametrize(
    ("is_lifecycle", "before", "fits"),
    [
        (False, 0, FOR_EVENTS),
        (False, 1000, FOR_EVENTS - 1000),
        (True, 0, RESERVE_STEP_BYTES),
        (True, FOR_EVENTS, LIFECYCLE_RESERVE_BYTES),
    ],
)
def test_events_fill_the_room_but_for_what_is_kept_for_records_about_the_log(
    is_lifecycle: bool, before: int, fits: int, bounded: Segment
) -> None:
    bounded.append(b"x" * before)
    with pytest.raises(NoSpace):
        bounded.append(b"y" * (fits + 1), is_lifecycle=is_lifecycle)

    bounded.append(b"z" * fits, is_lifecycle=is_lifecycle)

    assert bounded.path.read_bytes() == b"x" * before + b"z" * fits
    with pytest.raises(NoSpace) as refused:
        bounded.append(b"y", is_lifecycle=is_lifecycle)
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(bounded.path))


def test_what_lacks_room_gets_a_step_more_or_as_much_as_it_is_large(tmp_path: Path) -> None:
    asked: list[int] = []

    def may_grow(size_bytes: int) -> bool:
        asked.append(size_bytes)
        return True

    segment = Segment(tmp_path, 1, may_grow)
    segment.append(b"x" * (FOR_EVENTS + 1))
    assert segment.room_bytes == RESERVE_STEP_BYTES - 1
    segment.append(b"y" * (3 * RESERVE_STEP_BYTES))
    assert segment.room_bytes == 0
    segment.close()

    lacking = 2 * RESERVE_STEP_BYTES + 1
    assert asked == [RESERVE_STEP_BYTES, RESERVE_STEP_BYTES, lacking]


def test_a_reservation_that_the_volume_refuses_leaves_the_segment_as_it_was(segment: Segment) -> None:
    with pytest.raises(NoSpace) as refused:
        segment.reserve(1 << 62)

    assert refused.value.errno == errno.EFBIG
    assert segment.room_bytes == FOR_EVENTS
    segment.append(b"next\n")
    segment.reserve(RESERVE_STEP_BYTES)
    assert segment.path.read_bytes() == b"next\n"
    assert reserved_bytes(segment.path) >= 2 * RESERVE_STEP_BYTES


def test_a_file_system_that_cannot_reserve_is_taken_at_its_word(segment: Segment) -> None:
    """Here because nothing is asked of it: EINVAL, as of those that do not know the call."""
    segment.reserve(0)

    assert segment.room_bytes == FOR_EVENTS


@pytest.mark.parametrize(
    ("error", "named"),
    [(OSError(errno.EMFILE, "none left"), "000000000001.jsonl"), (OSError(errno.EIO, "bad", "/volume"), "/volume")],
)
def test_room_that_cannot_be_asked_for_is_none_and_says_where(
    error: OSError, named: str, segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def may_grow(_: int) -> bool:
        raise error

    monkeypatch.setattr(segment, "_may_grow", may_grow)

    with pytest.raises(NoSpace) as refused:
        segment.reserve(1)

    assert refused.value.errno == error.errno
    assert Path(str(refused.value.filename)).name == Path(named).name


def test_a_segment_that_gets_no_room_leaves_neither_file_nor_descriptor(tmp_path: Path) -> None:
    before = descriptors()

    with pytest.raises(NoSpace):
        Segment(tmp_path, 1, lambda _: False)

    assert list(tmp_path.iterdir()) == []
    assert descriptors() == before


@contextmanager
def no_file_beyond(size_bytes: int) -> Generator[None]:
    """What a full volume does that could not reserve: part of a line is written, then nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_was_written_in_part_is_an_error_and_so_is_one_behind_it(segment: Segment) -> None:
    with no_file_beyond(50):
        with pytest.raises(OSError, match="short write: 50 of 80 bytes") as short:
            segment.append(b"x" * 80)
        with pytest.raises(OSError, match="File too large") as refused:
            segment.append(b"x")

    assert (short.value.errno, refused.value.errno) == (errno.EIO, errno.EFBIG)
    assert short.value.filename == refused.value.filename == str(segment.path)
    assert segment.size_bytes == 0
    with pytest.raises(OSError, match="part of a line stands there"):
        segment.ends_with(b"x" * 80)


@pytest.fixture
def full_pipe(segment: Segment) -> Iterator[int]:
    """In the segment's place a pipe that takes no byte until somebody reads; its other end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    os.dup2(writer, segment.descriptor)
    os.close(writer)
    yield reader
    os.close(reader)
    os.close(segment.descriptor)


@pytest.fixture
def alarm() -> Iterator[Callable[[float, float], None]]:
    """Send SIGALRM after so many seconds, and every so many again."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        return

    def begin(after_s: float, every_s: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, after_s, every_s)

    previous = signal.signal(signal.SIGALRM, handle)
    yield begin
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


def test_a_line_that_a_signal_interrupted_is_written_once(
    segment: Segment, full_pipe: int, alarm: Callable[[float, float], None]
) -> None:
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    # the interpreter lock is held meanwhile: only another process can read, and it does when the signal has come
    program = f"import os; os.read({told}, 1); os.read({full_pipe}, 1 << 20)"
    reader = subprocess.Popen([sys.executable, "-ISc", program], pass_fds=(told, full_pipe))
    signal.set_wakeup_fd(tell)
    try:
        alarm(0.02, 0)
        segment.append(b"line\n")
    finally:
        signal.set_wakeup_fd(-1)
        reader.wait()
        os.close(told)
        os.close(tell)

    assert os.read(full_pipe, 99) == b"line\n"
    assert segment.size_bytes == 5


def test_a_write_that_every_signal_interrupts_does_not_stop_the_process(
    segment: Segment, full_pipe: int, alarm: Callable[[float, float], None]
) -> None:
    assert full_pipe
    alarm(0.001, 0.001)

    with pytest.raises(InterruptedError) as given_up:
        segment.append(b"line\n")

    assert given_up.value.filename == str(segment.path)


ACTIONS: dict[str, Callable[[Segment], object]] = {
    "a record about the log": lambda segment: segment.append(b"line\n", is_lifecycle=True),
    "an event that needs room": lambda segment: segment.append(b"x" * (FOR_EVENTS + 1)),
    "a look for a line": lambda segment: segment.ends_with(b"theirs\n"),
    "room": lambda segment: segment.reserve(RESERVE_STEP_BYTES),
    "a sync": lambda segment: segment.sync(),
    "a restoration": lambda segment: segment.rewrite(),
    "the end": lambda segment: segment.close(),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_nothing_is_done_to_a_file_that_has_taken_our_number(name: str, segment: Segment, theirs: Path) -> None:
    segment.append(b"")
    before = reserved_bytes(theirs)

    with pytest.raises(OSError, match="closed by other code") as refused:
        ACTIONS[name](segment)

    assert (refused.value.errno, refused.value.filename) == (errno.EBADF, str(segment.path))
    assert not segment.is_held()
    assert theirs.read_bytes() == b"theirs\n"
    assert reserved_bytes(theirs) == before
    assert segment.path.read_bytes() == b""


@pytest.mark.parametrize("before", [b"", b"earlier, and longer than what follows\n"])
def test_after_an_interrupt_a_line_counts_only_where_it_stands_whole(before: bytes, segment: Segment) -> None:
    segment.append(before)
    assert not segment.ends_with(b"line\n")
    assert segment.size_bytes == len(before)
    os.write(segment.descriptor, b"line\n")

    assert segment.ends_with(b"line\n")

    assert segment.size_bytes == len(before) + 5
    os.write(segment.descriptor, b"ne")
    with pytest.raises(OSError, match="part of a line stands there") as torn:
        segment.ends_with(b"next\n")
    assert (torn.value.errno, torn.value.filename) == (errno.EIO, str(segment.path))


def test_a_closed_segment_keeps_its_lines_and_nothing_of_its_room(segment: Segment) -> None:
    before = descriptors()
    segment.append(b"line\n")

    segment.close()

    assert segment.path.read_bytes() == b"line\n"
    assert reserved_bytes(segment.path) < 64 << 10
    assert descriptors() == before - 1


def test_an_abandoned_segment_stays_as_it_is_and_holds_no_descriptor(segment: Segment) -> None:
    before = descriptors()
    segment.append(b"line\n")

    segment.abandon()
    segment.abandon()

    assert reserved_bytes(segment.path) >= RESERVE_STEP_BYTES
    assert descriptors() == before - 1


def test_a_segment_is_in_place_while_its_path_leads_to_the_very_file(segment: Segment) -> None:
    assert segment.is_in_place()
    copy = segment.path.with_name("copy")
    copy.write_bytes(b"")
    copy.replace(segment.path)
    assert not segment.is_in_place()
    segment.path.unlink()
    assert not segment.is_in_place()


def test_a_segment_that_was_removed_is_written_anew_and_goes_on_there(segment: Segment) -> None:
    held = b"x" * (5 << 19) + b"\n"
    segment.append(held)
    segment.path.unlink()
    before = descriptors()

    segment.rewrite()

    assert segment.is_in_place()
    assert segment.path.stat().st_mode & 0o777 == 0o600
    assert segment.room_bytes == FOR_EVENTS
    assert reserved_bytes(segment.path) >= len(held) + RESERVE_STEP_BYTES
    segment.append(b"next\n")
    segment.close()
    assert segment.path.read_bytes() == held + b"next\n"
    assert descriptors() == before - 1


def test_a_segment_that_cannot_be_written_anew_goes_on_from_the_open_file(segment: Segment) -> None:
    segment.append(b"line\n")
    segment.path.unlink()
    segment.path.mkdir()
    before = descriptors()

    with pytest.raises(IsADirectoryError):
        segment.rewrite()

    assert descriptors() == before
    segment.append(b"next\n")
    segment.path.rmdir()
    segment.rewrite()
    assert segment.path.read_bytes() == b"line\nnext\n"
