"""Arguments and options that several commands share, declared once so that they read alike everywhere."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

Sources: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE",
        help="Where records are read from: a directory, *.jsonl[.gz|.zst], or otlp-json:PATH (what a Collector "
        "wrote). Default: the local spool.",
        show_default=False,
    ),
]
Trust: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--trust", metavar="PEM", help="Certificate of an issuer to trust; repeatable. Default: this machine's."
    ),
]
Since: TypeAlias = Annotated[
    str | None, typer.Option("--since", metavar="T", help="From this time on: 2026-11-23T15:00:00Z, or 7d ago.")
]
Until: TypeAlias = Annotated[
    str | None, typer.Option("--until", metavar="T", help="Until before this time, in the same forms.")
]
Service: TypeAlias = Annotated[
    str | None, typer.Option("--service", metavar="NAME", help="Only this service's streams.")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="For machines: JSON instead of text.")]
