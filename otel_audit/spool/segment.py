"""One segment: a file of records that grows by whole lines into room reserved beforehand.

Spool stage. `append` returns with the line in the page cache, where it survives the process. It calls
`write(2)` through `ctypes.PyDLL`, which keeps the interpreter lock: `os.write` gives the lock up and, beside
a busy thread, waits 5 ms a call to get it back (measured: 209 µs a call against 22, mean of 300). A mapped
segment is 1.8 µs cheaper than this, but a file truncated under it, or a disk error, is SIGBUS to the application.

Room is reserved with `fallocate(FALLOC_FL_KEEP_SIZE)`: blocks are the file's own, and yet it ends with its last
line, so that `grep`, `jq` and `tail -f` read a live segment as they do a closed one.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

from otel_audit.spool.descriptor import Descriptor
from otel_audit.spool.layout import segment_name, sync_directory

_libc = ctypes.PyDLL(None, use_errno=True)
_write = _libc.write
"""Without `argtypes`, whose conversions cost 0.3 µs a call: descriptor, bytes, and a size that fits a C int."""

FALLOC_FL_KEEP_SIZE = 1  # linux/falloc.h
_NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

_INTERRUPTED_TRIES = 100
"""Bound, because the interpreter lock is held meanwhile: a file system that is interrupted by every signal of a
profiler's timer (FUSE, NFS) must not stop the process."""

RESERVE_STEP_BYTES = 1 << 20
"""Room is reserved in such pieces: 1,300 records of 800 bytes, and 32 MiB for 32 idle workers."""

LIFECYCLE_RESERVE_BYTES = 64 << 10
"""Kept back from events, so that seals and the close of a stream still fit when the disk is full."""


class NoSpace(OSError):  # noqa: N818 - an errno with a name
    """The line was not begun: no room is reserved for it and none is to be had. The segment is intact."""


class NamesNotSynced(OSError):  # noqa: N818 - as above
    """Nothing is synced, as the directories on the way to it could not be opened; that can be tried again."""


class Segment:
    """An open segment; not thread-safe, the stream's writer holds a lock.

    *may_grow* is asked before room is reserved: does the spool have that many more bytes?
    """

    def __init__(self, directory: Path, first_seq: int, may_grow: Callable[[int], bool]) -> None:
        """Create the file, with room reserved for it; its name is not yet synced.

        Raises:
            NoSpace: there is no room for a stream to begin.
            OSError: it cannot be created.
        """
        self.path = directory / segment_name(first_seq)
        self.size_bytes = 0
        self._may_grow = may_grow
        self._file = Descriptor(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        self.descriptor = self._file.number
        self._reserve_to(0)
        try:
            self.reserve(RESERVE_STEP_BYTES)
        except OSError:
            self._file.close()
            self.path.unlink()
            raise

    @property
    def room_bytes(self) -> int:
        """What events may still take of the room that is reserved."""
        return self._reserved_bytes - LIFECYCLE_RESERVE_BYTES - self.size_bytes

    def append(self, line: bytes, *, is_lifecycle: bool = False) -> None:
        """Write one line, its line feed included, into the page cache.

        Raises:
            NoSpace: nothing was written, and the segment may be appended to again.
            OSError: part of the line may stand there; the segment must not be appended to again.
        """
        size = len(line)
        end = self.size_bytes + size
        if is_lifecycle or end > self._unasked_bytes:
            self._make_room(end if is_lifecycle else end + LIFECYCLE_RESERVE_BYTES)
        written = _write(self.descriptor, line, size)
        if written != size:
            self._write_again(line, written)
        self.size_bytes = end

    def _make_room(self, end_bytes: int) -> None:
        lacking = end_bytes - self._reserved_bytes
        if lacking > 0:
            self.reserve(max(RESERVE_STEP_BYTES, lacking))
        else:
            self._file.check(self.path)  # 1 µs, too much for every event: `descriptor` says what else

    def _write_again(self, line: bytes, written: int) -> None:
        """After a write that did not write all: again if signals came first, else the segment ends here."""
        tries = _INTERRUPTED_TRIES
        while written < 0 and ctypes.get_errno() == errno.EINTR and tries:
            tries -= 1
            written = _write(self.descriptor, line, len(line))
        if written < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(self.path))
        if written != len(line):
            raise OSError(errno.EIO, f"short write: {written} of {len(line)} bytes", str(self.path))

    def ends_with(self, line: bytes) -> bool:
        """Whether *line*, whose `append` an exception of a signal handler interrupted, stands there whole.

        Raises:
            OSError: part of it does, or it cannot be told.
        """
        self._file.check(self.path)
        size = os.fstat(self.descriptor).st_size
        if os.pread(self.descriptor, len(line), max(0, size - len(line))) == line:
            self.size_bytes = size
            return True
        if size != self.size_bytes:
            raise OSError(errno.EIO, "part of a line stands there", str(self.path))
        return False

    def reserve(self, size_bytes: int) -> None:
        """Make *size_bytes* more of room certain; a file system that cannot reserve is taken at its word.

        Raises:
            NoSpace: the volume, a quota or the spool's own limit is full, or cannot be asked (no descriptor
                is left, say): no line was begun, and the segment goes on when that is over.
            OSError: its descriptor was closed by somebody else.
        """
        self._file.check(self.path)
        try:
            may_grow = self._may_grow(size_bytes)
        except OSError as error:
            raise NoSpace(error.errno, error.strerror, error.filename or str(self.path)) from error
        if not may_grow:
            raise NoSpace(errno.ENOSPC, "the spool's limit is reached", str(self.path))
        code = _fallocate(self.descriptor, self._reserved_bytes, size_bytes)
        if code and code not in _NOT_SUPPORTED:
            raise NoSpace(code, os.strerror(code), str(self.path))
        self._reserve_to(self._reserved_bytes + size_bytes)

    def _reserve_to(self, end_bytes: int) -> None:
        self._reserved_bytes = end_bytes
        self._unasked_bytes = 0 if self._file.is_exposed else end_bytes - LIFECYCLE_RESERVE_BYTES
        """An event that ends up to here needs no room, and no look at the descriptor."""

    def sync(self) -> None:
        """Make what was appended durable; gives up the interpreter lock.

        Raises:
            OSError: it may not be durable, and a second try would not tell (Linux marks the pages clean).
        """
        self._file.check(self.path)
        os.fdatasync(self.descriptor)

    def is_held(self) -> bool:
        """False once its descriptor was closed by somebody else."""
        return self._file.is_ours

    def is_in_place(self) -> bool:
        """False once the file was unlinked, or replaced, under its path."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        mine = os.fstat(self.descriptor)
        return (found.st_ino, found.st_dev) == (mine.st_ino, mine.st_dev)

    def rewrite(self) -> None:
        """Write the file anew under its path, from the descriptor, and go on there.

        Raises:
            OSError: it cannot be written; the segment goes on where it was.
        """
        self._file.check(self.path)
        draft = self.path.with_suffix(".draft")  # the path may name this very file again by now
        file = Descriptor(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        try:
            offset = 0
            while block := os.pread(self.descriptor, 1 << 20, offset):
                view = memoryview(block)
                while view:
                    view = view[os.write(file.number, view) :]
                offset += len(block)
            os.fsync(file.number)
            draft.replace(self.path)
            sync_directory(self.path.parent)
        except OSError:
            file.close()
            raise
        # the new one first: a child forked in between must not close a number that is no longer ours
        stale, self._file, self.descriptor = self._file, file, file.number
        stale.close()
        self._reserve_to(self.size_bytes)
        self.reserve(RESERVE_STEP_BYTES)

    def close(self) -> None:
        """Give back the room that was not used, and the descriptor.

        Raises:
            OSError: the room could not be given back; the descriptor is closed all the same.
        """
        self._file.check(self.path)
        try:
            os.ftruncate(self.descriptor, self.size_bytes)
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Close the descriptor and leave the file as it is: after a fork, or after a failed write."""
        self._file.close()


def _fallocate(descriptor: int, offset: int, size: int) -> int:
    """Reserve blocks beyond the end of the file; 0, or the errno. `os` has only the call that moves the end."""
    function = getattr(_libc, "fallocate", None)
    if function is None:
        return errno.ENOSYS
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    for _ in range(_INTERRUPTED_TRIES):
        if function(descriptor, FALLOC_FL_KEEP_SIZE, offset, size) == 0:
            return 0
        code = ctypes.get_errno()
        if code != errno.EINTR:
            return code
    return errno.EINTR
