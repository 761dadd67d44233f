"""Where output goes: consoles for people, lines for machines, progress where somebody watches."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from otel_audit.cli.printed import json_line

PIPED_WIDTH = 160
"""Columns of a table that no terminal shows: wide enough for a stream's id beside its times."""


def answers() -> Console:
    """Standard output. Colour on a terminal only, and never with NO_COLOR (no-color.org: rich honours it)."""
    return _console(stderr=False)


def remarks() -> Console:
    """Standard error: what is said about the answer."""
    return _console(stderr=True)


def is_piped(console: Console) -> bool:
    """Whether nothing says how wide a line may be: there is neither a terminal nor COLUMNS."""
    return not (console.file.isatty() or "COLUMNS" in _environ())


def _environ() -> Mapping[str, str]:
    """The environment, without sizes of the terminal that are none: rich 15 fails at COLUMNS=², and obeys 0."""
    environ = dict(os.environ)
    for name in ("COLUMNS", "LINES"):
        if not re.fullmatch("[1-9][0-9]{0,3}", environ.get(name, "")):
            environ.pop(name, None)
    return environ


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    environ = _environ()
    return Console(
        file=stream,
        width=None if stream.isatty() or "COLUMNS" in environ else PIPED_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
        legacy_windows=False,
        _environ=environ,
    )


def say(console: Console, text: Text, indent: int = 0) -> None:
    """Write *text* in lines that fit, broken between words, each *indent* columns further right."""
    for line in text.wrap(console, max(console.width - indent, 20)):
        line.rstrip()
        console.print(Text(" " * indent).append_text(line), soft_wrap=True)


def write_line(line: str) -> None:
    """One line on standard output, already safe to print, outside of any console's wrapping."""
    sys.stdout.write(line + "\n")


def write_json(value: object) -> None:
    """One JSON document on one line of standard output."""
    write_line(json_line(value))


class Counted(ProgressColumn):
    """How far a verification has come; looked at when the line is drawn, so that counting costs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._lanes = self._bodies = 0

    def listed(self, lanes: int) -> None:
        """Streams or files that were found: all of them are, before the first record is read."""
        self._lanes += lanes

    def read(self, bodies: int) -> None:
        """Records that were read, and lines that are none."""
        self._bodies += bodies

    def render(self, task: Task) -> Text:  # noqa: ARG002 - rich's signature
        """Say the one until there is the other."""
        return Text(f"{self._bodies:,} records" if self._bodies else f"{self._lanes:,} streams or files found")


@contextmanager
def progress(title: str) -> Generator[Counted | None, None, None]:
    """A moving line on standard error while somebody watches; None where nobody does."""
    console = remarks()
    if not console.is_terminal or os.environ.get("TERM") == "dumb":
        yield None
        return
    counted = Counted()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), counted, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        bar.add_task(title, total=None)
        yield counted
