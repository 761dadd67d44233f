"""Finds the streams that others, or earlier processes, have left to deliver.

Export stage. A process's own thread takes the ended streams of its service, `otel-audit ship` all of them, those
that living processes write as well. Each is delivered by one process at a time: `export.lock` keeps them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from otel_audit.evidence.canonical import decode
from otel_audit.export.encoding import Encoder
from otel_audit.export.outbox import Outbox
from otel_audit.export.streams import DiskLines, read_lines, size_bytes
from otel_audit.spool.delivered import read_cursor
from otel_audit.spool.ends import read_end
from otel_audit.spool.layout import ENDED, EXPORT_LOCK, segments, stream_directories
from otel_audit.spool.live import LiveStream
from otel_audit.spool.ownership import acquire

MAX_OPEN = 64
"""Streams of a backlog that are held at once; each costs a descriptor and a batch in memory at most."""


class SpoolBacklog:
    """Implements `drain.Backlog` on the directories of services.

    *services* is asked at each look. *is_every*: also streams that have not ended.
    """

    def __init__(
        self,
        services: Callable[[], Sequence[Path]],
        encoder: Encoder,
        scope: tuple[str, str],
        *,
        is_every: bool = False,
    ) -> None:
        self.services = services
        self._encoder = encoder
        self._scope = scope
        self._is_every = is_every
        self._out: set[str] = set()
        """Handed out, or this process's own."""
        self._finished: set[str] = set()
        self._seen: dict[str, tuple[int, bool]] = {}
        """Size, and whether it had ended, when nothing was left of a stream that may still grow."""
        self._held_back: dict[str, int] = {}
        """How often a stream was given back because it waited for others."""

    def own(self, directory: Path, live: LiveStream) -> Outbox | None:
        """The outbox of a stream that this process writes; None while another process delivers it.

        Raises:
            OSError: its lock cannot be taken.
        """
        ownership = acquire(directory, EXPORT_LOCK)
        if ownership is None:
            return None
        self._out.add(directory.name)
        return Outbox(DiskLines(directory, ownership, live), self._encoder, self._scope)

    def exclude(self, stream: str) -> None:
        """That stream is this process's own."""
        self._out.add(stream)

    def find(self) -> Iterator[Outbox]:
        """See `Backlog.find`."""
        present: set[str] = set()
        due: list[Path] = []
        for service in self.services():
            for directory in stream_directories(service):
                present.add(directory.name)
                if self._is_due(directory):
                    due.append(directory)
        self._finished &= present
        self._seen = {stream: seen for stream, seen in self._seen.items() if stream in present}
        self._held_back = {stream: times for stream, times in self._held_back.items() if stream in present}
        for directory in sorted(due, key=self._rank):
            if len(self._out) >= MAX_OPEN:
                return
            ownership = acquire(directory, EXPORT_LOCK)
            if ownership is not None:
                self._out.add(directory.name)
                yield Outbox(DiskLines(directory, ownership), self._encoder, self._scope)

    def _rank(self, directory: Path) -> tuple[int, str]:
        """Oldest first, which younger ones name; whoever was held back comes after those that were not."""
        first = next((line for path in segments(directory)[:1] for line in read_lines(path, 0)), None)
        members = None if first is None else decode(first.body)
        return self._held_back.get(directory.name, 0), str((members or {}).get("observed"))

    def _is_due(self, directory: Path) -> bool:
        stream = directory.name
        if stream in self._out or stream in self._finished:
            return False
        end = read_end(directory)
        if end is not None and read_cursor(directory).seq >= end.seq:
            self._finished.add(stream)
            return False
        if end is None and not self._is_every:
            return False
        return self._seen.get(stream) != (size_bytes(directory), end is not None)

    def give_back(self, outbox: Outbox) -> None:
        """See `Backlog.give_back`."""
        self._out.discard(outbox.stream)
        if outbox.is_done:
            self._finished.add(outbox.stream)
        elif outbox.held_back_by:
            self._held_back[outbox.stream] = self._held_back.get(outbox.stream, 0) + 1
        elif isinstance(outbox.lines, DiskLines):
            directory = outbox.lines.directory
            self._seen[outbox.stream] = (size_bytes(directory), (directory / ENDED).exists())


class NoBacklog:
    """Implements `drain.Backlog` where nothing outlives a process: in memory."""

    def find(self) -> tuple[()]:
        """See `Backlog.find`."""
        return ()

    def give_back(self, outbox: Outbox) -> None:
        """See `Backlog.give_back`."""
