"""OTLP-JSON as the Collector's file exporter leaves it: rotated, packed, cut by crashes, among others', edited."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from otel_audit.errors import SourceError
from otel_audit.sources import Source, open_source
from otel_audit.sources.otlp_documents import MAX_DOCUMENT_BYTES
from otel_audit.verify import Verdict
from tests.archives import Archive
from tests.otlp_json_files import CURRENT, ROTATED, line, log_record, request

Record = dict[str, Any]


@pytest.fixture
def archive() -> Archive:
    """Two streams that end, written alternately; the second names the first."""
    archive = Archive()
    first = archive.stream()
    first.events(5)
    first.seal()
    second = archive.stream(predecessors=[first.reference()])
    second.events(5)
    second.seal()
    first.close()
    second.close()
    return archive


def halves(archive: Archive) -> tuple[list[bytes], list[bytes]]:
    first, second = (stream.records for stream in archive.streams)
    return [*first[:4], *second[:4]], [*first[4:], *second[4:]]


def write(archive: Archive, directory: Path) -> Path:
    """A rotated file and the one being written, the streams interleaved in both."""
    directory.mkdir(exist_ok=True)
    earlier, later = halves(archive)
    (directory / ROTATED.format(1)).write_bytes(line(earlier))
    (directory / CURRENT).write_bytes(line(later))
    return directory


def check(archive: Archive, path: Path, text: str | None = None) -> Verdict:
    return archive.verify(source=open_source(str(path) if text is None else text))


def found(verdict: Verdict) -> list[tuple[str, int | None]]:
    return [(finding.kind, finding.seq) for finding in verdict.findings if finding.severity == "error"]


def bodies_of(source: Source) -> list[bytes]:
    return [body for lane in source.lanes() for batch in lane.batches() for body in batch.bodies]


def edit(file: Path, change: Callable[[list[Record]], None]) -> None:
    """Change the log records of a file of one request, as an intruder would."""
    document = json.loads(file.read_bytes())
    change(document["resourceLogs"][0]["scopeLogs"][0]["logRecords"])
    file.write_bytes(json.dumps(document).encode() + b"\n")


def attribute(record: Record, name: str) -> Record:
    value: Record = next(pair for pair in record["attributes"] if pair["key"] == name)["value"]
    return value


# What an exporter leaves


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


# What an intruder does to it


def test_an_attribute_that_was_edited_is_named(archive: Archive, tmp_path: Path) -> None:
    write(archive, tmp_path)
    edit(tmp_path / CURRENT, lambda records: attribute(records[0], "audit.actor.id").update(stringValue="bob"))

    assert found(check(archive, tmp_path)) == [("index-mismatch", 5)]


@pytest.mark.parametrize(
    "value",
    [
        {"intValue": "201"},
        {"doubleValue": 200.0},
        {"boolValue": True},
        {"bytesValue": "MjAw"},
        {"kvlistValue": {"values": []}},
        {"arrayValue": {"values": [{"intValue": "200"}]}},
        {"stringValue": "two hundred"},
        {"intValue": "9" * 5_000},
        {"intValue": "200", "stringValue": "two hundred"},
        {},
        None,
    ],
)
def test_a_value_of_another_kind_is_a_mismatch(archive: Archive, tmp_path: Path, value: object) -> None:
    write(archive, tmp_path)

    def change(records: list[Record]) -> None:
        next(p for p in records[0]["attributes"] if p["key"] == "http.response.status_code")["value"] = value

    edit(tmp_path / CURRENT, change)

    assert found(check(archive, tmp_path)) == [("index-mismatch", 5)]


def test_values_as_a_backend_spells_them_are_no_mismatch(archive: Archive, tmp_path: Path) -> None:
    write(archive, tmp_path)

    def change(records: list[Record]) -> None:
        for pair in records[0]["attributes"]:
            pair["key"] = pair["key"].replace(".", "_")
            if "intValue" in pair["value"]:
                pair["value"] = {"stringValue": pair["value"]["intValue"]}
        attribute(records[1], "http.response.status_code")["intValue"] = 200  # a number: OTLP-JSON allows both

    edit(tmp_path / CURRENT, change)

    assert check(archive, tmp_path).status == "verified"


def test_bodies_are_enough(archive: Archive, tmp_path: Path) -> None:
    write(archive, tmp_path)

    def forget(records: list[Record]) -> None:
        for record in records:
            del record["attributes"]

    for file in tmp_path.iterdir():
        edit(file, forget)

    verdict = check(archive, tmp_path)

    assert (verdict.status, verdict.records) == ("verified", len(archive.bodies))


def test_an_attribute_that_was_cut_is_a_warning(archive: Archive, tmp_path: Path) -> None:
    write(archive, tmp_path)
    edit(tmp_path / CURRENT, lambda records: attribute(records[0], "audit.target.id").update(stringValue="/cust"))

    verdict = check(archive, tmp_path)

    assert verdict.status == "verified"
    assert ("index-cut", 5) in [(finding.kind, finding.seq) for finding in verdict.findings]


@pytest.mark.parametrize("at", [0, 99])
def test_a_second_attribute_of_the_same_name_is_a_mismatch(archive: Archive, tmp_path: Path, at: int) -> None:
    write(archive, tmp_path)
    second = {"key": "audit.actor.id", "value": {"stringValue": "bob"}}
    edit(tmp_path / CURRENT, lambda records: records[0]["attributes"].insert(at, second))

    assert found(check(archive, tmp_path)) == [("index-mismatch", 5)]


def test_a_body_that_was_edited_is_named(archive: Archive, tmp_path: Path) -> None:
    write(archive, tmp_path)

    def change(records: list[Record]) -> None:
        body = records[0]["body"]
        body["stringValue"] = body["stringValue"].replace("alice", "mallo")
        attribute(records[0], "audit.actor.id").update(stringValue="mallo")

    edit(tmp_path / CURRENT, change)

    assert ("altered", 5) in found(check(archive, tmp_path))


def test_a_body_that_is_no_string_any_more_is_malformed(archive: Archive, tmp_path: Path) -> None:
    write(archive, tmp_path)
    edit(tmp_path / CURRENT, lambda records: records[0].update(body={"kvlistValue": {"values": []}}))

    assert found(check(archive, tmp_path)) == [("malformed", None), ("missing", 5)]


def test_records_that_were_deleted_are_named(archive: Archive, tmp_path: Path) -> None:
    write(archive, tmp_path)
    edit(tmp_path / CURRENT, lambda records: records.__delitem__(slice(0, 2)))

    assert found(check(archive, tmp_path)) == [("missing", 5)]


def test_a_rotated_file_that_was_deleted_is_named(archive: Archive, tmp_path: Path) -> None:
    write(archive, tmp_path)
    (tmp_path / ROTATED.format(1)).unlink()

    assert found(check(archive, tmp_path)) == [("missing", 1), ("missing", 1)]


def test_a_stream_that_was_deleted_is_named_by_the_one_that_follows(archive: Archive, tmp_path: Path) -> None:
    """Not at once: what comes by OTLP may be late, and two minutes' grace is the default."""
    (tmp_path / CURRENT).write_bytes(line(archive.streams[1].records))
    source = open_source(str(tmp_path))

    early = archive.verify(source=source)
    late = archive.verify(source=source, now=archive.clock.moment + timedelta(minutes=3))

    assert early.status == "verified"
    assert late.status == "incomplete"
    assert "missing-stream" in [finding.kind for finding in late.findings]


def test_an_attribute_does_not_vouch_for_a_body_that_is_gone(archive: Archive, tmp_path: Path) -> None:
    write(archive, tmp_path)
    edit(tmp_path / CURRENT, lambda records: records[0].pop("body"))

    assert found(check(archive, tmp_path)) == [("malformed", None), ("missing", 5)]


# What a hostile file does


HOSTILE: dict[str, bytes] = {
    "no JSON": b"hello\n",
    "an end without a beginning": b'"}]}]}]}\n',
    "nested deep": b'{"resourceLogs":' + b"[" * 500_000 + b"\n",
    "nested deep and closed": b'{"resourceLogs":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n",
    "invalid UTF-8": b'{"resourceLogs":[{"x":"\xff"}]}\n',
    "a lone surrogate": b'{"resourceLogs":[{"x":"\\ud800"}]}\n',
    "zero bytes": b"\0" * 100_000 + b"\n",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_line_that_is_no_document_is_malformed(archive: Archive, tmp_path: Path, data: bytes) -> None:
    (tmp_path / CURRENT).write_bytes(line(archive.bodies) + data)

    assert found(check(archive, tmp_path)) == [("malformed", None)]


def test_an_attribute_nested_deep_is_a_mismatch(archive: Archive, tmp_path: Path) -> None:
    """Nothing of it is carried on, least of all into the file that sorts."""
    write(archive, tmp_path)
    mark = {"stringValue": "deep"}
    edit(tmp_path / CURRENT, lambda records: records[0]["attributes"][0].update(value=mark))
    levels = 330  # with those around them as many as orjson reads
    value = b'{"arrayValue":{"values":[' * levels + b"{}" + b"]}}" * levels
    text = (tmp_path / CURRENT).read_bytes()
    (tmp_path / CURRENT).write_bytes(text.replace(json.dumps(mark).encode(), value))

    assert found(check(archive, tmp_path)) == [("index-mismatch", 5)]


def test_a_body_too_long_is_malformed(archive: Archive, tmp_path: Path) -> None:
    long = log_record(archive.bodies[1])
    long["body"]["stringValue"] += " " * 100_000
    data = json.dumps(request([long])).encode() + b"\n"
    (tmp_path / CURRENT).write_bytes(line(archive.bodies) + data)

    source = open_source(str(tmp_path))

    assert max(map(len, bodies_of(source))) == 65_537
    assert found(archive.verify(source=source)) == [("malformed", None)]


def test_a_line_without_end_is_read_in_bounded_memory(archive: Archive, tmp_path: Path) -> None:
    """A packed one three times as long as may be: kept is what may be, handed on little more than a record."""
    long = line(archive.bodies).rstrip() + b" " * (MAX_DOCUMENT_BYTES * 3) + b"\n"
    (tmp_path / f"{CURRENT}.gz").write_bytes(gzip.compress(long, 1))
    source = open_source(str(tmp_path))

    tracemalloc.start()
    read = bodies_of(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert read == [long[:65_537]]
    assert peak < MAX_DOCUMENT_BYTES * 2.5


def test_a_frame_that_unpacks_without_end_is_malformed(tmp_path: Path) -> None:
    bomb = zstandard.ZstdCompressor().compress(b" " * (MAX_DOCUMENT_BYTES + 1))
    (tmp_path / CURRENT).write_bytes(len(bomb).to_bytes(4, "big") + bomb)

    assert [len(body) for body in bodies_of(open_source(str(tmp_path)))] == [65_537]


def test_a_file_of_beginnings_of_frames_comes_to_an_end(tmp_path: Path) -> None:
    (tmp_path / CURRENT).write_bytes(b"\0\0\0\x05\x28\xb5\x2f\xfd" * 200_000)

    assert len(bodies_of(open_source(str(tmp_path)))) == 1


# What cannot be read


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
