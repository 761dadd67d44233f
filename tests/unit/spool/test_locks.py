"""Who holds a stream: this process, another one, nobody; and that asking costs no descriptor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_audit.spool import ownership
from otel_audit.spool.layout import EXPORT_LOCK, LOCK
from otel_audit.spool.ownership import Ownership, acquire, is_held, is_held_here

from .conftest import c_fork, descriptors, in_child

_TAKE = """
import fcntl, os, sys
fcntl.lockf(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX | fcntl.LOCK_NB)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def another(path: Path) -> Generator[None]:
    """Another process holds this lock."""
    with subprocess.Popen(
        [sys.executable, "-ISc", _TAKE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n", "it could not be taken"
        yield


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "stream"
    path.mkdir()
    return path


@pytest.fixture
def owned(directory: Path) -> Iterator[Ownership]:
    ownership = acquire(directory)
    assert ownership is not None
    yield ownership
    ownership.release()


def test_a_stream_is_taken_once_in_a_process_and_free_again_when_given_back(directory: Path) -> None:
    assert not is_held(directory)
    before = descriptors()
    first = acquire(directory)
    assert first is not None
    assert (is_held(directory), is_held_here(directory), first.is_held()) == (True, True, True)

    assert acquire(directory) is None
    first.release()
    first.release()

    assert (is_held(directory), is_held_here(directory), first.is_held()) == (False, False, False)
    assert descriptors() == before
    second = acquire(directory)
    assert second is not None
    first.release()
    assert second.is_held()
    assert acquire(directory) is None
    second.release()


def test_what_another_process_holds_is_held_and_is_not_taken(directory: Path) -> None:
    before = descriptors()
    with another(directory / LOCK):
        assert acquire(directory) is None
        assert (is_held(directory), is_held_here(directory)) == (True, False)
        exporting = acquire(directory, EXPORT_LOCK)

    assert exporting is not None, "a lock of its own"
    assert (is_held(directory), is_held(directory, EXPORT_LOCK)) == (False, True)
    exporting.release()
    assert descriptors() == before


def test_a_stream_without_a_lock_file_is_held_by_nobody_and_gets_none_by_asking(directory: Path) -> None:
    before = descriptors()

    assert not is_held(directory)

    assert list(directory.iterdir()) == []
    assert descriptors() == before


def test_a_lock_file_that_cannot_be_opened_is_said(directory: Path) -> None:
    (directory / LOCK).mkdir()

    with pytest.raises(IsADirectoryError):
        acquire(directory)

    assert not is_held_here(directory)


def test_a_stream_keeps_its_owner_when_its_directory_is_renamed(owned: Ownership, directory: Path) -> None:
    renamed = directory.with_name("renamed")

    owned.move(renamed)

    assert (is_held_here(directory), is_held_here(renamed), owned.is_held()) == (False, True, True)
    owned.release()
    assert not is_held_here(renamed)


def test_a_directory_that_cannot_be_renamed_keeps_its_owner(owned: Ownership, directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        owned.move(directory / "nowhere" / "renamed")

    assert is_held_here(directory)
    assert owned.is_held()


def test_a_lock_file_that_was_removed_is_made_and_held_anew(owned: Ownership, directory: Path) -> None:
    (directory / LOCK).unlink()
    before = descriptors()

    owned.renew()

    assert descriptors() == before
    assert (owned.is_held(), is_held_here(directory)) == (True, True)
    assert in_child(lambda: acquire(directory) is None)
    owned.release()
    assert not is_held_here(directory)


def test_a_lock_file_that_somebody_else_made_and_holds_is_not_taken_from_him(
    owned: Ownership, directory: Path
) -> None:
    (directory / LOCK).unlink()
    with another(directory / LOCK):
        before = descriptors()

        with pytest.raises(BlockingIOError):
            owned.renew()

        assert descriptors() == before


def dropped(owned: Ownership, directory: Path) -> None:
    (directory / LOCK).open().close()
    assert owned.is_held()


def closed(owned: Ownership, directory: Path) -> None:
    os.close(owned.descriptor.number)
    assert not owned.is_held()


@pytest.mark.parametrize("other_code", [dropped, closed])
def test_what_other_code_did_to_the_lock_is_noticed(
    other_code: Callable[[Ownership, Path], None], owned: Ownership, directory: Path
) -> None:
    """Any descriptor of the file that is closed drops it: POSIX locks are of the process."""
    other_code(owned, directory)


def test_a_lock_that_was_dropped_and_taken_by_another_process_is_lost(owned: Ownership, directory: Path) -> None:
    (directory / LOCK).open().close()

    with another(directory / LOCK):
        assert not owned.is_held()


@pytest.mark.parametrize("fork", [os.fork, c_fork], ids=["os.fork", "fork(2)"])
def test_a_forked_child_holds_nothing_and_cannot_give_back_what_is_its_parent_s(
    fork: Callable[[], int], owned: Ownership, directory: Path
) -> None:
    parents = Path(f"/proc/self/fd/{owned.descriptor.number}")

    def held() -> bool:
        owned.release()
        holds = is_held_here(directory) or not is_held(directory) or acquire(directory) is not None
        return holds or parents.exists()

    assert not in_child(held, fork)

    assert owned.is_held()
    assert in_child(lambda: acquire(directory) is None), "the parent's lock was dropped"


@pytest.mark.parametrize("first", ["acquire", "is_held_here"])
@pytest.mark.parametrize("fork", [os.fork, c_fork], ids=["os.fork", "fork(2)"])
def test_a_forked_child_can_take_what_its_parent_gave_back(
    fork: Callable[[], int], first: str, owned: Ownership, directory: Path
) -> None:
    given, give = os.pipe()
    child = fork()
    if child == 0:
        try:
            os.read(given, 1)
            os._exit((first == "is_held_here" and is_held_here(directory)) or acquire(directory) is None)
        finally:
            os._exit(70)
    owned.release()
    os.write(give, b"x")

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(given)
    os.close(give)


@pytest.mark.parametrize("first", [Ownership.release, acquire, is_held, is_held_here])
def test_a_child_of_c_code_waits_for_no_thread_of_its_parent_s(
    first: Callable[..., object], owned: Ownership, directory: Path
) -> None:
    """The thread that looks for crashed streams, say, at the very fork; in the child there is no such thread."""

    def goes_on() -> bool:
        first(owned if first is Ownership.release else directory)
        return True

    with ownership._threads:  # pyright: ignore[reportPrivateUsage] - as if another thread were in it
        assert in_child(goes_on, c_fork)
