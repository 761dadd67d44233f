"""What a source of records is: bodies, handed over stream by stream in `seq` order.

Between storage and verifier. A source need not be right about what it hands over: a lane that turns out not
to be one stream in order is read again through `reorder`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Attributes = Mapping[str, object]
"""OTLP attributes of a log record by name, as a backend gives them back; integers of 64 bits."""

Differs = Callable[[bytes, Attributes], bool]
"""Whether there is anything to be said of the attributes beside a body."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some record bodies in a row; bounded by about a mebibyte."""

    bodies: Sequence[bytes]
    """Each one line without its line feed. One that is too long to be a record may be cut short."""
    attributes: Sequence[Attributes | None] | None = None
    """Beside each body, where the source has an index; None where it has none."""
    places: Sequence[int] | None = None
    """Of each body, from 0, in a lane of which others were left out; None: one after the other."""


class LaneGone(Exception):  # noqa: N818 - a state of the source, not a fault
    """What the lane reads was removed as a whole since it was listed: retention, at work while we read."""


class Lane(Protocol):
    """Bodies that the source believes to be one stream in `seq` order."""

    @property
    def name(self) -> str:
        """Where this is read from, for messages: a path, a query."""
        ...

    @property
    def stream(self) -> str | None:
        """The stream's id as the source has it; None where only reading can tell."""
        ...

    @property
    def opened(self) -> str:
        """A hint, roughly when the stream opened: newer streams are read first, because they name older ones."""
        ...

    def batches(self) -> Iterator[Batch]:
        """Read from the beginning; may be called again, and then gives at least what it gave before.

        Raises:
            SourceError: it cannot be read.
            LaneGone: all of it is gone since it was listed.
        """
        ...


class Source(Protocol):
    """Somewhere that records are read back from."""

    @property
    def name(self) -> str:
        """What the user calls it; two sources are two copies only if their names differ."""
        ...

    @property
    def place(self) -> str | None:
        """The place's own name, by which `audit.retired` speaks of it; None where it has none."""
        ...

    @property
    def local(self) -> bool:
        """Whether records are there as soon as they are written; else delivery may be late."""
        ...

    def lanes(self) -> Iterable[Lane]:
        """Everything that there is to read.

        Raises:
            SourceError: it cannot be listed.
        """
        ...

    def reorder(self, lanes: Sequence[Lane], differs: Differs) -> Iterable[Lane]:
        """Return what is in *lanes*, own ones, as one lane a stream in `seq` order, and what fits none.

        Attributes that do not differ from their body may be left out: there is nothing to be said of them.

        Raises:
            SourceError: there is no room to sort it.
        """
        ...
