"""OTLP-JSON as the Collector's file exporter leaves it: rotated, packed, cut by crashes, among others'."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from otel_audit.errors import SourceError
from otel_audit.sources import open_source
from tests.archives import Archive
from tests.otlp_json_files import (
    CURRENT,
    ROTATED,
    Record,
    bodies_of,
    check,
    found,
    halves,
    line,
    request,
    write,
)


@pytest.mark.parametrize("name", ["", CURRENT, "otlp-json:"])
def test_a_rotated_log_verifies_by_directory_file_and_prefix(archive: Archive, tmp_path: Path, name: str) -> None:
    where = write(archive, tmp_path)
    text = f"{name}{where}" if name.endswith(":") else str(where / name)

    verdict = check(archive, where, text)

    assert not open_source(text).local, "it may be late"
    assert (verdict.status, verdict.records) == ("verified", len(archive.bodies))


def test_the_name_may_be_any_behind_the_prefix(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "out.log").write_bytes(line(archive.bodies))

    assert check(archive, tmp_path, f"otlp-json:{tmp_path / 'out.log'}").status == "verified"


def test_files_are_read_in_the_order_of_rotation(tmp_path: Path) -> None:
    archive = Archive()
    stream = archive.stream()
    stream.events(12)
    names = [
        ROTATED.format(1).replace("-size", ""),  # lumberjack's form
        *(ROTATED.format(2).replace("-size", f"-size{again}") for again in ("", "_2", "_10")),
        ROTATED.format(3),
        CURRENT,
    ]
    for at, name in enumerate(names):
        (tmp_path / name).write_bytes(line(stream.records[2 * at : 2 * at + 2]))

    assert bodies_of(open_source(str(tmp_path))) == stream.records[:12]


def packed_by_gzip(data: bytes) -> bytes:
    return gzip.compress(data)


def packed_by_zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def frames(data: bytes) -> bytes:
    """The file exporter's `compression: zstd`: exportMessageAsBuffer, a frame behind its length, no line feed."""
    messages = [zstandard.ZstdCompressor().compress(text) for text in data.splitlines()]
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


@pytest.mark.parametrize(
    ("pack", "suffix"), [(packed_by_gzip, ".gz"), (packed_by_zstd, ".zst"), (frames, ""), (packed_by_gzip, "")]
)
def test_packed_files_are_unpacked_whatever_they_are_called(
    archive: Archive, tmp_path: Path, pack: Callable[[bytes], bytes], suffix: str
) -> None:
    earlier, later = halves(archive)
    rotated = tmp_path / (ROTATED.format(1) + suffix)
    rotated.write_bytes(pack(line(earlier[:3]) + line(earlier[3:])))
    (tmp_path / CURRENT).write_bytes(line(later))

    assert check(archive, tmp_path).status == "verified"


def test_a_frame_that_a_crash_cut_is_passed_over_and_the_next_is_found(archive: Archive, tmp_path: Path) -> None:
    earlier, later = halves(archive)
    whole = frames(line(earlier))
    (tmp_path / CURRENT).write_bytes(whole[: len(whole) // 2] + whole + frames(line(later))[:-9])

    source = open_source(str(tmp_path))

    assert bodies_of(source) == earlier


def test_a_frame_that_was_damaged_is_malformed(archive: Archive, tmp_path: Path) -> None:
    whole = frames(line(archive.bodies))
    (tmp_path / CURRENT).write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])

    assert ("malformed", None) in found(check(archive, tmp_path))


def cuts(data: bytes) -> Iterator[int]:
    """Every way to kill a writer, at a stride: in the first bytes, in the middle, before the line feed."""
    yield from (1, 8, 17, 18, len(data) // 3, len(data) - 2, len(data) - 1)


def test_a_process_killed_while_writing_leaves_no_finding(archive: Archive, tmp_path: Path) -> None:
    """The request was not acknowledged and comes again; the exporter goes on right behind its beginning."""
    earlier, later = halves(archive)
    for cut in cuts(line(earlier)):
        (tmp_path / CURRENT).write_bytes(line(earlier)[:cut] + line(earlier) + line(later))

        verdict = check(archive, tmp_path)

        assert verdict.status == "verified", (cut, verdict.findings)


def test_a_last_line_that_is_being_written_is_not_yet_there(archive: Archive, tmp_path: Path) -> None:
    earlier, later = halves(archive)
    for cut in cuts(line(later)):
        (tmp_path / CURRENT).write_bytes(line(earlier) + line(later)[:cut])

        read = bodies_of(open_source(str(tmp_path)))

        assert read == (earlier + later if cut == len(line(later)) - 1 else earlier)


def test_a_line_feed_that_rotation_put_into_the_next_file_is_no_record(archive: Archive, tmp_path: Path) -> None:
    earlier, later = halves(archive)
    (tmp_path / ROTATED.format(1)).write_bytes(line(earlier).rstrip(b"\n"))
    (tmp_path / CURRENT).write_bytes(b"\n" + line(later))

    assert check(archive, tmp_path).status == "verified"


def test_rotation_while_reading_hides_nothing(archive: Archive, tmp_path: Path) -> None:
    """The current file is renamed after it was opened, and a younger one takes its name."""
    write(archive, tmp_path)
    (lane,) = open_source(str(tmp_path)).lanes()
    batches = lane.batches()
    read = list(next(batches).bodies)

    (tmp_path / CURRENT).rename(tmp_path / ROTATED.format(2))
    (tmp_path / CURRENT).write_bytes(line(archive.streams[0].records))
    read += [body for batch in batches for body in batch.bodies]

    assert read == [*halves(archive)[0], *halves(archive)[1]]


def test_a_file_that_is_just_being_rotated_is_read_once_and_nothing_younger(
    archive: Archive, tmp_path: Path
) -> None:
    """What the list shows when rotation came between opening the current file and listing the others."""
    write(archive, tmp_path)
    (tmp_path / ROTATED.format(2)).hardlink_to(tmp_path / CURRENT)
    (tmp_path / ROTATED.format(3)).write_bytes(line(archive.streams[0].records))

    assert bodies_of(open_source(str(tmp_path))) == [*halves(archive)[0], *halves(archive)[1]]


def test_a_request_delivered_twice_is_harmless(archive: Archive, tmp_path: Path) -> None:
    earlier, later = halves(archive)
    (tmp_path / CURRENT).write_bytes(line(earlier) + line(earlier) + line(later) + line(earlier))

    verdict = check(archive, tmp_path)

    assert (verdict.status, verdict.records) == ("verified", len(archive.bodies))


def test_other_telemetry_in_the_file_is_not_ours(archive: Archive, tmp_path: Path) -> None:
    others: list[Record] = [
        {
            "body": {"stringValue": "GET / 200"},
            "attributes": [{"key": "event.name", "value": {"stringValue": "x"}}],
        },
        {"body": {"kvlistValue": {"values": []}}},
        {"body": {"stringValue": "{}"}, "attributes": [{"key": "audit.schema.version", "value": {"intValue": 1}}]},
        {},
    ]
    odd = '{"resourceSpans":[{}]}\n{"resourceLogs":null}\n{}\n{"resourceLogs":[{"scopeLogs":7}]}\n'
    noise = json.dumps(request(others)).encode() + b"\n" + odd.encode()
    (tmp_path / CURRENT).write_bytes(noise + line(archive.bodies) + noise)

    assert check(archive, tmp_path).status == "verified"


def test_a_spool_and_otlp_json_in_one_directory_are_both_read(archive: Archive, tmp_path: Path) -> None:
    first, second = archive.streams
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / CURRENT).write_bytes(line(second.records))
    second.records = []
    archive.write(tmp_path)

    source = open_source(str(tmp_path))

    assert not source.local
    assert found(archive.verify(source=source)) == []
    assert archive.verify(source=source).records > len(first.records)


def test_what_is_not_there_or_cannot_be_unpacked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        open_source(str(tmp_path / CURRENT))
    os.mkfifo(tmp_path / CURRENT)
    with pytest.raises(SourceError, match="not a regular file"):
        bodies_of(open_source(str(tmp_path)))
    (tmp_path / CURRENT).unlink()
    (tmp_path / f"{CURRENT}.gz").write_bytes(gzip.compress(b"x" * 10_000)[:-9])
    with pytest.raises(SourceError, match="cannot be read"):
        bodies_of(open_source(str(tmp_path)))
