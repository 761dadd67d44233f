"""docs/cli.md shows what `--help` prints; `python tests/docs/test_cli_md.py` writes it anew."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
BLOCK = re.compile(r"```console\n\$ otel-audit (?P<verb>[a-z ]*)--help\n(?P<help>.*?)```", re.DOTALL)
VERBS = ["demo", "verify", "show", "recover", "keys", "keys init", "keys show", "keys export", "doctor"]


def help_of(verb: str) -> str:
    command = [sys.executable, "-m", "otel_audit.cli", *verb.split(), "--help"]
    printed = subprocess.run(
        command, env={**os.environ, "COLUMNS": "80"}, capture_output=True, text=True, check=True
    ).stdout
    return "".join(f"{line.rstrip()}\n" for line in printed.splitlines())


@pytest.fixture(scope="module")
def blocks() -> dict[str, str]:
    return {match["verb"].strip(): match["help"] for match in BLOCK.finditer(PAGE.read_text())}


def test_every_verb_has_its_help_on_the_page(blocks: dict[str, str]) -> None:
    listed = re.findall(r"^  ([a-z]+) ", help_of("").partition("Commands:")[2], re.MULTILINE)

    assert sorted(listed) == sorted({verb.split()[0] for verb in VERBS})
    assert list(blocks) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_shows_what_help_prints(blocks: dict[str, str], verb: str) -> None:
    assert blocks[verb] == help_of(verb)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "keys"])
def test_every_help_has_an_example_and_offers_json(verb: str) -> None:
    printed = help_of(verb)

    assert re.search(rf"^  Examples?:\n    .*otel-audit {verb}", printed, re.MULTILINE)
    assert "--json" in printed


def write() -> None:
    """Put the present help into the page."""
    page = PAGE.read_text()
    PAGE.write_text(
        BLOCK.sub(
            lambda match: f"```console\n$ otel-audit {match['verb']}--help\n{help_of(match['verb'])}```", page
        )
    )


if __name__ == "__main__":
    write()
