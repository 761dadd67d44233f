"""`otel-audit verify`: is it whole and unaltered?"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from otel_audit.cli import terminal
from otel_audit.cli.arguments import duration, moment
from otel_audit.cli.options import Json, Service, Since, Sources, Trust, Until
from otel_audit.cli.reading import open_reading
from otel_audit.cli.verdict import json_parts, print_verdict
from otel_audit.cli.witness import read_witness
from otel_audit.verify import verify as verdict_on


def verify(
    sources: Sources = None,
    trust: Trust = None,
    since: Since = None,
    until: Until = None,
    service: Service = None,
    now: Annotated[
        str | None,
        typer.Option("--now", metavar="T", help="Judge promises as of this time. Default: when reading begins."),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace", metavar="D", help="How late delivery may be. Default: 2m for remote sources, else 0."
        ),
    ] = None,
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="D", help="How long streams had to be kept before retention.")
    ] = None,
    place: Annotated[
        str | None,
        typer.Option(
            "--place",
            metavar="NAME",
            help="Name of the archive being read, as retention knows it; "
            "a file 'place' in it is then not believed.",
        ),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            "--witness",
            metavar="URL|FILE",
            help="Heads noted elsewhere, one <stream>:<seq>:<hash> a line; repeatable.",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Is it whole and unaltered?

    Reads every record, checks fingerprints, signatures, seals and what streams
    say of each other, and names whatever does not fit.

    \b
    Examples:
      otel-audit verify
      otel-audit verify /var/lib/otel-audit --trust issuer.pem
      otel-audit verify archive.jsonl.zst --trust issuer.pem --since 7d --json

    \b
    Exit status: 0 verified, 1 tampered, 2 usage or unreadable, 3 incomplete
    (something cannot be shown), 4 no record at all.
    """
    begun = datetime.now(UTC)
    reading = open_reading(sources or [], trust or [], place=place)
    with terminal.progress("verifying") as progress:
        verdict = verdict_on(
            reading.sources,
            trust=reading.trust,
            now=moment("--now", now, now=begun),
            grace=duration("--grace", grace),
            keep=duration("--keep", keep),
            place=place,
            witness=read_witness(witness or []),
            since=moment("--since", since, now=begun),
            until=moment("--until", until, now=begun),
            service=service,
            progress=progress,
        )
    if json:
        sys.stdout.writelines(json_parts(verdict, reading))
    else:
        print_verdict(terminal.answers(), verdict, reading)
    return verdict.exit_status
