"""Lines of files that are alive, compressed, torn or hostile."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from otel_audit.errors import SourceError
from otel_audit.evidence.canonical import MAX_RECORD_BYTES
from otel_audit.sources.lines import CHUNK_BYTES, read_lines

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".jsonl": lambda data: data,
    ".jsonl.gz": gzip.compress,
    ".jsonl.zst": zstandard.compress,
}


def lines(path: Path) -> list[bytes]:
    return [line for some in read_lines(path) for line in some]


@pytest.fixture(params=list(PACK))
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], Path]:
    def written(data: bytes) -> Path:
        path = tmp_path / f"x{request.param}"
        path.write_bytes(PACK[request.param](data))
        return path

    return written


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\nb", [b"a"]),
        (b"a\n\nb\r\n", [b"a", b"", b"b\r"]),
        (b"torn", []),
        (b"a\n" + bytes(100), [b"a"]),
        (b"a\nhalf" + bytes(3 * CHUNK_BYTES), [b"a"]),
        (b"a\n\0\nb\n", [b"a", b"\0", b"b"]),
        (b"a\n\0\n\0\n\0b\nc\n", [b"a", b"\0", b"\0", b"\0b", b"c"]),
    ],
)
def test_lines_end_in_a_line_feed_and_the_rest_is_torn_or_unused(
    write: Callable[[bytes], Path], data: bytes, expected: list[bytes]
) -> None:
    assert lines(write(data)) == expected


def test_lines_are_whole_across_chunks(write: Callable[[bytes], Path]) -> None:
    expected = [b"%07d" % number * 9000 for number in range(60)]
    assert len(b"".join(expected)) > 3 * CHUNK_BYTES

    assert lines(write(b"".join(line + b"\n" for line in expected))) == expected


@pytest.mark.parametrize("length", [MAX_RECORD_BYTES + 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7])
def test_an_over_long_line_is_cut_and_what_follows_is_read(write: Callable[[bytes], Path], length: int) -> None:
    found = lines(write(b"a\n" + b"x" * length + b"\nb\nc\n"))

    assert [found[0], *found[2:]] == [b"a", b"b", b"c"]
    assert len(found[1]) > MAX_RECORD_BYTES
    assert set(found[1]) == {ord("x")}


def test_a_gigabyte_in_one_line_is_read_in_little_memory(tmp_path: Path) -> None:
    """A hole in the file, then an end of line; and the same packed into a megabyte."""
    import tracemalloc

    sparse = tmp_path / "sparse.jsonl"
    with sparse.open("wb") as file:
        file.seek(1 << 28)
        file.write(b"\nb\n")
    bomb = tmp_path / "bomb.jsonl.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as packed:
        for _ in range(64):
            packed.write(bytes(1 << 20))
        packed.write(b"\nb\n")
    tracemalloc.start()
    found = [lines(sparse), lines(bomb)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [len(some) for some in found] == [2, 2]
    assert [some[1] for some in found] == [b"b", b"b"]
    assert peak < 16 << 20


def test_who_only_wants_to_see_the_first_record_does_not_unpack_a_bomb(tmp_path: Path) -> None:
    """It was unpacked to its end for that, and then again to be read."""
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(bytes(1 << 26), 1) * 3 + b"no gzip, and nobody gets as far")

    assert next(read_lines(path)) == []


def test_a_line_seen_half_written_is_looked_at_again(tmp_path: Path) -> None:
    """A mapped segment: the reader met zeros where the writer had not been yet, and a line feed beyond."""
    path = tmp_path / "live.jsonl"
    padding = b"p" * (CHUNK_BYTES // 64 - 1) + b"\n"
    start = len(padding) * 64 - 4
    path.write_bytes((padding * 64)[: start - 1] + b"\n" + bytes(2 * CHUNK_BYTES))
    reader = read_lines(path)
    before = next(reader)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"record one\nrecord two\n")

    rest = [line for some in reader for line in some]

    assert len(before) == 64
    assert rest == [b"record one", b"record two"]


def test_a_file_of_zeros_and_line_feeds_is_read_in_linear_time(tmp_path: Path) -> None:
    path = tmp_path / "zeros.jsonl"
    path.write_bytes(b"\0\n" * 200_000)

    assert lines(path) == [b"\0"] * 200_000


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
def test_a_packed_file_that_was_cut_or_is_none_is_an_error(tmp_path: Path, suffix: str) -> None:
    packed = PACK[suffix](os.urandom(5000).hex().encode() + b"\n")
    path = tmp_path / f"x{suffix}"
    for data in (packed[:-1], packed[:-9], packed[: len(packed) // 2], b"not packed at all\n"):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=str(path)):
            lines(path)


def test_frames_of_zstandard_one_after_the_other_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.zst"
    skippable = (0x184D2A50).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"xyz"
    with_checksum = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False)
    path.write_bytes(zstandard.compress(b"a\n") + skippable + with_checksum.compress(b"b\n" * 300_000))

    assert lines(path) == [b"a", *[b"b"] * 300_000]


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, tmp_path / "absent.jsonl"):
        with pytest.raises(SourceError, match=str(path)):
            lines(path)
