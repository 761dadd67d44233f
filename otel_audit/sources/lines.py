"""Lines out of a file that may be alive, compressed or hostile, in bounded memory.

A spool's last segment is mapped, preallocated and being written while it is read. So what follows the last
line feed is torn or unused and no record; and a line that was seen half written is looked at once more.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from otel_audit.errors import SourceError
from otel_audit.evidence.canonical import MAX_RECORD_BYTES
from otel_audit.sources.files import open_regular
from otel_audit.sources.zstandard_frames import FrameError, check_frames

CHUNK_BYTES = 1 << 17
_SILENT_BYTES = 64 << 20
"""Of one line, without a word to who reads: then an empty list says that it is still going on."""
_LOOKS = 1_000
"""How often a file is looked at again: a writer needs it once a record at most, a file of zeros for ever."""


def read_lines(path: Path) -> Iterator[list[bytes]]:
    """Yield the lines of *path* in lists of about a mebibyte; `.gz` and `.zst` are unpacked.

    A line longer than a record may be is cut to one byte more than that, which no record has. While a very long
    one is read, empty lists come.

    Raises:
        SourceError: the file cannot be read or unpacked.
    """
    try:
        with open_regular(path) as file:
            if path.suffix == ".gz":
                # Buffered: gzip reads a header byte by byte, and there may be a million, or megabytes of one
                with gzip.open(io.BufferedReader(cast("io.RawIOBase", file))) as unpacked:
                    yield from _lines(cast("BinaryIO", unpacked), is_live=False)
            elif path.suffix == ".zst":
                yield from _lines(unpack_zstd(file, path), is_live=False)
            else:
                yield from _lines(cast("BinaryIO", Growing(file)), is_live=True)
    except FileNotFoundError as error:
        if path.is_symlink():
            raise SourceError(f"{path}: a link to what is not there; remove it, or put that back") from error
        raise SourceError(f"{path}: removed while it was read (by retention?); read again") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{path}: cannot be read: {reason}") from error


class Growing:
    """A file that may grow while it is read, but not faster than that and for ever."""

    _SLACK_BYTES = 1 << 30

    def __init__(self, file: io.RawIOBase | BinaryIO) -> None:
        self.seek = file.seek
        self._file = file
        self._left = 2 * os.fstat(file.fileno()).st_size + self._SLACK_BYTES

    def read(self, size: int) -> bytes:
        """Read on.

        Raises:
            OSError: it cannot be read, or has grown by more than itself and a gibibyte.
        """
        data = self._file.read(size) or b""
        self._left -= len(data)
        if self._left < 0:
            raise OSError(errno.EFBIG, "it grows as fast as it is read")
        return data


def unpack_zstd(file: io.RawIOBase | BinaryIO, path: Path) -> BinaryIO:
    """Return what the frames in *file*, which is *path*, unpack to; reading it raises OSError where they are bad.

    Raises:
        SourceError: the library is not installed.
    """
    try:
        import zstandard
    except ImportError as error:
        raise SourceError(f'{path}: reading .zst needs zstandard; pip install "otel-audit[cli]"') from error
    try:
        check_frames(cast("BinaryIO", file))
    except FrameError as error:
        raise SourceError(f"{path}: cannot be unpacked: {error}") from error

    class Reader(io.RawIOBase):
        """Turns zstandard's errors into those of files."""

        def __init__(self) -> None:
            # A frame may ask for a window of any size: 128 MiB is what the zstd tool itself unpacks unasked.
            unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
            self._stream = unpacker.stream_reader(cast("BinaryIO", file), read_across_frames=True)

        def read(self, size: int = -1, /) -> bytes:
            try:
                return self._stream.read(size)
            except zstandard.ZstdError as error:
                raise OSError(0, str(error)) from error

    return cast("BinaryIO", Reader())


def _lines(file: BinaryIO, *, is_live: bool) -> Iterator[list[bytes]]:
    position = 0
    """Offset of the first byte not yet handed over, where `carry` begins."""
    carry = b""
    dropped = 0
    """Bytes of an over-long line that were read and not kept."""
    looks = _LOOKS if is_live else 0
    looked_at = -1
    while chunk := file.read(CHUNK_BYTES):
        data = carry + chunk
        end = data.rfind(b"\n")
        if end < 0:
            carry = data[: MAX_RECORD_BYTES + 1]
            before, dropped = dropped, dropped + len(data) - len(carry)
            if before // _SILENT_BYTES != dropped // _SILENT_BYTES:
                yield []
            continue
        if dropped:
            # Back to the line's kept beginning and what follows its end.
            first = data.index(b"\n", len(carry))
            data, dropped = data[: MAX_RECORD_BYTES + 1] + data[first:], dropped + first - MAX_RECORD_BYTES - 1
            end = data.rfind(b"\n")
        whole, carry = data[:end], data[end + 1 :]
        zero = whole.find(b"\0") if looks else -1
        if zero >= 0:
            line_start = whole.rfind(b"\n", 0, zero) + 1
            if line_start:
                yield whole[: line_start - 1].split(b"\n")
            position += line_start + (dropped if line_start else 0)
            if position != looked_at:
                looks -= 1
                looked_at = position
                file.seek(position)
                carry, dropped = b"", 0
                continue
            # Looked at again, and still with zeros: they are part of it.
            whole = whole[line_start:]
            if line_start:
                dropped = 0
        yield whole.split(b"\n")
        position += len(whole) + 1 + dropped
        dropped = 0
