"""Who may write to a stream's directory, and who delivers it: POSIX record locks, each on a file of its own.

Spool stage. The kernel drops the lock when its process ends, however it ends, and a forked child does not
inherit it; so a lock that can be taken is proof that the writer is gone, and a pid is never asked.

A process must not open its own lock file a second time: closing that second descriptor would drop the lock
(`fcntl(2)`: locks are of the process, not of the descriptor). `_held` keeps such a mistake out.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from otel_audit.forks import in_child, is_unforked, notice_fork
from otel_audit.spool.descriptor import Descriptor
from otel_audit.spool.layout import LOCK

_held: dict[str, Descriptor] = {}
"""Paths of the locks that this process holds, and their descriptors."""

_threads = threading.Lock()


class Ownership:
    """The right to write to one stream's directory, until released or until the process ends."""

    __slots__ = ("_path", "descriptor")

    def __init__(self, path: Path, descriptor: Descriptor) -> None:
        self._path = path
        self.descriptor = descriptor

    def is_held(self) -> bool:
        """Whether it still is this process's.

        Other code that closes the descriptor, or opens the file once more and closes that, drops the lock; in the
        second case it is taken again here, unless somebody else was quicker.
        """
        if not self.descriptor.is_ours:
            return False
        try:
            fcntl.lockf(self.descriptor.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def move(self, directory: Path) -> None:
        """Rename the directory; the lock goes with it.

        Raises:
            OSError: it cannot be renamed.
        """
        with _threads:  # who looks for crashed streams must not find the new name before it stands in `_held`
            self._path.parent.rename(directory)
            del _held[str(self._path)]
            self._path = directory / self._path.name
            _held[str(self._path)] = self.descriptor

    def renew(self) -> None:
        """Take a lock file that was made anew under the same path; the one that was unlinked is let go.

        Raises:
            OSError: it cannot be made or locked.
        """
        descriptor = _open_lock(self._path)
        try:
            fcntl.lockf(descriptor.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            descriptor.close()
            raise
        stale, self.descriptor = self.descriptor, descriptor
        _held[str(self._path)] = descriptor
        stale.close()

    def release(self) -> None:
        """Give it back; safe to call twice, and after a fork, where there is nothing to give."""
        _notice()
        with _threads:
            if _held.get(str(self._path)) is self.descriptor:
                del _held[str(self._path)]
                self.descriptor.close()


def acquire(stream_directory: Path, lock: str = LOCK) -> Ownership | None:
    """Take the stream's lock, by default the writer's; None where another process holds it, or this one does.

    Raises:
        OSError: the lock file cannot be made or opened.
    """
    _notice()
    path = stream_directory / lock
    with _threads:  # the kernel's lock keeps processes apart, not threads
        if str(path) in _held:
            return None
        descriptor = _open_lock(path)
        try:
            fcntl.lockf(descriptor.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX allows EAGAIN and EACCES
            descriptor.close()
            return None
        except OSError:
            descriptor.close()
            raise
        _held[str(path)] = descriptor
        owned = Ownership(path, descriptor)
    return owned  # noqa: RET504 - not within the lock: an exception of a handler must not meet the way out of it


def _open_lock(path: Path) -> Descriptor:
    return Descriptor(path, os.O_RDWR | os.O_CREAT)


def is_held(stream_directory: Path, lock: str = LOCK) -> bool:
    """Whether some process, this one or another, has the stream's lock, by default the writer's.

    Raises:
        OSError: the lock file is there and cannot be opened.
    """
    _notice()
    path = stream_directory / lock
    with _threads:
        if str(path) in _held:
            return True
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
        finally:
            os.close(descriptor)
        return False


def is_held_here(stream_directory: Path) -> bool:
    """True for a stream that this process writes, or is just recovering."""
    _notice()
    return str(stream_directory / LOCK) in _held


def _notice() -> None:
    if not is_unforked[0]:
        notice_fork()


def _forget_parents() -> None:
    """In a forked child: the locks stay with the parent, the child only closes its copies."""
    global _threads  # noqa: PLW0603 - a thread that held it does not exist here
    _threads = threading.Lock()
    for descriptor in _held.values():
        descriptor.close()
    _held.clear()


in_child(_forget_parents)
