"""Puts bodies in order that are not: grouped by stream, sorted by `seq`, in a temporary database.

For an archive that somebody concatenated, shuffled, or exported from a backend without an order. The disk
holds what memory should not; the file is removed with its last lane.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import orjson

from otel_audit.errors import SourceError
from otel_audit.sources.source import Attributes, Batch, Differs, Lane, LaneGone
from otel_audit.sources.temporary_database import as_ours, open_temporary_database

_SCHEMA_AND_SEQ = b'"schema":"otel-audit/1","seq":'
_STREAM = b'"stream":"'
_BATCH = 1_000


class Spill:
    """Bodies on disk, given back one lane a stream."""

    def __init__(self, lanes: Sequence[Lane], differs: Differs) -> None:
        """Read *lanes* through and sort them; of attributes those that are different are kept.

        Raises:
            SourceError: one cannot be read, or there is no room for the temporary file.
        """
        self._given = lanes
        self._has_lone = False
        try:
            self._database = open_temporary_database(is_shared=True)
            self._database.execute("BEGIN")
            self._database.execute("CREATE TABLE body (stream TEXT, seq INTEGER, body BLOB, attributes BLOB)")
            for lane in lanes:
                for batch in lane.batches():
                    self._database.executemany("INSERT INTO body VALUES (?, ?, ?, ?)", self._rows(batch, differs))
            self._database.execute("CREATE INDEX by_seq ON body (stream, seq)")
            self._database.commit()
        except LaneGone as gone:
            raise SourceError(f"{gone}: removed while it was read (by retention?); read again") from gone
        except sqlite3.Error as error:
            raise as_ours(error, "a source that is not in order cannot be sorted") from error

    def lanes(self, name: str) -> Iterator[Lane]:
        """One lane a stream, and those of bodies that name none; *name* is for messages."""
        try:
            for (stream,) in self._database.execute("SELECT DISTINCT stream FROM body ORDER BY stream"):
                yield SpilledLane(self, name, stream)
        except sqlite3.Error as error:
            raise as_ours(error, "the temporary file of a sorted source cannot be read") from error
        if self._has_lone:
            yield from map(LoneLane, self._given)

    def read(self, stream: str) -> Iterator[Batch]:
        """Bodies of one stream in order of `seq`.

        Raises:
            SourceError: the temporary file cannot be read.
        """
        try:
            cursor = self._database.execute(
                "SELECT body, attributes FROM body WHERE stream = ? ORDER BY seq, body", (stream,)
            )
            while rows := cursor.fetchmany(_BATCH):
                attributes = [None if text is None else cast("Attributes", orjson.loads(text)) for _, text in rows]
                yield Batch([body for body, _ in rows], attributes if any(attributes) else None)
        except sqlite3.Error as error:
            raise as_ours(error, "the temporary file of a sorted source cannot be read") from error

    def _rows(self, batch: Batch, differs: Differs) -> Iterator[tuple[str, int, bytes, bytes | None]]:
        distinct = set(batch.bodies)
        if len(distinct) * 2 < len(batch.bodies) and all(key_of(body)[0] is None for body in distinct):
            self._has_lone = True  # the same noise again and again is not looked at again and again
            return
        for at, body in enumerate(batch.bodies):
            stream, seq = key_of(body)
            if stream is None:
                self._has_lone = True
                continue
            attributes = batch.attributes[at] if batch.attributes is not None else None
            is_kept = attributes is not None and differs(body, attributes)
            yield stream, seq, body, orjson.dumps(attributes) if is_kept else None


class LoneLane:
    """What names no stream in a lane that was sorted, read from where it stands.

    On disk, a packed file of line feeds would fill it.
    """

    stream = None
    opened = ""

    def __init__(self, lane: Lane) -> None:
        self.name = lane.name
        self._lane = lane

    def batches(self) -> Iterator[Batch]:
        """Read all again, and leave out what names a stream.

        Raises:
            SourceError: it cannot be read.
        """
        before = 0
        try:
            for batch in self._lane.batches():
                distinct = set(batch.bodies)
                lone = {body for body in distinct if key_of(body)[0] is None}
                if len(lone) == len(distinct):
                    yield Batch(batch.bodies, places=range(before, before + len(batch.bodies)))
                elif lone:
                    places = [before + at for at, body in enumerate(batch.bodies) if body in lone]
                    yield Batch([body for body in batch.bodies if body in lone], places=places)
                before += len(batch.bodies)
        except LaneGone as gone:
            raise SourceError(f"{gone}: removed while it was read (by retention?); read again") from gone


class SpilledLane:
    """One stream of a `Spill`, in order."""

    __slots__ = ("_spill", "name", "opened", "stream")

    def __init__(self, spill: Spill, name: str, stream: str) -> None:
        self.name = name
        self.stream = stream
        self.opened = ""
        self._spill = spill

    def batches(self) -> Iterator[Batch]:
        """Read in order of `seq`."""
        return self._spill.read(self.stream)


def reorder(lanes: Sequence[Lane], differs: Differs) -> Iterable[Lane]:
    """Return what is in *lanes* as one lane a stream; the body of `Source.reorder` for a source of any kind.

    Raises:
        SourceError: there is no room to sort it.
    """
    return Spill(lanes, differs).lanes(
        ", ".join(lane.name for lane in lanes[:3]) + (" …" if len(lanes) > 3 else "")
    )


def key_of(body: bytes) -> tuple[str | None, int]:
    """Return stream and `seq` of a canonical record; (None, 0) for most of what is none.

    A glance, no check: in canonical order only `source`, `stream`, `target`, `time` and `trace_id` follow,
    and a raw quote stands in no string, so the last occurrence is the member itself.
    """
    at = body.rfind(_SCHEMA_AND_SEQ)
    stream_at = body.rfind(_STREAM)
    if at < 0 or stream_at < at:
        return None, 0
    digits = body[at + len(_SCHEMA_AND_SEQ) : at + len(_SCHEMA_AND_SEQ) + 17].partition(b",")[0]
    stream = body[stream_at + len(_STREAM) : stream_at + len(_STREAM) + 32]
    if not digits.isdigit() or len(digits) > 16 or len(stream) != 32 or not stream.isalnum():
        return None, 0
    return stream.decode("ascii"), int(digits)
