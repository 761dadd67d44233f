"""Periods, for the second verifier: what "Windows" returns of each stream, and which findings are of it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from tests.second_verifier.asked import Answer, Body, Question
from tests.second_verifier.verifier import NEVER, SECOND, Judge, Row, Stream


def verify(bodies: Sequence[Body], asked: Question) -> Answer:
    return (Window if asked.is_window else Judge)(bodies, asked).answer()


class Window(Judge):
    """Everything handed over is known; findings are of records 1, of runs, and of recoveries wherever they are."""

    def __init__(self, bodies: Sequence[Body], asked: Question) -> None:
        super().__init__(bodies, asked)
        self.since = -NEVER * SECOND if asked.since is None else asked.since
        self.until = NEVER * SECOND if asked.until is None else asked.until
        self.starts, self.cut = dict[str, int](), set[str]()
        self.streams = {name: copy.copy(one) for name, one in self.held.items() if not self.is_over(one)}
        for name, stream in self.streams.items():
            self.lay(name, stream)

    def is_over(self, stream: Stream) -> bool:
        """Whether it ended before the period."""
        ended = stream.closed < NEVER or any(row.observed < self.since for row in stream.ends)
        return ended and all(row.observed < self.since for row in stream.rows)

    def lay(self, name: str, stream: Stream) -> None:
        """Cut a stream down to record 1 and its run: whatever a clock does, what may be of the period is in it."""
        signed = [row.seq for row in stream.rows if row.is_good]
        first = min((row.seq for row in stream.rows if row.observed >= self.since), default=NEVER)
        last = max((row.seq for row in stream.rows if row.observed < self.until), default=0)
        before, after = [seq for seq in signed if seq < first], [seq for seq in signed if seq > last]
        start = self.starts[name] = max(before, default=1)
        self.cut |= {name} if after else set()
        stream.hold(row for row in stream.rows if row.seq == 1 or start <= row.seq <= min([NEVER, *after]))
        stream.closed = self.held[name].closed
        stream.run = [row for row in stream.rows if start == 1 or row.seq > start]

    def content(self, stream: Stream, row: Row) -> None:
        """Not of the record with which a run begins: it lies before the period."""
        if row.seq == 1 or row in stream.run:
            super().content(stream, row)

    def listen(self, row: Row) -> None:
        if row.event != "audit.retired" or row.observed >= self.since:
            super().listen(row)

    def absent(self, name: str, by: Row | None) -> None:
        """Not what was said before the period of streams that are gone."""
        returned = self.streams[by.stream].rows if by and by.stream in self.streams else []
        if by is None or (by.observed >= self.since and (by in returned or (by.ends and returned))):
            super().absent(name, by)

    def answer(self) -> Answer:
        super().answer()
        recoveries = {(row.stream, row.seq) for row in self.voices if row.ends}
        self.found = {one for one in self.found if self.is_of(*one, is_recovery=one[:2] in recoveries)}
        return Answer.of(self.found, self.streams, self.pending, self.adopted)

    def is_of(self, name: str, seq: int, kind: str, *, is_recovery: bool) -> bool:
        """Whether a finding is of the window."""
        if name not in self.streams or kind == "wrong-root":
            return not name
        if kind in {"overdue-seal", "unwitnessed-end", "truncated"}:  # promises, held against the stream's end
            return name not in self.cut
        if kind == "missing":
            return seq != 2 or self.starts[name] < 3  # record 1 stands beside the run
        return is_recovery or seq in self.streams[name].digests
