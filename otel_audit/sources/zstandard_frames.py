"""Whether a `.zst` file is whole: zstandard's reader gives a frame that was cut as if it ended there.

RFC 8878 §3.1: frames one after the other, each a header and blocks of which the last says so. Only lengths
are read, nothing is unpacked. To be removed when python-zstandard's stream_reader reports a cut frame
(indygreg/python-zstandard: 0.25 returns b"" as at the end).
"""

from __future__ import annotations

from typing import BinaryIO

_MAGIC = 0xFD2FB528
_SKIPPABLE = 0x184D2A50
_RLE = 1
_CHECKSUM_BYTES = 4
_DICTIONARY_ID_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)


class FrameError(ValueError):
    """The file is not whole frames; the message says how."""


def check_frames(file: BinaryIO) -> None:
    """Walk *file* from its beginning and leave it there.

    Raises:
        FrameError: it does not end where its last frame does, or is no zstandard file.
    """
    end = file.seek(0, 2)
    file.seek(0)
    at = 0
    while at < end:
        at = _after_frame(file, at, end)
    if at != end:
        raise FrameError("cut off inside of a frame")
    file.seek(0)


def _read(file: BinaryIO, at: int, size: int) -> int:
    file.seek(at)
    data = file.read(size)
    if len(data) < size:
        raise FrameError("cut off inside of a frame")
    return int.from_bytes(data, "little")


def _after_frame(file: BinaryIO, at: int, end: int) -> int:
    magic = _read(file, at, 4)
    if magic & ~0xF == _SKIPPABLE:
        return at + 8 + _read(file, at + 4, 4)
    if magic != _MAGIC:
        raise FrameError("not a zstandard frame")
    descriptor = _read(file, at + 4, 1)
    is_single_segment = bool(descriptor & 0x20)
    size_code = descriptor >> 6
    content_size_bytes = 1 if is_single_segment and size_code == 0 else _CONTENT_SIZE_BYTES[size_code]
    at += 5 + (0 if is_single_segment else 1) + _DICTIONARY_ID_BYTES[descriptor & 3] + content_size_bytes
    is_last = False
    while not is_last:
        if at > end:
            raise FrameError("cut off inside of a frame")
        header = _read(file, at, 3)
        is_last = bool(header & 1)
        at += 3 + (1 if header >> 1 & 3 == _RLE else header >> 3)
    return at + (_CHECKSUM_BYTES if descriptor & 4 else 0)
