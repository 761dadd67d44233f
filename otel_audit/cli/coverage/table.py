"""What was found, for people: three tables and a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from otel_audit.cli import terminal
from otel_audit.cli.printed import printable

_WIDE = 110
"""Columns from which on there is room for endpoints."""
_ENDLESS = 10_000
_SHOWN_MODELS = 5
_RECORDED = {
    "full": ("yes", "green"),
    "core": ("without context", "yellow"),
    "depends": ("depends", "yellow"),
    "skip": ("left out", "yellow"),
    "no": ("NO", "bold red"),
}
_ROWS = {"policy": "by the policy", "account": "as an account", "no": "as statements"}


def print_coverage(found: Mapping[str, Any], digest: str, differing: Sequence[str] | None) -> None:
    """Print what was *found*, with the *digest* of its manifest, and what differs from a kept one."""
    console = terminal.answers()
    is_wide = console.width >= _WIDE
    tables = (_routes(found["routes"], is_wide=is_wide), _models(found["models"]))
    if terminal.is_piped(console):
        # one line a row, for whoever searches them
        console.width = max(console.width, *(_width(console, table) for table in tables))
    for table in tables:
        if table.row_count:
            console.print(table)
            console.print()
    console.print(_libraries(found["libraries"]))
    console.print()
    uncovered: Sequence[str] = found["uncovered"]
    if not found["routes"] and not found["models"]:
        hint = "" if found["application"] else ": give APP, or set DJANGO_SETTINGS_MODULE"
        terminal.say(console, Text(f"No route and no model was found{hint}."))
    if uncovered:
        console.print(Text(f"{_many(len(uncovered), 'thing')} not audited:", style="bold red"))
        for line in _gathered(uncovered):
            terminal.say(console, Text(printable(line)), 2)
    elif found["routes"] or found["models"]:
        left_out = sum(route["recorded"] == "skip" for route in found["routes"])
        but = (
            f", but for {left_out} of {len(found['routes'])} routes that the policy leaves out" if left_out else ""
        )
        terminal.say(console, Text(f"Everything that is used is audited{but}.", style="bold green"))
    for line in differing or ():
        terminal.say(console, Text(f"differs: {printable(line)}", style="yellow"))
    if differing is not None and not differing:
        console.print(Text("Nothing differs from what was kept."))
    console.print(Text(f"SHA-256 {digest}", style="dim"))


def _width(console: Console, table: Table) -> int:
    return Measurement.get(console, console.options.update(max_width=_ENDLESS), table).maximum


def _many(count: int, noun: str) -> str:
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"


def _gathered(uncovered: Sequence[str]) -> Iterator[str]:
    """The lines, with those of many models that have the same reason in one; `--json` has them all."""
    models: dict[str, list[str]] = {}
    for line in uncovered:
        if line.startswith("model "):
            name, _, reason = line.removeprefix("model ").partition(": ")
            models.setdefault(reason, []).append(name)
        else:
            yield line
    for reason, names in models.items():
        more = f" and {len(names) - _SHOWN_MODELS} more" if len(names) > _SHOWN_MODELS else ""
        kind = "model" if len(names) == 1 else "models"
        yield f"{kind} {', '.join(names[:_SHOWN_MODELS])}{more}: {reason}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _routes(routes: Sequence[Mapping[str, Any]], *, is_wide: bool) -> Table:
    table = _table("route", "methods", "recorded", "who", *(["endpoint"] if is_wide else []))
    for route in routes:
        text, style = _RECORDED[route["recorded"]]
        rules = f": {', '.join(route['rules'])}" if route["rules"] else ""
        cells = [
            Text(printable(route["route"])),
            Text(printable(" ".join(route["methods"])) or "any", style="dim"),
            Text(text, style=style).append(printable(rules), style="dim"),
            _who(route["identity"], route["by"]),
            Text(printable(route["endpoint"]), style="dim"),
        ]
        table.add_row(*(cells if is_wide else cells[:-1]))
    return table


def _who(identity: str, by: Sequence[str]) -> Text:
    if identity == "nobody":
        return Text("nobody", style="yellow")
    names = printable(", ".join(by))
    return Text(names) if identity == "required" else Text(f"maybe, by {names}", style="dim")


def _models(models: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("model", "database", "statements", "changes of rows", "admin")
    for model in models:
        table.add_row(
            Text(printable(model["model"])),
            Text(printable(f"{model['database']} ({model['driver']})"), style="dim"),
            Text("yes", style="green") if model["statements"] else Text("NO", style="bold red"),
            Text(_ROWS[model["rows"]], style="dim" if model["rows"] == "no" else ""),
            Text("yes" if model["admin"] else "", style="dim"),
        )
    return table


def _libraries(libraries: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("installed", "hooked", "")
    for library in libraries:
        is_used = library["loaded"]
        style = "green" if library["hooked"] else "bold red" if is_used else "dim"
        why = library["why"] and (library["why"] if is_used else f"{library['why']}; not loaded by the application")
        table.add_row(
            Text(printable(f"{library['library']} {library['version']}")),
            Text("yes" if library["hooked"] else "NO" if is_used else "no", style=style),
            Text(printable(why), style="dim"),
        )
    return table
