"""`otel-audit recover`: what did a crash leave open?"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from otel_audit.cli import terminal
from otel_audit.cli.arguments import duration
from otel_audit.cli.foreground import beside, status
from otel_audit.cli.options import Json
from otel_audit.cli.printed import printable
from otel_audit.cli.reading import check_directory, remark_absence
from otel_audit.settings import Settings

if TYPE_CHECKING:
    from otel_audit.export.shipper import Waiting
    from otel_audit.spool.ends import End

PATIENCE = timedelta(seconds=60)
"""Five tries of a sink that is only just starting beside us; about a million records to one that is there."""

_HOW = {
    "recovered": "it had crashed, and says so now",
    "closed": "it had been closed, which was not noted",
    "altered": "its lines are not the records that were written; left as they are, see `otel-audit verify`",
    "empty": "nothing had been written to it",
}


@dataclass(frozen=True, slots=True)
class _Delivery:
    """What came of delivering."""

    sink: str
    directory: Path
    delivered: int
    waiting: Waiting
    troubles: Sequence[str]
    timeout: timedelta

    @property
    def exit_status(self) -> int:
        return 3 if self.waiting.records else 1 if self.waiting.quarantined else 0


def recover(
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="D", help="How long delivery may take. Default: 60s; 0: none is tried."),
    ] = None,
    json: Json = False,
) -> int:
    """What did a crash leave open? Ends and delivers the streams of processes that are gone, and exits.

    Each is ended by a record in a stream of this command's own, which names its
    last record; what no seal had covered is adopted. Where an endpoint is set, all
    streams that have ended are then delivered to it. A service does the same when
    it starts, so this is for a machine on which it will not: an init container, a
    cron job, a host to be switched off. Run it as the service's user, with its
    environment; streams of living processes are left alone.

    \b
    Examples:
      OTEL_SERVICE_NAME=shop otel-audit recover
      OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT=https://collector:4318 otel-audit recover --timeout 10m
      OTEL_SERVICE_NAME=shop OTEL_AUDIT_DIR=/var/lib/otel-audit otel-audit recover --json

    \b
    Exit status: 0 nothing is left open, and everything was delivered where an
    endpoint is set; 1 the sink refuses records, which stand in quarantine; 2 usage,
    or something could not be ended; 3 not all was delivered in time: it waits.
    """
    from otel_audit.configure import recover as recover_all

    patience = PATIENCE if timeout is None else duration("--timeout", timeout) or timedelta(0)
    settings = Settings.from_environ(os.environ)
    check_directory(settings)
    remark_absence(settings)
    found = recover_all(settings)
    if not json:
        _print_ends(found)
    delivery = _deliver(settings, patience, json=json)
    if json:
        ended = [_document(service, end) for service, ends in found.items() for end in ends]
        terminal.write_json({"ended": ended, "delivery": None if delivery is None else _delivered(delivery)})
    elif delivery is None:
        terminal.answers().print(Text(_NOT_DELIVERED[settings.exporter]))
    else:
        _print_delivery(delivery)
    return 0 if delivery is None else delivery.exit_status


_NOT_DELIVERED = {
    "thread": "No endpoint is set, so nothing is to be delivered: the records stay on this machine.",
    "none": "No endpoint is set here, so nothing was delivered: OTEL_AUDIT_EXPORTER=none leaves that to others.",
}


def _deliver(settings: Settings, patience: timedelta, *, json: bool) -> _Delivery | None:
    """Deliver what has ended, for as long as *patience* lasts; None where no endpoint is set."""
    from otel_audit.export.delivering import Delivering, Pace
    from otel_audit.export.shipper import Shipper
    from otel_audit.spool.alarm import Alarms

    if settings.endpoint is None or settings.directory is None:
        return None
    sink, alarms = settings.endpoint.target, Alarms()
    # somebody waits for this command: a sink that comes back is noticed within seconds
    delivering = Delivering(settings.endpoint, settings.attributes, Pace(longest_delay_s=5.0))
    shipper = Shipper(delivering, settings.directory, None, alarms)
    until_s = time.monotonic() + patience.total_seconds()
    stop = threading.Event()
    total = shipper.what_waits().records
    with status(f"delivering {total:,} records to {printable(sink)}", json=json) as say:
        if patience:
            for _ in beside(lambda: shipper.finish(stop), stop, until_s):
                say(f"{shipper.delivered_records:,} of {total:,} records delivered to {printable(sink)}")
    waiting = shipper.what_waits()
    return _Delivery(sink, settings.directory, shipper.delivered_records, waiting, alarms.lasting, patience)


def _print_ends(found: Mapping[str, Sequence[End]]) -> None:
    console = terminal.answers()
    for service, ends in found.items():
        for end in ends:
            stream, _, _ = end.reference.partition(":")
            words = f"ended stream {stream or 'without a record'} of {service}: {_HOW[end.how]}"
            where = f", last record {end.seq} of {end.observed[:19]}Z" if end.seq else ""
            console.print(Text(printable(words + where)))
    if not any(found.values()):
        console.print(Text("Nothing is left open by a process that is gone."))


def _print_delivery(delivery: _Delivery) -> None:
    console = terminal.answers()
    waiting, sink = delivery.waiting, printable(delivery.sink)
    if delivery.exit_status == 0:
        count = f"{delivery.delivered:,} records were" if delivery.delivered else "Everything had been"
        terminal.say(console, Text(f"{count} delivered to {sink}; nothing waits."))
        return
    terminal.say(console, Text(f"{delivery.delivered:,} records were delivered to {sink}."))
    if waiting.records:
        words = (
            f"NOT DELIVERED within {delivery.timeout.total_seconds():g} s: {waiting.records:,} records of "
            f"{waiting.streams:,} stream{'s' * (waiting.streams != 1)}, "
            f"kept in {printable(str(delivery.directory))}."
        )
        terminal.say(console, Text(words, style="bold red"))
    if waiting.quarantined:
        words = f"REFUSED by it: {waiting.quarantined:,} records, kept in "
        words += printable(str(delivery.directory / "quarantine")) + "."
        terminal.say(console, Text(words, style="bold red"))
    for trouble in delivery.troubles:
        terminal.say(console, Text(f"Why: {printable(trouble)}."))
    terminal.say(console, Text(_what_now(delivery)))


def _what_now(delivery: _Delivery) -> str:
    if not delivery.waiting.records:
        return "What now: the sink's own log says why. Mend that, and run this again: they are sent once more."
    if delivery.troubles:
        return "What now: mend that, and run this again. Nothing is lost: a service that starts here delivers them."
    return (
        "What now: run this again with a longer --timeout. There were too many for it, or another process "
        "(the service, or otel-audit ship) is just delivering them. Nothing is lost."
    )


def _delivered(delivery: _Delivery) -> dict[str, Any]:
    return {
        "sink": delivery.sink,
        "delivered": delivery.delivered,
        "waiting": delivery.waiting.records,
        "waiting_streams": delivery.waiting.streams,
        "quarantined": delivery.waiting.quarantined,
        "troubles": list(delivery.troubles),
    }


def _document(service: str, end: End) -> dict[str, Any]:
    stream, _, _ = end.reference.partition(":")
    return {
        "service": service,
        "stream": stream or None,
        "how": end.how,
        "last_seq": end.seq,
        "last_observed": end.observed or None,
    }
