"""Archives to be written out."""

from __future__ import annotations

import pytest

from tests.archives import Archive


@pytest.fixture
def archive() -> Archive:
    """Two streams that end, written alternately; the second names the first."""
    archive = Archive()
    first = archive.stream()
    first.events(5)
    first.seal()
    second = archive.stream(predecessors=[first.reference()])
    second.events(5)
    second.seal()
    first.close()
    second.close()
    return archive
