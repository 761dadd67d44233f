"""Findings while a stream is being read: as many as hostile data likes, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

_SEPARATE = 50
"""Findings of one kind kept apart in one stream; more are counted with the last of them."""


_ONCE = frozenset(("clock-outside-certificate", "late-seal", "clock-step"))


@dataclass(slots=True)
class Note:
    """One finding to be: at *seq*, and seen when record *cause* was read."""

    seq: int
    cause: int
    count: int
    message: str


class Noted(NamedTuple):
    """One finding, when the stream has been read."""

    kind: str
    seq: int
    times: int
    message: str


class Notes:
    """Notes by kind, each kind in order of reading, the first ones apart."""

    __slots__ = ("by_kind",)

    def __init__(self) -> None:
        self.by_kind: dict[str, list[Note]] = {}

    def add(self, kind: str, seq: int, cause: int, message: str, count: int = 1) -> None:
        """Note a finding of *kind*; beyond a bound it is only counted."""
        notes = self.by_kind.setdefault(kind, [])
        if len(notes) < _SEPARATE:
            notes.append(Note(seq, cause, count, message))
        else:
            notes[-1].count += count

    def take_over(self, later: Notes) -> None:
        """Move the notes of *later* to the end of these."""
        for kind, notes in later.by_kind.items():
            for note in notes:
                self.add(kind, note.seq, note.cause, note.message, note.count)
        later.by_kind.clear()

    def noted(self) -> Iterator[Noted]:
        """What stays to be reported; of kinds that a slow or stepped clock repeats for ever, only the first."""
        for kind, notes in self.by_kind.items():
            if kind in _ONCE:
                first = notes[0]
                yield Noted(kind, first.seq, sum(note.count for note in notes), first.message)
            else:
                yield from (Noted(kind, note.seq, note.count, note.message) for note in notes)

    def keep_causes(self, upto: int, found_at: AbstractSet[int] = frozenset()) -> None:
        """Forget what was seen at records above *upto*; but not what is to be reported at *found_at*."""
        for kind, notes in list(self.by_kind.items()):
            kept = [note for note in notes if note.cause <= upto or note.seq in found_at]
            if kept:
                self.by_kind[kind] = kept
            else:
                del self.by_kind[kind]
