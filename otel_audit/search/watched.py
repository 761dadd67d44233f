"""Sources that show what they hand over: the verifier reads, and somebody looks over its shoulder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from otel_audit.sources.source import Batch, Differs, Lane, Source

Look = Callable[[bytes], None]


def watched(sources: Iterable[Source], look: Look) -> list[Source]:
    """The same *sources*; *look* is called with each body handed over, again where it is read again."""
    return [_WatchedSource(source, look) for source in sources]


class _WatchedSource:
    def __init__(self, source: Source, look: Look) -> None:
        self._source = source
        self._look = look

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def place(self) -> str | None:
        return self._source.place

    @property
    def local(self) -> bool:
        return self._source.local

    def lanes(self) -> Iterator[Lane]:
        return (_WatchedLane(lane, self._look) for lane in self._source.lanes())

    def reorder(self, lanes: Sequence[Lane], differs: Differs) -> Iterator[Lane]:
        inner = [lane.unwatched if isinstance(lane, _WatchedLane) else lane for lane in lanes]
        return (_WatchedLane(lane, self._look) for lane in self._source.reorder(inner, differs))


class _WatchedLane:
    __slots__ = ("_look", "unwatched")

    def __init__(self, lane: Lane, look: Look) -> None:
        self.unwatched = lane
        self._look = look

    @property
    def name(self) -> str:
        return self.unwatched.name

    @property
    def stream(self) -> str | None:
        return self.unwatched.stream

    @property
    def opened(self) -> str:
        return self.unwatched.opened

    def batches(self) -> Iterator[Batch]:
        for batch in self.unwatched.batches():
            for body in batch.bodies:
                self._look(body)
            yield batch
