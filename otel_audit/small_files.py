"""Reads what a setting or an argument names: a key, a certificate, a policy. It may be a pipe, or have no end.

Below every stage.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from stat import S_ISDIR

MOST_PEM_BYTES = 16 << 20
"""Ten thousand certificates."""
MOST_SECRET_BYTES = 1 << 16
MOST_TEXT_BYTES = 1 << 20
_READ_BYTES = 1 << 20


def read_small(path: Path, most_bytes: int) -> bytes:
    """Up to *most_bytes* of what the file *path* begins with.

    A pipe is read to its end, as in `--trust <(otel-audit keys export)`; one that nobody has opened for writing
    is empty.

    Raises:
        OSError: it cannot be read; `filename` is *path*.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if S_ISDIR(os.fstat(descriptor).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        os.set_blocking(descriptor, True)
        parts: list[bytes] = []
        while most_bytes > 0 and (part := _read(descriptor, min(most_bytes, _READ_BYTES), path)):
            parts.append(part)
            most_bytes -= len(part)
    finally:
        os.close(descriptor)
    return b"".join(parts)


def _read(descriptor: int, size_bytes: int, path: Path) -> bytes:
    try:
        return os.read(descriptor, size_bytes)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
