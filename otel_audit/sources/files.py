"""Opens files that somebody else may have put there: a pipe does not hang a reader, a device does not feed it.

Below every source.
"""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO, cast

from otel_audit.errors import SourceError


def open_regular(path: Path) -> BinaryIO:
    """Open the regular file *path*, unbuffered.

    Raises:
        SourceError: it is something else.
        OSError: it cannot be opened.
    """
    # Asked before it is opened, as opening a device may do something; and again, as it may have been exchanged.
    _check_regular(path, path.stat())
    # Not blocking: opening a pipe would wait for its writer. To a regular file it means nothing.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _check_regular(path, os.fstat(descriptor))
    except SourceError:
        os.close(descriptor)
        raise
    return cast("BinaryIO", open(descriptor, "rb", buffering=0))


def _check_regular(path: Path, found: os.stat_result) -> None:
    if S_ISDIR(found.st_mode):
        raise SourceError(f"{path}: a directory with the name of a file; rename it, or move it away")
    if not S_ISREG(found.st_mode):
        raise SourceError(f"{path}: not a regular file (a pipe, a socket or a device?); move it away")
