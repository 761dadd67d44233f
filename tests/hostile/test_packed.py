"""Packed files that are no longer, or never were, what a packer writes: each ends in a verdict or is unreadable."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from otel_audit.errors import SourceError
from otel_audit.sources import open_source
from otel_audit.verify import Verdict
from tests.archives import Archive
from tests.otlp_json_files import line

MANY = 30_000
EMPTY_GZIP = gzip.compress(b"")
EMPTY_ZSTD = zstandard.compress(b"")
SKIPPABLE = struct.pack("<II", 0x184D2A50, 0)


def with_window(log: int) -> Callable[[bytes], bytes]:
    """A packer whose frame asks for a window of 2^log bytes."""

    def pack(data: bytes) -> bytes:
        parameters = zstandard.ZstdCompressionParameters(window_log=log, compression_level=1)
        packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        return packer.compress(data) + packer.flush()

    return pack


def with_dictionary(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(data)).compress(data)


def with_widest_window(data: bytes) -> bytes:
    """RFC 8878 §3.1.1.1.2: the window descriptor is the byte behind that of the frame."""
    packed = bytearray(with_window(20)(data))
    packed[5] = 0xFF
    return bytes(packed)


def with_a_name(data: bytes) -> bytes:
    """RFC 1952 §2.3.1: a name of a mebibyte, which nothing bounds."""
    packed = gzip.compress(data)
    return packed[:3] + b"\x08" + packed[4:10] + b"n" * (1 << 20) + b"\0" + packed[10:]


WHOLE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a member for each byte": (".gz", lambda data: b"".join(gzip.compress(bytes([one])) for one in data)),
    "many empty members": (".gz", lambda data: EMPTY_GZIP * MANY + gzip.compress(data) + EMPTY_GZIP * MANY),
    "padded with zeros": (".gz", lambda data: gzip.compress(data) + bytes(100_000)),
    "a name without end": (".gz", with_a_name),
    "many empty frames": (".zst", lambda data: EMPTY_ZSTD * MANY + zstandard.compress(data) + EMPTY_ZSTD * MANY),
    "many skippable frames": (".zst", lambda data: SKIPPABLE * MANY + zstandard.compress(data) + SKIPPABLE * MANY),
    "the largest window allowed": (".zst", with_window(27)),
}
UNREADABLE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "garbage behind a member": (".gz", lambda data: gzip.compress(data) + b"garbage"),
    "records behind a member": (".gz", lambda data: gzip.compress(data) + data),
    "a wrong checksum": (".gz", lambda data: gzip.compress(data)[:-8] + bytes(8)),
    "a header and no more": (".gz", lambda data: gzip.compress(data)[:5]),
    "garbage behind a frame": (".zst", lambda data: zstandard.compress(data) + b"garbage"),
    "zeros behind a frame": (".zst", lambda data: zstandard.compress(data) + bytes(100)),
    "a window of 2 GiB": (".zst", with_window(31)),
    "the widest window": (".zst", with_widest_window),
    "a dictionary that is not here": (".zst", with_dictionary),
}
TWICE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip in gzip": (".gz", lambda data: gzip.compress(gzip.compress(data) + b"\n")),
    "gzip in zstd": (".zst", lambda data: zstandard.compress(gzip.compress(data) + b"\n")),
    "zstd in gzip": (".gz", lambda data: gzip.compress(zstandard.compress(data) + b"\n")),
}


@pytest.fixture
def archive() -> Archive:
    archive = Archive()
    stream = archive.stream()
    stream.events(2)
    stream.close()
    return archive


@pytest.fixture(params=["jsonl", "otlp.json"])
def judge(request: pytest.FixtureRequest, archive: Archive, tmp_path: Path) -> Callable[..., Verdict]:
    """Packs the archive as bodies or as OTLP-JSON, and verifies it."""

    def judged(suffix: str, pack: Callable[[bytes], bytes]) -> Verdict:
        bodies = archive.bodies
        data = b"".join(body + b"\n" for body in bodies) if request.param == "jsonl" else line(bodies)
        path = tmp_path / f"x.{request.param}{suffix}"
        path.write_bytes(pack(data))
        return archive.verify(source=open_source(str(path)))

    return judged


@pytest.mark.parametrize(("suffix", "pack"), WHOLE.values(), ids=WHOLE)
def test_what_unpacks_is_read(judge: Callable[..., Verdict], suffix: str, pack: Callable[[bytes], bytes]) -> None:
    verdict = judge(suffix, pack)

    assert (verdict.status, verdict.records) == ("verified", 4)


@pytest.mark.parametrize(("suffix", "pack"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_does_not_unpack_is_unreadable(
    judge: Callable[..., Verdict], suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    """Half of a file would be a verdict on half of it."""
    with pytest.raises(SourceError, match=r"cannot be (read|unpacked)"):
        judge(suffix, pack)


@pytest.mark.parametrize(("suffix", "pack"), TWICE.values(), ids=TWICE)
def test_what_was_packed_twice_is_malformed(
    judge: Callable[..., Verdict], suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    assert {one.kind for one in judge(suffix, pack).findings} == {"malformed"}
