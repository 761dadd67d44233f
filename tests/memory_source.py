"""Record bodies in memory, as a source of the verifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from otel_audit.sources import Batch, Lane
from otel_audit.sources.source import Differs
from otel_audit.sources.spill import reorder


@dataclass(frozen=True)
class MemoryLane:
    name: str
    stream: str | None
    bodies: Sequence[bytes]
    opened: str = ""
    attributes: Sequence[Mapping[str, object] | None] | None = None

    def batches(self) -> Iterator[Batch]:
        """Batches of seven, so that their borders are met."""
        for at in range(0, len(self.bodies), 7):
            attributes = None if self.attributes is None else self.attributes[at : at + 7]
            yield Batch(self.bodies[at : at + 7], attributes)


@dataclass
class MemorySource:
    """Bodies as a source: one lane, or several."""

    bodies: Sequence[bytes] = ()
    name: str = "memory"
    place: str | None = None
    local: bool = True
    given: Sequence[MemoryLane] = ()

    def lanes(self) -> Iterator[Lane]:
        if self.bodies:
            yield MemoryLane(self.name, None, self.bodies)
        yield from self.given

    def reorder(self, lanes: Sequence[Lane], differs: Differs) -> Iterator[Lane]:
        yield from reorder(lanes, differs)
