"""A folder with an application, an empty spool, and processes that end with the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.autoload.servers import INSTRUMENT, Program, Spool, clean_environment

APPLICATION = """
import logging
import os
import sqlite3

from flask import Flask

app = Flask(__name__)


@app.get("/items/<int:item>")
def item(item):
    connection = sqlite3.connect("shop.db")
    try:
        connection.execute("SELECT ?", (item,)).fetchone()
    finally:
        connection.close()
    return str(os.getpid())


if __name__ == "__main__":
    app.run(port=0)
"""


class Start(Protocol):
    """Start a command; `environment` are variables, None to take one away."""

    def __call__(self, *command: str, **environment: str | None) -> Program: ...


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty state directory."""
    return Spool(tmp_path / "state")


@pytest.fixture
def start(tmp_path: Path, spool: Spool) -> Iterator[Start]:
    """Start programs in a folder that holds `app.py`; what still runs at the end is killed, by its own pid."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "app.py").write_text(APPLICATION)
    started: list[Program] = []

    def run(*command: str, **environment: str | None) -> Program:
        variables = {**clean_environment(spool.directory), **environment}
        given = {name: value for name, value in variables.items() if value is not None}
        started.append(Program(command, folder, given, f"program-{len(started)}"))
        return started[-1]

    yield run
    for program in started:
        program.kill()


@pytest.fixture
def instrument(start: Start) -> Start:
    """Start programs under `opentelemetry-instrument`."""

    def run(*command: str, **environment: str | None) -> Program:
        return start(*INSTRUMENT, *command, **environment)

    return run
