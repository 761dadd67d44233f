"""How much the spool may still grow: its own limit, and what it leaves of the volume to others.

Spool stage. Asked before room is reserved, never a record: a segment asks for 1 MiB at a time.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from otel_audit.variable_values import Reserve

_RECOUNT_S = 10.0
"""Age at which the bytes that the spool uses are counted again; other processes write to it too."""


class Room:
    """Answers whether a spool may have more bytes. Without a lock: an answer may be seconds old anyway."""

    def __init__(self, directory: Path, limit_bytes: int, reserve: Reserve) -> None:
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._reserve = reserve
        self._used_bytes = 0
        self._counted_s: float | None = None

    def may_grow(self, size_bytes: int) -> bool:
        """Whether *size_bytes* more stay within the limit and leave the reserve untouched.

        Raises:
            OSError: the volume cannot be asked.
        """
        volume = os.statvfs(self._directory)
        free = volume.f_bavail * volume.f_frsize
        if free - size_bytes < self._reserve.of(volume.f_blocks * volume.f_frsize):
            return False
        now = time.monotonic()
        if self._counted_s is None or now - self._counted_s >= _RECOUNT_S:
            self._used_bytes = used_bytes(self._directory)
            self._counted_s = now
        if self._used_bytes + size_bytes > self._limit_bytes:
            return False
        self._used_bytes += size_bytes
        return True


def used_bytes(directory: Path) -> int:
    """Bytes of the volume that the spool takes, room reserved for segments included."""
    used = 0
    pending = [str(directory)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        used += entry.stat(follow_symlinks=False).st_blocks * 512  # stat(2): units of 512 bytes
        except FileNotFoundError:
            continue  # retired meanwhile
    return used
