"""What is written from now on: the growing ends of a spool, record by record, before any seal covers them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_audit.evidence.canonical import MAX_RECORD_BYTES, decode
from otel_audit.evidence.record import CLOSE, OPEN, problem
from otel_audit.search.query import Query, like
from otel_audit.search.selection import Found, Selection
from otel_audit.sources.files import open_regular

POLL_S = 0.5
"""A writer maps its segment, so no notification of the file system tells of a new record: we look."""
_BLOCK_BYTES = 1 << 20


@dataclass(slots=True)
class _End:
    """How far a file has been read."""

    offset: int = 0
    is_over: bool = False


class Follower:
    """Reads on where a *selection* ended, in the directories and `*.jsonl` files *paths*.

    Nothing it yields has been verified: these records are younger than the last seal.
    """

    def __init__(self, paths: Sequence[Path], query: Query, selection: Selection) -> None:
        self._paths = paths
        self._query = query
        self._last_seq = dict(selection.last_seq)
        self._services = dict(selection.services)
        self._closed = set(selection.closed)
        self._ends: dict[Path, _End] = {}

    def __iter__(self) -> Iterator[Found]:
        """Yield for ever what answers the query, waiting where there is nothing new."""
        while True:
            yield from self.new()
            time.sleep(POLL_S)

    def new(self) -> Iterator[Found]:
        """What has been written since the last call, stream by stream."""
        for path in self._files():
            end = self._ends.setdefault(path, _End(is_over=path.parent.name in self._closed))
            while not end.is_over and (lines := _whole_lines(path, end)):
                for line in lines:
                    members = decode(line)
                    if members is not None and problem(members) is None:
                        yield from self._answer(line, members, end)

    def _answer(self, line: bytes, members: dict[str, Any], end: _End) -> Iterator[Found]:
        stream, seq = members["stream"], members["seq"]
        if seq <= self._last_seq.get(stream, 0):
            return
        self._last_seq[stream] = seq
        if members["event"] == OPEN:
            self._services[stream] = members["context"]["service.name"]
        end.is_over = members["event"] == CLOSE
        query = self._query
        is_of_service = query.service is None or like(query.service, self._services.get(stream, ""))
        if is_of_service and query.matches(members) and query.is_by(members):
            yield Found(stream, seq, line, members)

    def _files(self) -> Iterator[Path]:
        for path in self._paths:
            yield from sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]


def _whole_lines(path: Path, end: _End) -> list[bytes]:
    """The lines that have ended since *end*, which moves behind them."""
    try:
        with open_regular(path) as file:
            data = os.pread(file.fileno(), _BLOCK_BYTES, end.offset)
    except FileNotFoundError:  # retired meanwhile
        end.is_over = True
        return []
    whole = data[: data.rfind(b"\n") + 1]
    if not whole and len(data) > MAX_RECORD_BYTES and data[:1] != b"\0":
        end.is_over = True  # no record is that long: whatever it is, it is for the verifier
    end.offset += len(whole)
    return whole.split(b"\n")[:-1]
