"""File descriptors that are kept open for long, in a process whose other code closes what it does not know.

Spool stage. A daemon that detaches itself closes every descriptor, a library closes one twice; the number is then
given to the next file that anybody opens, and writing to it would write into that. Two things keep us out of other
people's files: our numbers lie far above those that are given out first, and whatever can cut, sync, lock or
end a file asks first whether the number still is what was opened.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource

_HIGHEST = 1024
"""Above this, a table of descriptors costs every fork; and `RLIMIT_NOFILE` is 1,024 where nobody has raised it."""


class Descriptor:
    """An open file of ours, under a number that is out of the way where that can be had."""

    __slots__ = ("_identity", "is_exposed", "number")

    def __init__(self, path: str | os.PathLike[str], flags: int) -> None:
        """Open *path* with mode 0600 where it is made.

        Raises:
            OSError: it cannot be opened.
        """
        self.number = _out_of_the_way(os.open(path, flags | os.O_CLOEXEC, 0o600))
        self.is_exposed = self.number < _lowest()
        """The number is one that is given out soon, once it is closed."""
        self._identity = _identity(self.number)

    @property
    def is_ours(self) -> bool:
        """Whether the number still stands for the file that was opened."""
        return self._identity is not None and _identity(self.number) == self._identity

    def check(self, path: str | os.PathLike[str]) -> None:
        """Say so where it does not.

        Raises:
            OSError: EBADF; nothing must be done to the number any more.
        """
        if not self.is_ours:
            raise OSError(errno.EBADF, "its descriptor was closed by other code of this process", str(path))

    def sync_and_close(self, path: str | os.PathLike[str]) -> None:
        """Make what it stands for durable. That may take a second, in which the number can become another file's.

        Raises:
            OSError: it may not be durable; the descriptor is closed all the same.
        """
        try:
            self.check(path)
            os.fsync(self.number)
            self.check(path)
        finally:
            self.close()

    def close(self) -> None:
        """Close it, unless somebody did: then it may be a file of theirs by now."""
        if self.is_ours:
            self._identity = None
            os.close(self.number)


def _out_of_the_way(number: int) -> int:
    with contextlib.suppress(OSError):  # none is left there: the low one will do
        high = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _lowest())
        os.close(number)
        return high
    return number


def _lowest() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (_HIGHEST if limit == resource.RLIM_INFINITY else min(limit, _HIGHEST)) * 3 // 4


def _identity(number: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return found.st_dev, found.st_ino
