"""Record bodies in files: a spool, or any tree of `*.jsonl`, `*.jsonl.gz`, `*.jsonl.zst`.

A directory named by 32 hex digits is a stream, its files its segments in order of name. Any other file is
believed to be one stream in order until reading it shows otherwise. What is called OTLP-JSON is read as that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from otel_audit.errors import SourceError
from otel_audit.sources.files import open_regular
from otel_audit.sources.lines import read_lines
from otel_audit.sources.otlp_json import is_otlp_json, otlp_lanes
from otel_audit.sources.source import Batch, Differs, Lane, LaneGone
from otel_audit.sources.spill import key_of, reorder
from otel_audit.sources.walk import walk

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
_STREAM = re.compile(r"[0-9a-f]{32}")
_OBSERVED = re.compile(rb'"observed":"([0-9TZ:.-]{30})"')
_PEEK_BYTES = 1 << 16
_SHARED_NAMES = 1_000
_MAX_PLACE_BYTES = 1024


def read_directory(path: str | os.PathLike[str], *, names_itself: bool = True) -> DirectorySource:
    """Return the bodies under the directory *path*, or in the file that it is, as a source.

    *names_itself*: its file `place` is believed, as a spool's is.

    Raises:
        SourceError: there is no such file or directory, or it or its `place` cannot be read.
    """
    where = Path(path)
    try:
        if where.is_dir():
            return DirectorySource(where, _place(where) if names_itself else None)
        exists = where.exists()
    except OSError as error:
        raise SourceError(f"{where}: cannot be read: {error.strerror}") from error
    if not exists:
        raise SourceError(f"{where}: no such file or directory; name a directory or a .jsonl file")
    if not where.name.endswith(SUFFIXES):
        raise SourceError(f"{where}: expected a directory or a file *.jsonl, *.jsonl.gz or *.jsonl.zst")
    return DirectorySource(where, None)


def _place(directory: Path) -> str | None:
    try:
        with open_regular(directory / "place") as file:
            return file.read(_MAX_PLACE_BYTES).decode("utf-8", "replace").strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SourceError(f"{directory / 'place'}: cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class FileLane:
    """Files read one after the other: the segments of one stream, or a single file."""

    directory: Path
    """Shared by all streams of a service: there may be a million of them."""
    stream: str | None
    """Also the name of the directory in there that the files lie in; None where they lie in it themselves."""
    opened: str
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """The stream's directory, or the file."""
        return str(self.directory / (self.files[0] if self.stream is None else self.stream))

    def batches(self) -> Iterator[Batch]:
        """Read every file up to its last whole line.

        Raises:
            SourceError: a file cannot be read.
            LaneGone: the stream's directory is not there any more.
        """
        below = self.directory if self.stream is None else self.directory / self.stream
        for file in (below / name for name in self.files):
            try:
                for lines in read_lines(file):
                    yield Batch(lines)
            except SourceError:
                if self.stream is not None and not below.exists():
                    raise LaneGone(self.name) from None
                raise


class DirectorySource:
    """Bodies in files below one path; whatever is not named like a segment is not looked at."""

    def __init__(self, path: Path, place: str | None) -> None:
        self.name = str(path.resolve())
        self.place = place
        self._path = path
        self._is_local: bool | None = None

    @property
    def local(self) -> bool:
        """False where OTLP-JSON lies here: that came from elsewhere, and may be late.

        Raises:
            SourceError: a directory cannot be listed.
        """
        if self._is_local is None:
            self._is_local = not self._path.is_dir() or not any(
                is_otlp_json(name) for _, names in walk(self._path) for name in names
            )
        return self._is_local

    def lanes(self) -> Iterator[Lane]:
        """One lane a stream's directory, one a file elsewhere, one an OTLP-JSON log, by name.

        Raises:
            SourceError: a directory cannot be listed.
        """
        if not self._path.is_dir():
            yield _file_lane(self._path.parent, self._path.name)
            return
        is_local = True
        above = self._path
        segments: dict[tuple[str, ...], tuple[str, ...]] = {}
        """Most streams have files of the same names: one tuple for all of them."""
        for directory, names in walk(self._path):
            otlp = [name for name in names if is_otlp_json(name)]
            is_local = is_local and not otlp
            where = Path(directory)
            yield from otlp_lanes(where, otlp)
            files = tuple(name for name in sorted(names) if name.endswith(SUFFIXES) and not is_otlp_json(name))
            # Split here: a path keeps its parts, and a table of them, for as long as one of them is kept
            parent, stream = os.path.split(directory)
            if files and _STREAM.fullmatch(stream):
                if len(segments) < _SHARED_NAMES:
                    files = segments.setdefault(files, files)
                above = above if str(above) == parent else Path(parent)
                yield FileLane(above, stream, _first_observed(Path(directory, files[0])), files)
            else:
                for name in files:
                    yield _file_lane(where, name)
        self._is_local = is_local

    def reorder(self, lanes: Sequence[Lane], differs: Differs) -> Iterable[Lane]:
        """Sort on disk.

        Raises:
            SourceError: there is no room for it.
        """
        return reorder(lanes, differs)


def _file_lane(directory: Path, name: str) -> FileLane:
    return FileLane(directory, None, _first_observed(directory / name), (name,))


def _first_observed(file: Path) -> str:
    """Return `observed` of the first record, a hint for the order of reading; empty where it is not at hand."""
    if file.suffix != ".jsonl":
        return ""
    try:
        with open_regular(file) as opened:
            line = opened.read(_PEEK_BYTES).partition(b"\n")[0]
    except (OSError, SourceError):
        # A hint: whatever is wrong with the file is reported when it is read.
        return ""
    match = _OBSERVED.search(line)
    return match[1].decode("ascii") if match is not None and key_of(line)[0] else ""
