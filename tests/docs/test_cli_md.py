"""docs/cli.md shows what `--help` prints; `python tests/docs/test_cli_md.py` writes it anew."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
BLOCK = re.compile(r"```console\n\$ otel-audit (?P<verb>[a-z ]*)--help\n(?P<help>.*?)```", re.DOTALL)
VERBS = [
    "demo",
    "verify",
    "show",
    "recover",
    "ship",
    "keys",
    "keys init",
    "keys show",
    "keys export",
    "coverage",
    "doctor",
]


@cache
def helps() -> dict[str, str]:
    """What `--help` prints of every verb in 80 columns, without blanks at the ends of lines."""
    code = (
        "import contextlib, io, json, sys\n"
        "from otel_audit.cli.entry import run\n"
        "helps = {}\n"
        "for verb in sys.argv[1:]:\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as printed:\n"
        "        assert run([*verb.split(), '--help']) == 0\n"
        "    helps[verb] = ''.join(line.rstrip() + chr(10) for line in printed.getvalue().splitlines())\n"
        "print(json.dumps(helps))\n"
    )
    command = [sys.executable, "-c", code, "", *VERBS]
    environ = {**os.environ, "COLUMNS": "80"}
    printed = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    return dict(json.loads(printed))


@pytest.fixture(scope="module")
def blocks() -> dict[str, str]:
    return {match["verb"].strip(): match["help"] for match in BLOCK.finditer(PAGE.read_text())}


def test_every_verb_has_its_help_on_the_page(blocks: dict[str, str]) -> None:
    listed = re.findall(r"^  ([a-z]+) ", helps()[""].partition("Commands:")[2], re.MULTILINE)

    assert sorted(listed) == sorted({verb.split()[0] for verb in VERBS})
    assert list(blocks) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_shows_what_help_prints(blocks: dict[str, str], verb: str) -> None:
    assert blocks[verb] == helps()[verb]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "keys"])
def test_every_help_has_an_example_and_offers_json(verb: str) -> None:
    printed = helps()[verb]

    assert re.search(rf"^  Examples?:\n    .*otel-audit {verb}", printed, re.MULTILINE)
    assert "--json" in printed


def write() -> None:
    """Put the present help into the page."""
    page = PAGE.read_text()

    def block(match: re.Match[str]) -> str:
        return f"```console\n$ otel-audit {match['verb']}--help\n{helps()[match['verb'].strip()]}```"

    PAGE.write_text(BLOCK.sub(block, page))


if __name__ == "__main__":
    write()
