"""What an intruder would do to a log: done here to copies of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from otel_audit.errors import SourceError


@dataclass(frozen=True, slots=True)
class Edit:
    """One line that was exchanged."""

    stream: str
    seq: int
    before: str
    after: str


def copy_log(log: Path, to: Path) -> Path:
    """Copy the log without the issuer's private key, as an auditor would be given it."""
    shutil.copytree(log, to, ignore=shutil.ignore_patterns("identity", "*.key", "*.lock"))
    return to


def blame_another(log: Path, actor: str, other: str) -> Edit:
    """Make one denied deletion by *actor* that of *other*: a change of a few letters in one line.

    Raises:
        SourceError: there is no such record.
    """
    for path in sorted(log.rglob("*.jsonl")):
        lines = path.read_bytes().split(b"\n")
        for position, line in enumerate(lines):
            if _is_denied_deletion(line, actor):
                members = orjson.loads(line)
                lines[position] = line.replace(f'"id":"{actor}"'.encode(), f'"id":"{other}"'.encode())
                path.write_bytes(b"\n".join(lines))
                return Edit(members["stream"], members["seq"], f'"id":"{actor}"', f'"id":"{other}"')
    raise SourceError(f"{log}: no denied deletion by {actor} was recorded, there is nothing to falsify")


def _is_denied_deletion(line: bytes, actor: str) -> bool:
    wanted = (
        b'"event":"http.server.request"',
        b'"action":"DELETE"',
        b'"outcome":"failure"',
        f'"id":"{actor}"'.encode(),
    )
    return all(part in line for part in wanted)


def cut_end(path: Path, lines: int) -> int:
    """Remove the last *lines* lines of a segment; returns the `seq` of the last one that is left.

    Raises:
        SourceError: it has no more lines than that.
    """
    whole = [line for line in path.read_bytes().split(b"\n") if line.strip(b"\0")]
    if len(whole) <= lines:
        raise SourceError(f"{path}: has only {len(whole)} records, {lines} cannot be cut off")
    left = whole[:-lines]
    path.write_bytes(b"".join(line + b"\n" for line in left))
    return int(orjson.loads(left[-1])["seq"])


def streams_by_time(log: Path) -> list[Path]:
    """The last segment of each stream, the stream that opened first in front."""
    segments = {path.parent: path for path in sorted(log.rglob("*.jsonl"))}
    return sorted(segments.values(), key=lambda path: _opened(path.parent))


def _opened(stream: Path) -> str:
    first = next(iter(sorted(stream.glob("*.jsonl"))))
    return str(orjson.loads(next(_lines(first)))["observed"])


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file
