"""The thread that delivers a process's streams, and the backlog of its service.

Export stage. Started by the first stream of a process that has an endpoint, in a forked child anew; a daemon, for
nothing may depend on an orderly end. What only it needs is imported in it. It never holds a lock that `emit` waits
for while it talks to the network.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from otel_audit.forks import importing
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.delivery import Delivery
from otel_audit.spool.live import LiveStream
from otel_audit.spool.storage import Storage

if TYPE_CHECKING:
    from otel_audit.export.courier import Tally
    from otel_audit.export.delivering import Delivering
    from otel_audit.export.loop import Loop
    from otel_audit.export.outcome import Outcome

_TRIES_AT_THE_END = 3
_PAUSE_S = 1.0
"""After a fault of our own, before it is tried again."""
_FAULT = "export-fault"


class Exporter:
    """Delivers what a writer writes."""

    def __init__(self, delivering: Delivering, directory: Path | None, storage: Storage, alarms: Alarms) -> None:
        """*directory* is the state directory; None in memory."""
        self._delivering = delivering
        self._directory = directory
        self._storage = storage
        self._alarms = alarms
        self.on_sent: Callable[[float, Outcome], object] = lambda _seconds, _outcome: None
        """Told after each request, on the thread: how long it took in seconds, and what came of it."""
        self._pid = 0
        self._begin()

    def _begin(self) -> None:
        self._opened: deque[LiveStream] = deque()
        self._waiting: list[LiveStream] = []
        """Taken from there by the thread, whose lock another process holds still."""
        self._own: tuple[LiveStream, ...] = ()
        self._loop: Loop | None = None
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_stopping = False

    def add(self, live: LiveStream) -> None:
        """A stream of this process has opened; called under the writer's lock."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._begin()
        live.delivery = Delivery()
        self._own = (*self.own(), live)
        self._opened.append(live)
        self.wake()

    def own(self) -> tuple[LiveStream, ...]:
        """Streams of this process of which something is still to be delivered, or to come."""
        if self._pid != os.getpid():
            return ()
        return tuple(live for live in self._own if not _is_settled(live))

    def backlog(self) -> list[Path]:
        """Directories of the streams that it delivers for others."""
        loop = self._loop
        if loop is None or self._pid != os.getpid():
            return []
        return loop.backlog()

    @property
    def tally(self) -> Tally | None:
        """What was delivered so far; None before the thread has begun."""
        return None if self._loop is None or self._pid != os.getpid() else self._loop.drain.courier.tally

    def wake(self) -> None:
        """There may be something to deliver; starts the thread in a process that has none."""
        if self._pid != os.getpid() or self._is_stopping:
            return  # a forked child that has opened no stream of its own, or the end
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="otel-audit-exporter", daemon=True)
            self._thread.start()
        self._wake.set()

    def finish(self, timeout_s: float) -> None:
        """Deliver what is left of this process's streams, within *timeout_s* seconds, and end the thread.

        With a sink that cannot be reached it does not take so long: three tries, and the spool keeps the rest.
        """
        if self._pid == os.getpid() and self._thread is not None:
            self._is_stopping = True
            self._wake.set()
            if self._thread is not threading.current_thread():
                self._thread.join(max(0.0, timeout_s))

    def _run(self) -> None:
        with importing:
            importlib.import_module("encodings.idna")  # what the first connection would import

            from opentelemetry.instrumentation.utils import suppress_instrumentation

            from otel_audit.export.loop import Loop

            loop = Loop(self._delivering, self._directory, self._storage, self._alarms)
        with suppress_instrumentation():  # our own requests are no spans of the application
            loop.drain.courier.on_sent = self.on_sent
            self._loop = loop
            try:
                while not self._has_delivered(loop):
                    self._wake.clear()
                    self._wake.wait(_PAUSE_S)
            finally:
                loop.close()

    def _has_delivered(self, loop: Loop) -> bool:
        """What nobody foresaw must not end the delivery: the thread's outermost bound. False to try again."""
        try:
            self._deliver(loop)
        except Exception as error:  # noqa: BLE001 - told below, and tried again
            self._alarms.fault(_FAULT, "the thread that delivers", error)
            self._alarms.say()
            return self._is_stopping
        return True

    def _deliver(self, loop: Loop) -> None:
        is_ending = False
        while True:
            if self._is_stopping and not is_ending:
                is_ending = True
                loop.drain.hurry()
            while self._opened:
                self._waiting.append(self._opened.popleft())
            self._waiting = [live for live in self._waiting if not self._adopt(loop, live)]
            idle_s = loop.turn(own_only=is_ending)
            self._alarms.over(_FAULT, "the thread that delivers has got through again")
            if idle_s <= 0:
                continue
            if is_ending and not (0 < loop.drain.failures < _TRIES_AT_THE_END or loop.drain.is_waiting):
                return
            self._wake.wait(min(idle_s, 1.0) if self._waiting or is_ending else idle_s)
            self._wake.clear()

    def _adopt(self, loop: Loop, live: LiveStream) -> bool:
        try:
            return loop.adopt(live)
        except OSError as error:
            self._alarms.note(
                "export lock",
                f"{error.filename}: cannot be locked ({error.strerror}), so its stream is not delivered: look at "
                "the disk, the limits of open files and who owns that file. It is tried again",
            )
            return False


def _is_settled(live: LiveStream) -> bool:
    """Whether nothing of it is left to this process: all was delivered, or it ends as a crashed stream does."""
    delivery, stream = live.delivery, live.stream
    return live.is_broken or (delivery is not None and stream.is_closed and delivery.seq >= stream.seq)
