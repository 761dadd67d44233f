"""`otel-audit demo`: what does it do? Shown on a real application, in a directory of its own."""

from __future__ import annotations

import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from otel_audit.cli import terminal
from otel_audit.cli.options import Json
from otel_audit.cli.printed import printable
from otel_audit.errors import SourceError

_NEEDED = {
    "flask": "flask",
    "flask_login": "flask-login",
    "gunicorn": "gunicorn",
    "opentelemetry.distro": "opentelemetry-distro",
}


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the directory with application and logs, to look around in.")
    ] = False,
    json: Json = False,
) -> int:
    """What does it do? See it on a real application, in less than a minute.

    Starts a Flask application under gunicorn, offline, in a temporary directory;
    three people use it; then shows the log that came of it, verifies it, and
    shows what happens to copies that somebody has edited.

    \b
    Example:
      otel-audit demo

    \b
    Exit status: 0 everything went as it is told, 1 something did not, 2 a part
    that it needs is not installed.
    """
    missing = [distribution for module, distribution in _NEEDED.items() if not _is_installed(module)]
    if missing:
        raise SourceError(f"the demo needs {', '.join(missing)}: pip install {' '.join(missing)}")
    from otel_audit.cli.demo.story import Story

    directory = Path(tempfile.mkdtemp(prefix="otel-audit-demo-"))
    try:
        story = Story(directory, is_silent=json)
        story.tell()
    finally:
        if keep:
            terminal.remarks().print(Text(f"Kept: {printable(str(directory))}"), soft_wrap=True)
        else:
            shutil.rmtree(directory)
    if json:
        terminal.write_json(
            {"as_told": story.is_as_told, "directory": str(directory) if keep else None, "steps": story.steps}
        )
    return 0 if story.is_as_told else 1


def _is_installed(module: str) -> bool:
    package = module.partition(".")[0]
    return find_spec(package) is not None and find_spec(module) is not None
