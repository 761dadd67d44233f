"""Archives to verify: `archive` is empty, `shop` has two closed streams and a live one."""

from __future__ import annotations

import pytest

from tests.archives import Archive


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.fixture
def shop() -> Archive:
    """Streams 0 and 1 are closed, 2 is open and sealed; each names the one before it."""
    archive = Archive()
    reference = None
    for _ in range(3):
        stream = archive.stream(predecessors=[reference] if reference else [])
        stream.policy()
        stream.events(3)
        stream.seal()
        stream.events(2)
        if len(archive.streams) < 3:
            stream.close()
        else:
            stream.seal()
        reference = stream.reference()
    return archive
