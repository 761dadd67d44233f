"""`otel-audit doctor`: is it set up, and what is there to do?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otel_audit.cli import terminal
from otel_audit.cli.doctor.look import Grade, Look
from otel_audit.cli.doctor.state import look_at_clock, look_at_identity, look_at_settings, look_at_spool
from otel_audit.cli.doctor.surroundings import look_at_collector, look_at_hooks
from otel_audit.cli.options import Json
from otel_audit.cli.printed import printable
from otel_audit.errors import InvalidSetting
from otel_audit.settings import VARIABLES, Origin, Settings

_SIGNS: dict[Grade, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "note": ("note", "yellow"),
    "wrong": ("WRONG", "bold red"),
}


def doctor(json: Json = False) -> int:
    """Is it set up?

    Every setting with its value and where that came from, then a look at spool,
    identity, clock, hooked frameworks and drivers, and collector, and what to do
    about each problem. Run it as the service's user, with its environment.

    \b
    Examples:
      otel-audit doctor
      OTEL_AUDIT_DIR=/var/lib/otel-audit otel-audit doctor --json

    \b
    Exit status: 0 all is well, 1 something is wrong.
    """
    looks = [*look_at_settings(os.environ), *look_at_hooks(os.environ), *look_at_collector(os.environ)]
    origins: Mapping[str, Origin] = {}
    try:
        settings = Settings.from_environ(os.environ)
    except InvalidSetting as error:
        if not any(look.area == "settings" and look.grade == "wrong" for look in looks):
            # What no variable shows on its own: two that contradict each other
            looks.append(Look("settings", "together", "wrong", str(error), "Correct them."))
    else:
        origins = settings.origins
        looks += [*look_at_spool(settings), *look_at_identity(settings), *look_at_clock(settings)]
    is_well = all(look.grade != "wrong" for look in looks)
    if json:
        terminal.write_json(_document(is_well, origins, looks))
    else:
        _print_settings(origins)
        _print_looks(looks)
    return 0 if is_well else 1


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
    for name in ("setting", "value", "from"):
        table.add_column(name, overflow="fold")
    order = [variable.name for variable in VARIABLES]
    for name in sorted(origins, key=lambda name: (order.index(name) if name in order else -1, name)):
        origin = origins[name]
        is_default = origin.source == "default"
        style = "dim" if is_default else "bold"
        source = "default" if is_default else "environment" if origin.source == name else f"${origin.source}"
        table.add_row(Text(name), Text(printable(origin.value), style=style), Text(source, style="dim"))
    console.print(table)
    console.print()


def _print_looks(looks: Sequence[Look]) -> None:
    console = terminal.answers()
    area = None
    for look in looks:
        if look.area != area:
            area = look.area
            console.print(Text(area, style="bold"))
        sign, style = _SIGNS[look.grade]
        line = Text("  ").append(sign.ljust(6), style=style)
        line.append(f"{printable(look.what)}: {printable(look.message)}")
        console.print(line)
        if look.do:
            console.print(Padding(Text(f"→ {printable(look.do)}", style="dim"), (0, 0, 0, 8)))
    wrong = sum(look.grade == "wrong" for look in looks)
    console.print()
    console.print(
        Text("All is well.", style="bold green")
        if not wrong
        else Text(f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong.", style="bold red")
    )
