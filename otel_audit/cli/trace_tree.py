"""One trace as a tree: each request, below it what was done to serve it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from otel_audit.cli.event_line import MARKS, OUTCOMES, Standing, details, who
from otel_audit.cli.printed import printable
from otel_audit.cli.terminal import is_piped
from otel_audit.evidence.rfc3339 import unix_nanos
from otel_audit.search.query import REQUEST
from otel_audit.search.selection import Found
from otel_audit.search.trace import Served, by_request


def print_traces(console: Console, found: Iterable[Found], standing: Callable[[Found], Standing]) -> int:
    """Write a tree for each trace among *found*; returns how many records that were."""
    traces: dict[str, list[Found]] = {}
    for one in found:
        traces.setdefault(one.members.get("trace_id", ""), []).append(one)
    for trace_id, records in traces.items():
        tree = Tree(Text(f"trace {printable(trace_id)}", style="bold"), guide_style="dim")
        for served in by_request(records):
            _add(tree, served, standing)
        console.print(tree, soft_wrap=is_piped(console))  # a pipe gets each record in one line
    return sum(len(records) for records in traces.values())


def _add(tree: Tree, served: Served, standing: Callable[[Found], Standing]) -> None:
    branch = tree
    begun = None
    if served.request is not None:
        begun = served.request.members["time"]
        branch = tree.add(_line(served.request, f"{begun[:10]} {begun[11:23]}", standing(served.request)))
    for found in served.within:
        time = found.members["time"]
        when = f"{time[:10]} {time[11:23]}" if begun is None else f"+{_milliseconds(begun, time):.1f} ms"
        branch.add(_line(found, when, standing(found)))


def _line(found: Found, when: str, standing: Standing) -> Text:
    members = found.members
    mark, style = MARKS[standing]
    line = Text()
    if mark.strip():
        line.append(f"{mark} ", style=style)
    line.append(printable(when), style="dim").append("  ")
    line.append(printable(who(found)), style="bold").append("  ")
    line.append(printable(f"{members['action']} {members.get('target', {'id': ''})['id']}")).append("  ")
    line.append(members["outcome"], style=OUTCOMES[members["outcome"]]).append("  ")
    return line.append(printable(details(members, says_source=members["event"] == REQUEST)), style="dim")


def _milliseconds(begun: str, time: str) -> float:
    # Not by datetime, which has neither the year 0 of a hostile record nor nine digits of a second
    return (unix_nanos(time) - unix_nanos(begun)) / 1e6
