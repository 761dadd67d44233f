"""What a person reads in the application's log when something is wrong: once, again every minute, and its end.

Spool stage, used by every part of the pipeline. Alarms are noted under the writer's lock and said outside of
it: a logging handler may itself be audited, and would wait for that lock.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_log = logging.getLogger("otel_audit")
REPEAT_S = 60.0


@dataclass(slots=True)
class _Trouble:
    message: str
    since_s: float
    said_s: float


class Alarms:
    """The troubles of this process, each under a key: said when it begins, every minute, and when it is over."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._troubles: dict[str, _Trouble] = {}
        self.unsaid: list[tuple[int, str]] = []
        """What `say` has to say: levels and messages."""
        self._lock = threading.RLock()
        """Re-entrant: a signal handler may raise an alarm in the middle of one."""

    def note(self, key: str, message: str) -> None:
        """There is trouble, or still is; cheap while it lasts, and said by the next `say`."""
        now = self._monotonic_s()
        with self._lock:
            trouble = self._troubles.get(key)
            if trouble is None:
                self._troubles[key] = _Trouble(message, now, now)
                self.unsaid.append((logging.ERROR, f"otel-audit: {message}"))
                return
            trouble.message = message
            if now - trouble.said_s >= REPEAT_S:
                trouble.said_s = now
                self.unsaid.append((logging.ERROR, f"otel-audit: {message} ({_since(now - trouble.since_s)})"))

    def fault(self, key: str, who: str, error: Exception) -> None:
        """A mistake of otel-audit's own, which *who* met and survived: where it was made, and no values."""
        if key not in self._troubles:
            places = "".join(traceback.format_tb(error.__traceback__))
            self.once(logging.ERROR, f"{type(error).__name__} at\n{places}")
        self.note(
            key,
            f"{who} met a fault of otel-audit's own ({type(error).__name__}) and tries again: what is recorded "
            "stays in the spool. Please report it with the traceback in this log",
        )

    def once(self, level: int, message: str) -> None:
        """Something has happened that does not last, at a *level* of `logging`; said by the next `say`."""
        with self._lock:
            self.unsaid.append((level, f"otel-audit: {message}"))

    def repeat(self) -> None:
        """Whatever is wrong still is; each is said again when its minute is over."""
        for key, trouble in list(self._troubles.items()):
            self.note(key, trouble.message)

    def over(self, key: str, message: str) -> None:
        """The trouble has ended; says nothing where there was none."""
        if key not in self._troubles:
            return
        with self._lock:
            trouble = self._troubles.pop(key, None)
            if trouble is not None:
                lasted_s = self._monotonic_s() - trouble.since_s
                self.unsaid.append((logging.WARNING, f"otel-audit: {message} (after {_spoken(lasted_s)})"))

    @property
    def lasting(self) -> list[str]:
        """What is wrong now, the latest last."""
        return [trouble.message for trouble in list(self._troubles.values())]

    def say(self) -> None:
        """Log what was noted. Not to be called under a lock that an audited call may need."""
        if self.unsaid:
            with self._lock:
                unsaid, self.unsaid = self.unsaid, []
            for level, message in unsaid:
                _log.log(level, "%s", message)

    def forget(self) -> None:
        """In a forked child: the parent's troubles are the parent's."""
        self._lock = threading.RLock()
        self._troubles.clear()
        self.unsaid.clear()


def _since(lasts_s: float) -> str:
    """When that was, for whoever reads a log without times; by the wall clock as it goes now."""
    return f"since {datetime.now(UTC) - timedelta(seconds=lasts_s):%Y-%m-%dT%H:%M:%SZ}, for {_spoken(lasts_s)}"


def _spoken(seconds: float) -> str:
    if seconds < 120:
        return f"{int(seconds)} s"
    minutes = int(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
