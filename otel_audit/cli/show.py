"""`otel-audit show`: what happened?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from otel_audit.cli import terminal
from otel_audit.cli.arguments import count, moment
from otel_audit.cli.event_line import Standing, columns_for, event_line
from otel_audit.cli.options import Json, Service, Since, Sources, Trust, Until
from otel_audit.cli.printed import escaped_json
from otel_audit.cli.reading import Reading, open_reading
from otel_audit.cli.trace_tree import print_traces
from otel_audit.cli.verdict import print_headline
from otel_audit.errors import InvalidSetting
from otel_audit.search.follow import Follower
from otel_audit.search.query import Query
from otel_audit.search.selection import Found, Selection
from otel_audit.search.watched import watched
from otel_audit.verify import verify as verdict_on
from otel_audit.verify.verdict import Verdict

NOTHING = 4


def show(
    sources: Sources = None,
    actor: Annotated[
        str | None,
        typer.Option("--actor", metavar="A", help="Who: id or name, also on whose behalf. * and ? are wildcards."),
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="V", help="What: READ, CREATE, UPDATE, DELETE, LOGIN …")
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(
            "--event", metavar="E", help="Kind of event: db.query, 'user.*'; 'audit.*' for the log's own."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="E", help="Leave out this kind of event, such as db.query; repeatable."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="T", help="On what: id, type or type:id, such as db.table:customers."),
    ] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", metavar="O", help="How it ended: success, failure or unknown.")
    ] = None,
    trace: Annotated[
        str | None,
        typer.Option("--trace", metavar="ID", help="One trace, as a tree: each request with its queries."),
    ] = None,
    service: Service = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[str | None, typer.Option("--limit", metavar="N", help="Only the N most recent.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what is written from now on, until Ctrl-C.")
    ] = False,
    trust: Trust = None,
    json: Json = False,
) -> int:
    """What happened? One line an event, most recent last.

    The log is verified as it is read, and standard error says how that went. A
    line that begins with ~ no seal covers (not yet, or since a crash), one with !
    is of a stream that was tampered with. What was done before a request's user
    was known is found under that user, as "anonymous → alice".

    \b
    Examples:
      otel-audit show --since 90m --without db.query
      otel-audit show --actor alice --action DELETE --json
      otel-audit show --trace 4bf92f3577b34da6a3ce929d0e0e4736

    \b
    Exit status: 0 shown, 1 shown but the log was tampered with, 2 usage or
    unreadable, 4 nothing matches.
    """
    now = datetime.now(UTC)
    most = count("--limit", limit)
    query = Query(
        actor=actor,
        action=action,
        event=event,
        without=tuple(without or ()),
        target=target,
        outcome=outcome,
        trace=trace,
        service=service,
        since=moment("--since", since, now=now),
        until=moment("--until", until, now=now),
    )
    reading = open_reading(sources or [], trust or [])
    if follow and not all(source.local for source in reading.sources):
        raise InvalidSetting("--follow: a spool can be followed, OTLP-JSON cannot; follow it where it is written")
    if follow and (packed := [str(path) for path in reading.paths if path.suffix in (".gz", ".zst")]):
        raise InvalidSetting(
            f"--follow: {packed[0]} is packed and does not grow; name a directory or a .jsonl file"
        )
    with Selection(query, is_followed=follow) as selection:
        verdict = _verify(reading, selection)
        last_seqs = {stream.stream: stream.last_seq for stream in verdict.streams}
        shown = _write(
            selection.found(most, last_seqs), _standings(verdict), is_tree=trace is not None, is_json=json
        )
        _remark(verdict, shown)
        if follow:
            for found in Follower(reading.paths, query, selection):
                _write([found], lambda _: "unsealed", is_tree=False, is_json=json)
                sys.stdout.flush()
    if verdict.status == "tampered":
        return verdict.exit_status
    return 0 if shown else NOTHING


def _verify(reading: Reading, selection: Selection) -> Verdict:
    """Verify all of it: the verdict for a period is about some records only, and others may claim its times."""
    with terminal.progress("reading and verifying") as progress:
        return verdict_on(
            watched(reading.sources, selection.take),
            trust=reading.trust,
            progress=progress,
        )


def _standings(verdict: Verdict) -> Callable[[Found], Standing]:
    streams = {stream.stream: stream for stream in verdict.streams}

    def standing(found: Found) -> Standing:
        stream = streams.get(found.stream)
        if stream is None or stream.verdict == "tampered":
            return "tampered"
        return "sealed" if found.seq <= stream.sealed else "unsealed"

    return standing


def _write(found: Iterable[Found], standing: Callable[[Found], Standing], *, is_tree: bool, is_json: bool) -> int:
    """Write what was found; returns how many records that were."""
    console = terminal.answers()
    if is_tree and not is_json:
        return print_traces(console, found, standing)
    columns = columns_for(console)
    shown, shown_date = 0, ""
    for one in found:
        shown += 1
        if is_json:
            terminal.write_line(escaped_json(one.body.decode()))
            continue
        date = one.members["time"][:10]
        if date != shown_date and not columns.has_date:
            console.print(Text(date, style="dim"))
        shown_date = date
        line = event_line(one, standing(one), columns)
        if console.is_terminal:
            console.print(line, no_wrap=True, overflow="ellipsis")
        else:
            terminal.write_line(line.plain.rstrip())
    return shown


def _remark(verdict: Verdict, shown: int) -> None:
    """Say on standard error what stands behind the lines on standard output."""
    sys.stdout.flush()
    console = terminal.remarks()
    if not shown:
        console.print(Text("otel-audit: nothing matches"))
    print_headline(console, verdict)
    if verdict.status in ("tampered", "incomplete"):
        console.print(Text("otel-audit verify explains this finding by finding"))
