"""One event as one line: when, who, what, on what, how it ended. Everything of the record is escaped here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from rich.console import Console
from rich.text import Text

from otel_audit.cli.printed import printable, shortened
from otel_audit.search.query import REQUEST

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
    if console.width >= 120:
        return Columns(actor=18, action=8, target=32, cuts=console.is_terminal)
    return Columns(10, 7, 20, cuts=console.is_terminal, has_date=not console.is_terminal)


def event_line(members: Mapping[str, Any], standing: Standing, columns: Columns, learnt: str | None = None) -> Text:
    """The line of one record; *learnt* is the actor that the request turned out to have."""
    line = Text()
    mark, style = MARKS[standing]
    line.append(mark, style=style).append(" ")
    date = f"{members['time'][:10]} " if columns.has_date else ""
    line.append(f"{date}{members['time'][11:23]}Z", style="dim").append("  ")
    outcome = members["outcome"]
    for text, width, look in (
        (actor_name(members["actor"], learnt), columns.actor, "bold"),
        (members["action"], columns.action, ""),
        (members.get("target", {"id": "-"})["id"], columns.target, ""),
        (outcome, 7, OUTCOMES[outcome]),
    ):
        cell = printable(text)
        line.append((shortened(cell, width) if columns.cuts else cell).ljust(width), style=look).append("  ")
    return line.append(printable(details(members)), style="dim")


def actor_name(actor: Mapping[str, Any], learnt: str | None = None) -> str:
    """Who, as it is shown: an impersonator with whom they act for, and a user not yet known then as such.

    The id comes first: a name is often the user's own choice, and may look like another's id.
    """
    name = actor.get("name", actor["id"])
    shown = str(actor["id"]) if name == actor["id"] else f"{actor['id']} ({name})"
    if "on_behalf_of" in actor:
        return f"{shown} for {actor_name(actor['on_behalf_of'])}"
    return f"{shown} → {learnt}" if learnt is not None else shown


def details(members: Mapping[str, Any]) -> str:
    """What kind of event, and the facts of it that a reader looks for first."""
    context = members.get("context", {})
    facts: list[str] = []
    if members["event"] == REQUEST:
        facts += [str(context.get("http.request.method", "")), str(context.get("http.response.status_code", ""))]
    elif "db.query.summary" in context:
        facts.append(str(context["db.query.summary"]))
    facts += [str(context[name]) for name in ("audit.reason", "error.type") if name in context]
    said = " ".join(fact for fact in facts if fact)
    source = f"from {members['source']['id']}" if members["event"] == REQUEST and "source" in members else ""
    return "  ".join(part for part in (said, members["event"], source) if part)
