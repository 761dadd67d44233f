"""Records that the sink refuses, each alone, until it takes them or somebody looks.

Export stage. Nothing is dropped: a file `<stream>-<seq>.record` of the state directory holds the very bytes, and
they are sent again after a restart, and by `otel-audit ship`. They stand in their stream as well.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from otel_audit.spool.delivered import quarantined
from otel_audit.spool.layout import QUARANTINE, make_directory, write_durably


class Quarantine:
    """The quarantine of one state directory; *directory* None: in memory, for as long as the process lives."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._memory: dict[tuple[str, int], bytes] = {}

    def put(self, stream: str, seq: int, body: bytes) -> bool:
        """Put a record aside; returns once it would survive a power cut. False: it was there already.

        Raises:
            OSError: it cannot be written; the record has not been put aside.
        """
        if self._directory is None:
            is_new = (stream, seq) not in self._memory
            self._memory[stream, seq] = body
            return is_new
        path = self._path(stream, seq)
        if path.exists():
            return False
        make_directory(path.parent)
        write_durably(path, body)
        return True

    def held(self) -> list[tuple[str, int]]:
        """Stream and seq of every record that stands in it."""
        if self._directory is None:
            return sorted(self._memory)
        found: list[tuple[str, int]] = []
        for path in quarantined(self._directory):
            stream, _, seq = path.name.removesuffix(".record").partition("-")
            if seq.isdecimal():
                found.append((stream, int(seq)))
        return found

    def body(self, stream: str, seq: int) -> bytes | None:
        """A record's bytes; None where it was let out meanwhile.

        Raises:
            OSError: it cannot be read.
        """
        if self._directory is None:
            return self._memory.get((stream, seq))
        try:
            return self._path(stream, seq).read_bytes()
        except FileNotFoundError:
            return None

    def let_out(self, stream: str, seq: int) -> None:
        """The sink has taken it after all."""
        if self._directory is None:
            self._memory.pop((stream, seq), None)
            return
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            self._path(stream, seq).unlink()

    def where(self) -> str:
        """What a person is told."""
        return "memory" if self._directory is None else str(self._directory / QUARANTINE)

    def _path(self, stream: str, seq: int) -> Path:
        assert self._directory is not None
        return self._directory / QUARANTINE / f"{stream}-{seq:012d}.record"
