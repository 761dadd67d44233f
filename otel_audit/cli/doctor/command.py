"""`otel-audit doctor`: is it set up, and what is there to do?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.table import Table
from rich.text import Text

from otel_audit.cli import terminal
from otel_audit.cli.doctor.collector import as_instrumented, look_at_collector
from otel_audit.cli.doctor.look import Grade, Look
from otel_audit.cli.doctor.state import (
    look_at_clock,
    look_at_coverage,
    look_at_identity,
    look_at_policy,
    look_at_settings,
    look_at_spool,
)
from otel_audit.cli.doctor.surroundings import look_at_hooks
from otel_audit.cli.doctor.telemetry import look_at_exporters
from otel_audit.cli.options import Json
from otel_audit.cli.printed import printable
from otel_audit.errors import InvalidSetting
from otel_audit.settings import Origin, Settings
from otel_audit.variables import VARIABLES

_SIGNS: dict[Grade, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "note": ("note", "yellow"),
    "wrong": ("WRONG", "bold red"),
}


def doctor(json: Json = False) -> int:
    """Is it set up?

    Every setting with its value and where that came from, then a look at spool,
    identity, clock, hooked frameworks and drivers, OpenTelemetry's exporters and the
    collector, to which an empty request is sent, and what to do about each problem.
    Run it as the service's user, with its environment.

    \b
    Examples:
      otel-audit doctor
      OTEL_AUDIT_DIR=/var/lib/otel-audit otel-audit doctor --json

    \b
    Exit status: 0 all is well, 1 something is wrong.
    """
    looks = list(look_at_settings(os.environ))
    origins: Mapping[str, Origin] = {}
    try:
        settings = Settings.from_environ(os.environ)
    except InvalidSetting as error:
        if not any(look.grade == "wrong" for look in looks):
            # What no variable shows on its own: two that contradict each other
            looks.append(Look("settings", "together", "wrong", str(error), "Correct them."))
    else:
        origins = settings.origins
        looks += [look_at_policy(settings), *look_at_coverage(settings)]
        for area, look_at in (("spool", look_at_spool), ("identity", look_at_identity), ("clock", look_at_clock)):
            looks += _seen(area, look_at(settings))
    looks += [*look_at_hooks(os.environ), *look_at_exporters(as_instrumented(os.environ))]
    looks += look_at_collector(os.environ)
    is_well = all(look.grade != "wrong" for look in looks)
    if json:
        terminal.write_json(_document(is_well, origins, looks))
    else:
        _print_settings(origins)
        _print_looks(looks)
    return 0 if is_well else 1


def _seen(area: str, looks: Iterator[Look]) -> Iterator[Look]:
    """*looks*, and where this user is not let look any further, that."""
    try:
        yield from looks
    except OSError as error:
        message = f"{error.filename}: {error.strerror}"
        yield Look(area, "access", "wrong", message, "Run this as the user that the service runs as.")


def _document(is_well: bool, origins: Mapping[str, Origin], looks: Sequence[Look]) -> dict[str, Any]:
    return {
        "well": is_well,
        "settings": [
            {"name": name, "value": origin.value, "source": origin.source}
            for name, origin in sorted(origins.items())
        ],
        "looks": [
            {"area": look.area, "what": look.what, "grade": look.grade, "message": look.message, "do": look.do}
            for look in looks
        ],
    }


def _print_settings(origins: Mapping[str, Origin]) -> None:
    if not origins:
        return
    console = terminal.answers()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("setting", no_wrap=True)
    table.add_column("value, and where it came from", overflow="fold")
    order = [variable.name for variable in VARIABLES]
    for name in sorted(origins, key=lambda name: (order.index(name) if name in order else -1, name)):
        origin = origins[name]
        is_default = origin.source == "default"
        value = Text(printable(origin.value), style="dim" if is_default else "bold")
        source = "default" if is_default else "environment" if origin.source == name else f"${origin.source}"
        table.add_row(Text(name), value.append(f" ({source})", style="dim"))
    console.print(table)
    console.print()


def _print_looks(looks: Sequence[Look]) -> None:
    console = terminal.answers()
    for area, within in groupby(looks, lambda look: look.area):
        console.print(Text(area, style="bold"))
        table = Table.grid(padding=(0, 1, 0, 0))
        for look in within:
            sign, style = _SIGNS[look.grade]
            table.add_row("", Text(sign, style=style), Text(f"{printable(look.what)}: {printable(look.message)}"))
            if look.do:
                table.add_row("", "", Text(f"→ {printable(look.do)}", style="dim"))
        console.print(table)
    wrong = sum(look.grade == "wrong" for look in looks)
    console.print()
    console.print(
        Text("All is well.", style="bold green")
        if not wrong
        else Text(f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong.", style="bold red")
    )
