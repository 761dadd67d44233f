"""Whose turn it is to make records: one thread's at a time, and what it emits in the middle of one comes after it.

Spool stage, the writer's lower half. A signal handler, or a finaliser that the garbage collector runs in any thread
at any allocation, may emit while its own thread is in the middle of a record.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator

from otel_audit.errors import NotConfigured
from otel_audit.forks import is_unforked, notice_fork
from otel_audit.spool.alarm import Alarms


class Turns:
    """A lock that a thread may take again, and what waits until its present record is made.

    Threads: every method may be called from any.
    """

    def __init__(self, alarms: Alarms) -> None:
        self.alarms = alarms
        self._begin_turns()

    def _begin_turns(self) -> None:
        """Nobody's turn: at first, and in a forked child."""
        self.lock = threading.RLock()
        """Held while a record is made and written, never while waiting for a disk's sync."""
        self._is_busy = False
        self._later: deque[Callable[[], object]] = deque()

    def _drop_broken(self) -> None:
        """Called when an exception ended a turn, under the lock."""
        raise NotImplementedError

    @contextlib.contextmanager
    def making(self) -> Generator[None]:
        """Hold the writer while records are made; what this thread emits meanwhile follows afterwards."""
        notice()
        with self.lock:
            was_busy, self._is_busy = self._is_busy, True
            try:
                yield
            except BaseException:
                self._drop_broken()
                raise
            finally:
                # an inner one that a handler's exception met in its beginning ends after the outer one
                if not was_busy:
                    self._is_busy = False
        if not was_busy:
            self._do_later()
            self.alarms.say()

    def when_idle(self, action: Callable[[], object]) -> None:
        """Do *action* now, or, called from within a record of this very thread, right after that record."""
        notice()
        with self.lock:
            if self._is_busy:
                self._later.append(action)
                return
        action()

    def _do_later(self) -> None:
        while self._later:
            try:
                action = self._later.popleft()
            except IndexError:  # another thread was quicker
                return
            with contextlib.suppress(NotConfigured):  # an event after the end; its receipt says that it is lost
                action()


def notice() -> None:
    """Begin anew where this process is a forked child that has not noticed it yet."""
    if not is_unforked[0]:
        notice_fork()
