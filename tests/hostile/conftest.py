"""One server of commands for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.commands import Commands


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """Runs `otel-audit`, each time in a process of its own."""
    running = Commands()
    yield running
    running.close()
