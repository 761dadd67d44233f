"""Every verb of `otel-audit`, and the functions that answer it."""

from __future__ import annotations

from typing import Annotated

import typer

from otel_audit.cli.coverage.command import coverage
from otel_audit.cli.demo.command import demo
from otel_audit.cli.doctor.command import doctor
from otel_audit.cli.keys import keys
from otel_audit.cli.recover import recover
from otel_audit.cli.ship import ship
from otel_audit.cli.show import show
from otel_audit.cli.verify import verify

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

app = typer.Typer(
    name="otel-audit",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
)
app.command(short_help="What does it do? Shown on a real application.")(demo)
app.command(short_help="Is it whole and unaltered?")(verify)
app.command(short_help="What happened? One line an event.")(show)
app.command(short_help="What did a crash leave open? Ends and delivers it.")(recover)
app.command(short_help="Deliver the spool from outside the application.")(ship)
app.add_typer(keys, short_help="Who signs, until when? init, show, export.")
app.command(short_help="What is audited, and what is not?")(coverage)
app.command(short_help="Is it set up?")(doctor)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"otel-audit {version('otel-audit')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Who did what to which record, and proof that nobody edited the answer.

    \b
    Exit status: 0 yes, 1 no and here is why, 2 usage or unreadable, 3 cannot be
    shown, 4 nothing found.
    """
