"""OTLP-JSON that somebody has edited where it lies, or made to harm who reads it."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard

from otel_audit.sources import open_source
from otel_audit.sources.otlp_documents import MAX_DOCUMENT_BYTES
from tests.archives import Archive
from tests.otlp_json_files import (
    CURRENT,
    ROTATED,
    Record,
    attribute,
    bodies_of,
    check,
    edit,
    found,
    line,
    log_record,
    request,
    write,
)

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
