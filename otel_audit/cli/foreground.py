"""Work that lasts, on a thread beside the main one, which stays free for signals and for who watches."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.text import Text

from otel_audit.cli import terminal

_JOIN_S = 5.0
"""How long a request that is under way may still take after a stop; what it would have noted is sent again."""
_REPORT_EVERY_S = 1.0


def beside(work: Callable[[], object], stop: threading.Event, until_s: float = float("inf")) -> Iterator[None]:
    """Do *work*, which ends soon after *stop* is set, at *until_s* (monotonic) at the latest; yields each second.

    Raises whatever the work raised. Work that does not heed *stop* within five seconds ends with the process.
    """
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            failed.append(error)
        finally:
            ended.set()

    ended = threading.Event()
    threading.Thread(target=run, name="otel-audit-work", daemon=True).start()
    while not ended.wait(0.05 if stop.is_set() else min(_REPORT_EVERY_S, max(0.0, until_s - time.monotonic()))):
        if time.monotonic() >= until_s:
            stop.set()
        if stop.is_set():
            ended.wait(_JOIN_S)
            break
        yield
    if failed:
        raise failed[0]


@contextmanager
def stopped_by_signals() -> Generator[threading.Event]:
    """An event that SIGTERM and SIGINT set; what handled them before does so again afterwards."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's signature
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def status(title: str, *, json: bool) -> Generator[Callable[[str], None]]:
    """A moving line on standard error while somebody watches; what is yielded changes its words."""
    console = terminal.remarks()
    if json or not console.is_terminal or os.environ.get("TERM") == "dumb":
        yield lambda _: None
        return
    with console.status(Text(title)) as line:
        yield lambda words: line.update(Text(words))
