"""`otel-audit ship`: deliver the spool from outside the application."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from otel_audit.cli import terminal
from otel_audit.cli.foreground import beside, status, stopped_by_signals
from otel_audit.cli.options import Json
from otel_audit.cli.reading import check_directory, remark_absence
from otel_audit.errors import InvalidSetting
from otel_audit.settings import Settings

if TYPE_CHECKING:
    from otel_audit.export.shipper import Shipper, Waiting


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
    from otel_audit.export.shipper import Shipper
    from otel_audit.spool.alarm import Alarms

    settings = Settings.from_environ(os.environ)
    directory = settings.directory
    if directory is None:
        raise InvalidSetting("OTEL_AUDIT_DIR=memory: nothing can be delivered from outside of a process")
    if settings.endpoint is None:
        raise InvalidSetting("OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT is not set: say where to, https://collector:4318")
    check_directory(settings)
    remark_absence(settings)
    delivering = Delivering(settings.endpoint, settings.attributes)
    shipper = Shipper(delivering, directory, lambda: recover(settings), Alarms())
    seen = -1
    with stopped_by_signals() as stop, status("looking through the spool", json=json) as say:
        for _ in beside(lambda: shipper.run(stop, once=once), stop):
            say(f"{shipper.delivered_records:,} records delivered")
            if json and shipper.delivered_records != seen:
                seen = shipper.delivered_records
                _report(shipper, shipper.what_waits(), json=True)
    waiting = shipper.what_waits()
    _report(shipper, waiting, json=json, is_last=True)
    return 1 if once and not waiting.is_nothing else 0


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
