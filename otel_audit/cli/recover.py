"""`otel-audit recover`: what did a crash leave open?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from otel_audit.cli import terminal
from otel_audit.cli.options import Json
from otel_audit.cli.printed import printable
from otel_audit.settings import Settings

if TYPE_CHECKING:
    from otel_audit.spool.ends import End

_HOW = {
    "recovered": "it had crashed, and says so now",
    "closed": "it had been closed, which was not noted",
    "empty": "nothing had been written to it",
}


def recover(json: Json = False) -> int:
    """What did a crash leave open? Ends the streams of processes that are gone, and exits.

    Each is ended by a record in a stream of this command's own, which names its
    last record; what no seal had covered is adopted. A service does the same when
    it starts, so this is for a machine on which it will not: an init container, a
    cron job, a host to be switched off. Run it as the service's user, with its
    environment; streams of living processes are left alone.

    \b
    Examples:
      OTEL_SERVICE_NAME=shop otel-audit recover
      OTEL_SERVICE_NAME=shop OTEL_AUDIT_DIR=/var/lib/otel-audit otel-audit recover --json

    \b
    Exit status: 0 nothing is left open, 2 something could not be ended.
    """
    from otel_audit.configure import recover as recover_all

    found = recover_all(Settings.from_environ(os.environ))
    if json:
        ended = [_document(service, end) for service, ends in found.items() for end in ends]
        terminal.write_json({"ended": ended})
    else:
        _print(found)
    return 0


def _print(found: Mapping[str, Sequence[End]]) -> None:
    console = terminal.answers()
    for service, ends in found.items():
        for end in ends:
            stream, _, _ = end.reference.partition(":")
            words = f"ended stream {stream or 'without a record'} of {service}: {_HOW[end.how]}"
            where = f", last record {end.seq} of {end.observed[:19]}Z" if end.seq else ""
            console.print(Text(printable(words + where)))
    if not any(found.values()):
        console.print(Text("Nothing is left open by a process that is gone."))


def _document(service: str, end: End) -> dict[str, Any]:
    stream, _, _ = end.reference.partition(":")
    return {
        "service": service,
        "stream": stream or None,
        "how": end.how,
        "last_seq": end.seq,
        "last_observed": end.observed or None,
    }
