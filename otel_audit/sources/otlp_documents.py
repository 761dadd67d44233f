"""OTLP-JSON documents out of files that may be alive, compressed, hostile or cut by a crash, in bounded memory.

As the Collector's file exporter 0.161 writes them (file_writer.go, timberjack 1.4): one export request a line,
the line feed by a second write. A process killed in between, or in the middle of a line, leaves an end without
line feed, and the next one goes on right behind it. What such an end lacks was never acknowledged and came
again, so it is not a finding; if it did not come again, the chain says what is missing.
"""

from __future__ import annotations

import gzip
import io
import itertools
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import orjson

from otel_audit.errors import SourceError
from otel_audit.evidence.canonical import MAX_RECORD_BYTES
from otel_audit.sources.lines import CHUNK_BYTES, Growing, unpack_zstd
from otel_audit.sources.otlp_plain import read_plain_request
from otel_audit.sources.otlp_values import DENSE_BYTES, is_dense
from otel_audit.sources.source import Attributes
from otel_audit.sources.zstandard_frames import FrameError, check_frames

MAX_DOCUMENT_BYTES = 40 << 20
"""One line. The OTLP receiver takes requests of 20 MiB by HTTP, 4 by gRPC, and ours grow 1.6-fold as JSON."""

# An unescaped quote stands in no JSON string: wherever this occurs, a document begins.
_BEGINNING = re.compile(rb'\{"resource(?:Logs|Spans|Metrics|Profiles)":')
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""RFC 8878 §3.1.2: what pzstd puts before each frame."""
_PREFIX_BYTES = 4
_RESYNCS = 1_000
"""How often a file of length-prefixed frames is searched for the next one: once a crash, not without end."""


class Document(NamedTuple):
    """One export request, or what stands where one should be."""

    members: object
    """As JSON has it; None where it is broken."""
    beginning: bytes
    """Of its text, as much as tells that it is no record."""
    records: list[tuple[bytes, Attributes]] | None = None
    """Our log records in it, where they were read already."""


def read_documents(file: BinaryIO, path: Path) -> Iterator[Document]:
    """Yield the documents in *file*, which is *path*; how it is packed is seen from its first bytes.

    Known are plain lines, gzip and zstd over lines, and the file exporter's own `compression: zstd`, where each
    message is a frame behind its length (4 bytes, big-endian).

    Raises:
        SourceError: the file cannot be read or unpacked.
    """
    try:
        head = file.read(_PREFIX_BYTES + len(_ZSTD))
        file.seek(0)
        if head.startswith(_GZIP):
            with gzip.open(file) as unpacked:
                yield from _of_lines(cast("BinaryIO", unpacked))
        elif head.startswith(_ZSTD) or _SKIPPABLE.match(head):
            yield from _of_lines(unpack_zstd(file, path))
        elif head[_PREFIX_BYTES:] == _ZSTD:
            yield from _of_frames(file, path)
        else:
            yield from _of_lines(cast("BinaryIO", Growing(file)))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{path}: cannot be read: {reason}") from error


def _of_lines(file: BinaryIO) -> Iterator[Document]:
    parts: list[bytes] = []
    size = 0
    while chunk := file.read(CHUNK_BYTES):
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            parts.append(part)
            size += len(part)
            yield from _of_line(b"".join(parts), size, is_ended=True)
            parts, size = [], 0
        size += len(rest)
        if size <= MAX_DOCUMENT_BYTES:
            parts.append(rest)
    if size:
        yield from _of_line(b"".join(parts), size, is_ended=False)


def _of_line(line: bytes, size: int, *, is_ended: bool) -> Iterator[Document]:
    """Yield what is on a line; `size` exceeds its length where it was too long to be kept."""
    if not line.strip():
        return  # the line feed alone: rotation came between it and its line
    if size > MAX_DOCUMENT_BYTES:
        yield _broken(line)
        return
    records = read_plain_request(line)
    if records is not None:
        yield Document(None, b"", records)
        return
    members = _parse(line)
    if members is not None:
        yield Document(members, line[:100])
        return
    starts = [match.start() for match in _BEGINNING.finditer(line)]
    for start, end in itertools.pairwise([*starts, len(line)]):
        members = _parse(line[start:end])
        if members is not None:
            yield Document(members, line[start : start + 100])
        elif is_ended and end == len(line):
            yield _broken(line[start:])
    if not starts and is_ended:
        yield _broken(line)


def _parse(text: bytes) -> object:
    if len(text) > DENSE_BYTES and is_dense(text):
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # also too deep, and not UTF-8
        return None


def _broken(text: bytes) -> Document:
    return Document(None, text[: MAX_RECORD_BYTES + 1])


def _of_frames(file: BinaryIO, path: Path) -> Iterator[Document]:
    end = file.seek(0, os.SEEK_END)
    at = 0
    resyncs = _RESYNCS
    while at + _PREFIX_BYTES < end:
        file.seek(at)
        size = int.from_bytes(file.read(_PREFIX_BYTES), "big")
        frame = file.read(size) if size <= MAX_DOCUMENT_BYTES else b""
        text = _unpack(frame, path) if 0 < size == len(frame) else None
        if text is not None:
            if len(text) > MAX_DOCUMENT_BYTES:
                yield _broken(text)
            else:
                yield from _of_line(text, len(text), is_ended=True)
            at += _PREFIX_BYTES + size
            continue
        # Cut by a crash: nothing follows, or the next frame does
        is_whole = size <= MAX_DOCUMENT_BYTES and at + _PREFIX_BYTES + size <= end
        following = _next_frame(file, at + _PREFIX_BYTES + 1) if resyncs else None
        resyncs -= 1
        if following is None:
            if is_whole or resyncs < 0:
                yield _broken(frame)
            return
        at = following


def _unpack(frame: bytes, path: Path) -> bytes | None:
    try:
        check_frames(io.BytesIO(frame))
    except FrameError:
        return None
    reader = unpack_zstd(io.BytesIO(frame), path)
    parts: list[bytes] = []
    size = 0
    try:
        while size <= MAX_DOCUMENT_BYTES and (part := reader.read(CHUNK_BYTES)):
            parts.append(part)
            size += len(part)
    except OSError:
        return None
    return b"".join(parts)


def _next_frame(file: BinaryIO, start: int) -> int | None:
    """Offset of the length before the next frame that begins after *start*."""
    file.seek(start)
    overlap = b""
    while chunk := file.read(CHUNK_BYTES):
        data = overlap + chunk
        found = data.find(_ZSTD)
        if found >= 0:
            return start - len(overlap) + found - _PREFIX_BYTES
        start += len(chunk)
        overlap = data[-len(_ZSTD) + 1 :]
    return None
