"""A folder with an application, an empty spool, and processes that end with the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.autoload.servers import Spool, Start, instrumented, starting


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty state directory."""
    return Spool(tmp_path / "state")


@pytest.fixture
def start(tmp_path: Path, spool: Spool) -> Iterator[Start]:
    """Start programs in a folder that holds `app.py`."""
    with starting(tmp_path / "folder", spool) as run:
        yield run


@pytest.fixture
def instrument(start: Start) -> Start:
    """Start programs under `opentelemetry-instrument`."""
    return instrumented(start)
