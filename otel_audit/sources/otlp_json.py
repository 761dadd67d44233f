"""OTLP-JSON files as the Collector's file exporter writes and rotates them, read while it does.

A file and those rotated from it are one log, and one lane. Most hold the streams of many processes, so the
verifier has them sorted on disk.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from otel_audit.errors import SourceError
from otel_audit.sources.files import open_regular
from otel_audit.sources.otlp_documents import read_documents
from otel_audit.sources.otlp_records import records_of
from otel_audit.sources.source import Attributes, Batch, Differs, Lane
from otel_audit.sources.spill import reorder
from otel_audit.sources.walk import walk

# timberjack 1.4 backupName: <name>-<time>-<reason><ext>; lumberjack, before it: <name>-<time><ext>. What an
# operator packed afterwards has .gz or .zst behind that.
_NAME = re.compile(
    r"(?P<log>.+?)(?P<rotated>-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}(?:-[a-z]+(?:_(?P<again>\d{1,9}))?)?)?"
    r"(?P<suffix>\.jsonl?)(?:\.gz|\.zst)?"
)
_BATCH_BYTES = 1 << 20
_OVERHEAD_BYTES = 100
"""Of a body that is handed over: a batch of a million of one byte each is none of a mebibyte."""


def is_otlp_json(name: str) -> bool:
    """True for the name of a file that holds OTLP-JSON: `*.otlp.json` and `*.otlp.jsonl`, rotated or packed too."""
    match = _NAME.fullmatch(name)
    return match is not None and match["log"].endswith(".otlp")


def read_otlp_json(path: str | os.PathLike[str]) -> OtlpJsonSource:
    """Return the records in the OTLP-JSON file *path* and the files rotated from it, or of a directory of such.

    Raises:
        SourceError: there is no such file or directory.
    """
    where = Path(path)
    try:
        exists = where.exists()
    except OSError as error:
        raise SourceError(f"{where}: cannot be read: {error.strerror}") from error
    if not exists:
        raise SourceError(f"{where}: no such file or directory; name what the Collector's file exporter writes")
    return OtlpJsonSource(where)


class OtlpJsonSource:
    """Records in OTLP-JSON files; delivery may be late, as they have travelled."""

    local = False
    place = None

    def __init__(self, path: Path) -> None:
        self.name = str(path.resolve())
        self._path = path

    def lanes(self) -> Iterator[Lane]:
        """One lane a log: a file and those rotated from it.

        Raises:
            SourceError: a directory cannot be listed.
        """
        if not self._path.is_dir():
            match = _NAME.fullmatch(self._path.name)
            if match is None or match["rotated"]:
                yield OtlpJsonLane(self._path.parent, self._path.name, (self._path.name,))
            else:
                yield OtlpJsonLane(self._path.parent, match["log"] + match["suffix"])
            return
        for directory, names in walk(self._path):
            yield from otlp_lanes(Path(directory), names)

    def reorder(self, lanes: Sequence[Lane], differs: Differs) -> Iterable[Lane]:
        """Sort on disk: a Collector's file holds the streams of many processes.

        Raises:
            SourceError: there is no room for it.
        """
        return reorder(lanes, differs)


def otlp_lanes(directory: Path, names: Iterable[str]) -> Iterator[Lane]:
    """Yield one lane a log that the files *names* in *directory* belong to."""
    logs = {match["log"] + match["suffix"] for match in map(_NAME.fullmatch, names) if match}
    for log in sorted(logs):
        yield OtlpJsonLane(directory, log)


@dataclass(frozen=True, slots=True)
class OtlpJsonLane:
    """A log that is written to *log* and rotated: all its files, the oldest first."""

    directory: Path
    log: str
    only: tuple[str, ...] | None = None
    """Files to read instead."""

    stream: None = None
    opened: str = ""

    @property
    def name(self) -> str:
        """Path of the file that is being written."""
        return str(self.directory / self.log)

    def batches(self) -> Iterator[Batch]:
        """Read every file as far as it was written when this began, or further.

        Raises:
            SourceError: a file cannot be read.
        """
        with ExitStack() as files:
            for path, file in self._open(files):
                for document in read_documents(file, path):
                    yield from _batches(records_of(document))

    def _open(self, files: ExitStack) -> Iterator[tuple[Path, BinaryIO]]:
        """Yield the files one after the other.

        The one being written is opened before the others are listed. If it is rotated meanwhile, it is in the
        list too, by its inode; what is written after that is younger than this reading.
        """
        if self.only is not None:
            for name in self.only:
                with _opened(self.directory / name) as file:
                    yield self.directory / name, file
            return
        current: tuple[Path, BinaryIO] | None = None
        inode: tuple[int, int] | None = None
        try:
            path = self.directory / self.log
            current = path, files.enter_context(_opened(path))
            inode = _inode(os.fstat(current[1].fileno()))
        except FileNotFoundError:
            pass  # all that is left are rotated files
        for name in self._rotated():
            path = self.directory / name
            try:
                with _opened(path) as file:
                    if _inode(os.fstat(file.fileno())) != inode:
                        yield path, file
                        continue
            except FileNotFoundError as error:
                raise SourceError(f"{path}: removed while it was read (packed?); read again") from error
            break
        if current is not None:
            yield current

    def _rotated(self) -> list[str]:
        found: dict[str, tuple[str, int]] = {}
        try:
            for path in self.directory.iterdir():
                match = _NAME.fullmatch(path.name)
                if match and path.name != self.log and match["log"] + match["suffix"] == self.log:
                    found[path.name] = match["rotated"] or "~", int(match["again"] or 0)
        except OSError as error:
            raise SourceError(f"{self.directory}: cannot be listed: {error.strerror}") from error
        return sorted(found, key=lambda name: (found[name][0].partition("_")[0], found[name][1], name))


def _opened(path: Path) -> BinaryIO:
    """Open a regular file.

    Raises:
        FileNotFoundError: it is not there.
        SourceError: it is none, or cannot be opened.
    """
    try:
        return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", open_regular(path))))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error


def _inode(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino


def _batches(records: Iterable[tuple[bytes, Attributes | None]]) -> Iterator[Batch]:
    bodies: list[bytes] = []
    attributes: list[Attributes | None] = []
    size = 0
    for body, beside in records:
        bodies.append(body)
        attributes.append(beside)
        size += len(body) + _OVERHEAD_BYTES
        if size >= _BATCH_BYTES:
            yield Batch(bodies, attributes)
            bodies, attributes, size = [], [], 0
    if bodies:
        yield Batch(bodies, attributes)
