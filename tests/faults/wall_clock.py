"""A wall clock for processes under test, set while they run as `date -s` or NTP do; the monotonic one goes on.

By libfaketime, of the Python package of that name: it is newer than Debian's 0.9.10, under which `time.sleep` of
Python 3.11 fails with EINVAL. Both shift what a process reads, not what the kernel stamps on files.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

_READ = "import time; print(time.time_ns(), time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))"


class WallClock:
    """What processes with its `environment` read: the machine's time, and so many seconds more."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self.seconds = 0.0
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",  # else a step shows ten seconds later
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set_ahead(0)

    def set_ahead(self, seconds: float) -> None:
        """Step to so many *seconds* ahead of the machine's time (negative: behind), for all processes at once."""
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{seconds:+.6f}\n")
        draft.rename(self._file)
        self.seconds = seconds

    def now(self) -> datetime:
        """What it says now."""
        return datetime.now(UTC) + timedelta(seconds=self.seconds)

    def is_believed(self) -> bool:
        """Whether a new process really reads a stepped wall clock beside an untouched monotonic one."""
        before, ahead_s = self.seconds, -86_400 * 400
        self.set_ahead(ahead_s)
        try:
            read = subprocess.run(
                [sys.executable, "-c", _READ],
                env={**os.environ, **self.environment},
                capture_output=True,
                text=True,
                check=False,
            )
            boottime = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            here = (time.time_ns() + ahead_s * 10**9, time.monotonic_ns(), boottime)
            told = [int(word) for word in read.stdout.split()] if read.returncode == 0 else []
            return len(told) == len(here) and all(
                abs(one - other) < 600 * 10**9 for one, other in zip(told, here, strict=True)
            )
        finally:
            self.set_ahead(before)


def find_library() -> Path | None:
    """The library that `pip install libfaketime` brings, None where that is not installed."""
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        return None
    library = Path(found.origin).with_name("vendor") / "libfaketime" / "src" / "libfaketime.so.1"
    return library if library.is_file() else None
