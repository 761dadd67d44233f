"""How a process ends, and that its stream is closed then.

Beside `configure`, which says what closing is. An interpreter that exits runs `atexit`; one that a signal ends,
or that `multiprocessing` has forked, does not. Nothing may depend on any of this: `os._exit`, `kill -9` and signals
while C code keeps the interpreter leave a stream that the next process ends.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeAlias

from otel_audit.errors import NotConfigured

Shutdown: TypeAlias = Callable[[float, Callable[[], object]], None]
"""Close the stream within so many seconds, and then do that."""

_EXIT_S = 5.0
_SIGNAL_S = 2.0
"""Supervisors send SIGKILL ten seconds after SIGTERM (docker stop), or thirty (Kubernetes)."""

_TRIES = 1000
"""A timer's handler may emit again and again; each try gets a little further."""

_log = logging.getLogger("otel_audit")
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)

_shutdown: Shutdown | None = None


def close_with_process(shutdown: Shutdown) -> None:
    """Have *shutdown* called when this process, or a child that it forks, exits or is told to.

    Signals are left alone where somebody else handles or ignores them, and outside of the main thread. A server
    that installs its own handler replaces ours and exits in order, or (uvicorn) puts ours back and raises the
    signal again. The process still ends by the signal.
    """
    global _shutdown  # noqa: PLW0603 - exit handlers are the process's own
    if _shutdown is None:
        atexit.register(_close)
    _shutdown = shutdown
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, _on_signal)


def close_with_child() -> None:
    """Called when a process begins to write: have a child of `multiprocessing` close before its `os._exit`.

    Before that it runs finalizers, but no `atexit` (python/cpython#83856).
    """
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        # below every other priority, among them the queues' (-5): these may still audit
        Finalize(None, _close, exitpriority=-1000)


def _close() -> None:
    if _shutdown is not None:
        _shut(_shutdown, _EXIT_S, lambda: None)


def _shut(shutdown: Shutdown, timeout_s: float, then: Callable[[], object]) -> None:
    """Close the stream, also where a signal handler of the application's emits in the middle of it.

    That comes too late to be recorded; what it raises comes out here, and would leave the stream without its close.
    """
    is_told = True
    for _ in range(_TRIES):
        try:
            if not is_told:
                _log.error("otel-audit: an event of a signal handler came after the end of the log, and is lost")
                is_told = True
            shutdown(timeout_s, then)
        except NotConfigured:
            is_told = False
        else:
            return
    shutdown(timeout_s, then)


def _on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's signature
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    end = functools.partial(os.kill, os.getpid(), number)
    if _shutdown is None:
        end()
    else:
        _shut(_shutdown, _SIGNAL_S, end)
