"""Whether the wall clock may be believed when it says that something is old.

Spool stage. A clock that stands a day ahead makes everything look a day older, and what retention removes is gone
when the clock is set right. So each run of it leaves a note of both clocks, and where the wall clock has gone ahead
of the other since the last note, nothing is removed for a while: whoever set it wrongly has that long to see it.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import orjson

from otel_audit.spool.layout import write_durably
from otel_audit.spool.live import CLOCK_STEP_NS, Clock

_log = logging.getLogger("otel_audit")
_NOTE = "clock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LONGEST_HOLD = timedelta(hours=24)
_AFTER_BOOT_NANO = 3600 * 1_000_000_000
"""A machine that starts with a wrong clock is set right by NTP within minutes."""


@dataclass(frozen=True, slots=True)
class _Note:
    boot: str
    unix_nano: int
    up_nano: int
    """Since the machine started, time asleep included (`CLOCK_BOOTTIME`)."""
    hold_until_up_nano: int


def may_remove(directory: Path, clock: Clock, keep: timedelta) -> bool:
    """Whether ages may be told by the wall clock now; notes both clocks in the state *directory*.

    False for *keep*, at most a day, after the clock went ahead by more than half an hour, and in the first hour of
    a machine that has started anew.

    Raises:
        OSError: the note can be neither read nor written.
    """
    now = _Note(_boot_id(), clock.unix_nano(), clock.up_nano(), 0)
    last = _read(directory)
    hold_until = 0
    if last is not None and last.boot != now.boot:
        hold_until = _AFTER_BOOT_NANO
    elif last is not None:
        hold_until = last.hold_until_up_nano
        ahead_nano = (now.unix_nano - last.unix_nano) - (now.up_nano - last.up_nano)
        if ahead_nano > CLOCK_STEP_NS:
            hold = min(keep, _LONGEST_HOLD)
            hold_until = now.up_nano + int(hold.total_seconds() * 1e9)
            _log.warning(
                "otel-audit: the clock went ahead by %s: for %s nothing is removed from the spool; is it right?",
                timedelta(seconds=ahead_nano // 1_000_000_000),
                hold,
            )
    note = _Note(now.boot, now.unix_nano, now.up_nano, hold_until)
    write_durably(directory / _NOTE, orjson.dumps(asdict(note)))
    return now.up_nano >= hold_until


def _read(directory: Path) -> _Note | None:
    try:
        note = _Note(**orjson.loads((directory / _NOTE).read_bytes()))
    except (FileNotFoundError, orjson.JSONDecodeError, TypeError):
        return None
    # what is no note of ours must not end the thread that seals
    is_one = all(type(value) is int for value in (note.unix_nano, note.up_nano, note.hold_until_up_nano))
    return note if is_one else None


def _boot_id() -> str:
    with contextlib.suppress(OSError):  # not Linux's /proc: every boot counts as the same
        return _BOOT_ID.read_text("ascii").strip()
    return ""
