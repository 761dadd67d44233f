"""`otel-audit ship`: deliver the spool from outside the application."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.status import Status
from rich.text import Text

from otel_audit.cli import terminal
from otel_audit.cli.options import Json
from otel_audit.errors import InvalidSetting
from otel_audit.settings import Settings

if TYPE_CHECKING:
    from otel_audit.export.shipper import Shipper, Waiting

_JOIN_S = 5.0
"""How long a request that is under way may still take after a signal; what it would have noted is sent again."""
_REPORT_EVERY_S = 1.0


def ship(
    once: Annotated[bool, typer.Option("--once", help="Deliver what is there, and exit.")] = False,
    json: Json = False,
) -> int:
    """Deliver the spool from outside the application, for all its processes.

    Runs until SIGTERM or Ctrl-C: a sidecar, or a service beside the applications,
    which then need OTEL_AUDIT_EXPORTER=none. Ends the streams of processes that are
    gone, and delivers every sealed record of every service in OTEL_AUDIT_DIR to the
    endpoint in OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT. A sink that is away is asked again
    for ever. What a sink refuses waits in the directory's quarantine, and is sent
    once more with each start of this command.

    \b
    Examples:
      otel-audit ship
      OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT=https://collector:4318 otel-audit ship --once

    \b
    Exit status: 0 stopped by a signal, or with --once everything was delivered;
    1 with --once, and something was not; 2 usage.
    """
    from otel_audit.configure import recover
    from otel_audit.export.delivering import Delivering
    from otel_audit.export.shipper import Shipper, what_waits
    from otel_audit.spool.alarm import Alarms

    settings = Settings.from_environ(os.environ)
    directory = settings.directory
    if directory is None:
        raise InvalidSetting("OTEL_AUDIT_DIR=memory: nothing can be delivered from outside of a process")
    if settings.endpoint is None:
        raise InvalidSetting("OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT is not set: say where to, https://collector:4318")
    delivering = Delivering(settings.endpoint, settings.attributes)
    shipper = Shipper(delivering, directory, lambda: recover(settings), Alarms())
    with _stopped_by_signals() as stop:
        for _ in _running(shipper, stop, once=once, json=json):
            _report(shipper, what_waits(directory), json=json)
    waiting = what_waits(directory)
    _report(shipper, waiting, json=json, is_last=True)
    return 1 if once and not waiting.is_nothing else 0


def _running(shipper: Shipper, stop: threading.Event, *, once: bool, json: bool) -> Iterator[None]:
    """Run it beside the main thread, which is free for signals; yields now and then when somebody wants to know."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            shipper.run(stop, once=once)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            failed.append(error)
        finally:
            ended.set()

    ended = threading.Event()
    thread = threading.Thread(target=run, name="otel-audit-ship", daemon=True)
    thread.start()
    with _status(json=json) as status:
        seen = -1
        while not ended.wait(0.05 if stop.is_set() else _REPORT_EVERY_S):
            if stop.is_set():
                ended.wait(_JOIN_S)
                break
            if status is not None:
                status.update(Text(f"{shipper.delivered_records:,} records delivered"))
            elif json and shipper.delivered_records != seen:
                seen = shipper.delivered_records
                yield
    if failed:
        raise failed[0]


@contextmanager
def _stopped_by_signals() -> Generator[threading.Event]:
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


def _status(*, json: bool) -> nullcontext[None] | Status:
    console = terminal.remarks()
    if json or not console.is_terminal or os.environ.get("TERM") == "dumb":
        return nullcontext()
    return console.status(Text("looking through the spool"))


def _report(shipper: Shipper, waiting: Waiting, *, json: bool, is_last: bool = False) -> None:
    if json:
        terminal.write_json(_document(shipper, waiting))
    elif is_last:
        words = f"{shipper.delivered_records:,} records delivered"
        if waiting.records:
            words += f", {waiting.records:,} of {waiting.streams:,} streams wait"
        if waiting.quarantined:
            words += f", {waiting.quarantined:,} refused by the sink stand in quarantine"
        terminal.answers().print(Text(words + "."))


def _document(shipper: Shipper, waiting: Waiting) -> dict[str, Any]:
    return {
        "delivered": shipper.delivered_records,
        "waiting": waiting.records,
        "waiting_streams": waiting.streams,
        "oldest_s": round(waiting.oldest_age_s, 1),
        "quarantined": waiting.quarantined,
    }
