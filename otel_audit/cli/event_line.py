"""One event as one line: when, who, what, on what, how it ended. Everything of the record is escaped here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from rich.console import Console
from rich.text import Text

from otel_audit.cli.printed import printable, shortened
from otel_audit.cli.row_facts import row_facts
from otel_audit.search.query import REQUEST
from otel_audit.search.selection import Found

Standing: TypeAlias = Literal["sealed", "unsealed", "tampered"]
"""How the verdict stands to a record: covered by a good seal, not covered yet, in a stream with a finding."""

MARKS: dict[Standing, tuple[str, str]] = {
    "sealed": (" ", ""),
    "unsealed": ("~", "yellow"),
    "tampered": ("!", "bold red"),
}
OUTCOMES = {"success": "green", "failure": "red", "unknown": "yellow"}


class Columns(NamedTuple):
    """Widths, in characters, of the columns that are not of one width by nature."""

    actor: int
    action: int
    target: int
    cuts: bool
    """What is longer is cut on a terminal; a pipe gets it whole."""
    has_date: bool = True
    """False where a line of its own says the date, because the terminal is narrow."""


def columns_for(console: Console) -> Columns:
    """Columns that suit the width there is."""
    if console.width >= 160:  # room for an id with a name behind it, and for paths; PIPED_WIDTH has it too
        return Columns(actor=28, action=8, target=44, cuts=console.is_terminal)
    if console.width >= 120:
        return Columns(actor=18, action=8, target=32, cuts=console.is_terminal)
    return Columns(10, 7, 20, cuts=console.is_terminal, has_date=not console.is_terminal)


def event_line(found: Found, standing: Standing, columns: Columns) -> Text:
    """The line of one record."""
    members = found.members
    line = Text()
    mark, style = MARKS[standing]
    line.append(mark, style=style).append(" ")
    date = f"{members['time'][:10]} " if columns.has_date else ""
    line.append(f"{date}{members['time'][11:23]}Z", style="dim").append("  ")
    outcome = members["outcome"]
    for text, width, look in (
        (who(found), columns.actor, "bold"),
        (members["action"], columns.action, ""),
        (members.get("target", {"id": "-"})["id"], columns.target, ""),
        (outcome, 7, OUTCOMES[outcome]),
    ):
        cell = printable(text)
        line.append((shortened(cell, width) if columns.cuts else cell).ljust(width), style=look).append("  ")
    return line.append(printable(details(members)), style="dim")


def who(found: Found) -> str:
    """Who, as it is shown: an impersonator with whom they act for, and a user not yet known then as such."""
    shown = _actor_name(found.members["actor"])
    learnt = found.learnt_actor
    return shown if learnt is None else f"{shown} → {_named(learnt, found.learnt_name)}"


def _actor_name(actor: Mapping[str, Any]) -> str:
    shown = _named(actor["id"], actor.get("name"))
    return f"{shown} for {_actor_name(actor['on_behalf_of'])}" if "on_behalf_of" in actor else shown


def _named(actor_id: str, name: str | None) -> str:
    """The id comes first: a name is often the user's own choice, and may look like another's id."""
    return actor_id if name is None or name == actor_id else f"{actor_id} ({name})"


def details(members: Mapping[str, Any], *, says_source: bool = True) -> str:
    """What kind of event, and the facts of it that a reader looks for first."""
    context = members.get("context", {})
    event = members["event"]
    facts: list[str] = []
    if event == REQUEST:
        facts += [str(context.get("http.request.method", "")), str(context.get("http.response.status_code", ""))]
    elif "db.query.summary" in context:
        facts.append(str(context["db.query.summary"]))
    else:
        facts += row_facts(context)
    facts += [str(context[name]) for name in ("audit.reason", "error.type") if name in context]
    said = " ".join(fact for fact in facts if fact)
    # the source of statements and rows is their request's
    is_told = says_source and "source" in members and not event.startswith("db.")
    source = f"from {members['source']['id']}" if is_told else ""
    return "  ".join(part for part in (said, event, source) if part)
