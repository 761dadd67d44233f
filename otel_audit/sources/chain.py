"""Several lanes of one stream in one source, read one after the other.

An export often comes as many files, each a piece of a stream. Opened together they would cost a descriptor
and a mebibyte each; put in order of their first record they cost what one does. Where that order is not
the order of their records, reading shows it, and the source sorts them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from otel_audit.sources.source import Batch, Lane, LaneGone
from otel_audit.sources.spill import key_of


@dataclass(frozen=True, slots=True)
class ChainedLane:
    """Lanes as one."""

    name: str
    stream: str | None
    opened: str
    lanes: tuple[Lane, ...]

    def batches(self) -> Iterator[Batch]:
        """Read each lane in turn.

        Raises:
            SourceError: one cannot be read.
        """
        for lane in self.lanes:
            yield from lane.batches()


def chain(lanes: Sequence[Lane]) -> Lane:
    """Return *lanes*, at least one, all of one stream and one source, as a single lane.

    Raises:
        SourceError: one cannot be read.
    """
    if len(lanes) == 1:
        return lanes[0]
    ordered = sorted(lanes, key=lambda lane: (_first_seq(lane), lane.name))
    name = f"{ordered[0].name} and {len(ordered) - 1} more"
    return ChainedLane(name, ordered[0].stream, max(lane.opened for lane in ordered), tuple(ordered))


def _first_seq(lane: Lane) -> int:
    try:
        return first_key(lane)[1]
    except LaneGone:
        # Whoever reads it will find that out.
        return 0


def first_key(lane: Lane) -> tuple[str | None, int]:
    """Return stream and `seq` of the first body that names them in the lane's first batch; (None, 0) without one.

    Raises:
        SourceError: the lane cannot be read.
    """
    for batch in lane.batches():
        for body in batch.bodies:
            stream, seq = key_of(body)
            if stream is not None:
                return stream, seq
        break
    return None, 0
