"""A Collector that `make collector` has built, or the reason why there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.processes import TlsFiles, World, built_collector


@pytest.fixture(scope="session")
def binary() -> Path:
    found = built_collector()
    if found is None:
        go = shutil.which("go")
        pytest.skip(
            f"no Collector was built of this manifest: make collector ({go or 'it needs Go 1.26: none here'})"
        )
    return found


def make_world(directory: Path, binary: Path) -> World:
    return World(directory, binary, TlsFiles(directory / "tls"))


@pytest.fixture
def world(tmp_path: Path, binary: Path) -> Iterator[World]:
    """Directories, certificates and an end for every process that a test starts."""
    world = make_world(tmp_path, binary)
    yield world
    world.close()
