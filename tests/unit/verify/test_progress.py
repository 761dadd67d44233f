"""Who waits for a verdict is told how far it has come, from the beginning on."""

from __future__ import annotations

from pathlib import Path

from otel_audit.sources import read_directory
from otel_audit.verify import verify
from tests.archives import Archive


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def listed(self, lanes: int) -> None:
        self.events.append(("listed", lanes))

    def read(self, bodies: int) -> None:
        self.events.append(("read", bodies))


def test_streams_are_counted_as_they_are_found_and_records_as_they_are_read(shop: Archive, tmp_path: Path) -> None:
    """Finding a million files took half an hour, and nothing was said."""
    shop.write(tmp_path)
    told = Told()

    verify([read_directory(tmp_path)], trust=[], progress=told)

    assert told.events[:3] == [("listed", 1)] * 3
    assert [bodies for event, bodies in told.events if event == "read"] == [
        len(stream.records) for stream in reversed(shop.streams)
    ]
