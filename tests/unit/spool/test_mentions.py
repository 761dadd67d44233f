"""Whom a stream's records speak of: what retention must not overlook, and what is no word of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from otel_audit.evidence.canonical import MAX_RECORD_BYTES
from otel_audit.spool.mentions import Mentions, read_mentions

A, B, C = "a" * 32, "b" * 32, "c" * 32
REFERENCES = [f"{A}:3:{'0' * 64}", f"{B}:7:{'1' * 64}"]


def record(event: str, context: dict[str, Any] | None, *, signed: bool = True) -> bytes:
    members: dict[str, Any] = {"event": event}
    if context is not None:
        members["context"] = context
    if signed:
        members["sig"] = "A" * 86
    return orjson.dumps(members, option=orjson.OPT_SORT_KEYS)


def written(directory: Path, *lines: bytes, name: str = "000000000001.jsonl") -> Path:
    (directory / name).write_bytes(b"".join(line + b"\n" for line in lines))
    return directory


@pytest.mark.parametrize(
    ("event", "context", "expected"),
    [
        ("audit.stream.open", {"audit.predecessors": REFERENCES}, Mentions({A, B})),
        ("audit.stream.linked", {"audit.predecessors": REFERENCES}, Mentions({A, B})),
        ("audit.stream.open", {}, Mentions()),
        ("audit.stream.close", {"audit.reason": "rotation", "audit.successor": A}, Mentions({A})),
        ("audit.stream.close", {"audit.reason": "shutdown"}, Mentions()),
        ("audit.stream.recovered", {"audit.recovered.stream": A}, Mentions({A}, recovered={A})),
        ("audit.retired", {"audit.retired.streams": [A, B]}, Mentions(retired={A, B})),
        ("audit.seal", {"audit.seal.size": 3}, Mentions()),
        ("item.read", {"audit.predecessors": REFERENCES}, Mentions()),
    ],
)
def test_each_lifecycle_record_names_those_that_it_speaks_of(
    event: str, context: dict[str, Any], expected: Mentions, tmp_path: Path
) -> None:
    assert read_mentions(written(tmp_path, record(event, context))) == expected


def test_what_the_records_say_adds_up_over_all_segments(tmp_path: Path) -> None:
    written(
        tmp_path,
        record("audit.stream.open", {"audit.predecessors": REFERENCES[:1]}),
        record("item.read", {}, signed=False),
        record("audit.stream.recovered", {"audit.recovered.stream": B}),
    )
    written(tmp_path, record("audit.retired", {"audit.retired.streams": [C]}), name="000000000004.jsonl")

    assert read_mentions(tmp_path) == Mentions({A, B}, recovered={B}, retired={C})


def test_a_stream_that_was_recovered_is_named_by_that(tmp_path: Path) -> None:
    mentions = Mentions()

    mentions.take("audit.stream.recovered", {"audit.recovered.stream": A})
    mentions.take("audit.stream.recovered", {"audit.recovered.stream": B})

    assert (mentions.names, mentions.recovered) == ({A, B}, {A, B})


@pytest.mark.parametrize(
    "line",
    [
        record("audit.stream.open", {"audit.predecessors": REFERENCES}, signed=False),
        record("audit.stream.open", None),
        b'{"event":"audit.stream.open","context":[],"sig":"A"}',
        b'{"event":"audit.stream.open"',
        b"\x00" * 100,
        b'{"context":{"audit.successor":"' + A.encode() + b'"}, "event":"audit.stream.close","sig":"A"}',
        record("audit.retired", {"audit.retired.streams": [A], "note": "n" * 66_000}),
    ],
    ids=["unsigned", "no context", "array", "half", "hole", "not canonical", "long"],
)
def test_what_is_no_signed_record_says_nothing_and_hides_nothing(line: bytes, tmp_path: Path) -> None:
    last = record("audit.retired", {"audit.retired.streams": [C]})

    assert read_mentions(written(tmp_path, line, last)) == Mentions(retired={C})


def test_a_record_of_the_largest_size_is_read(tmp_path: Path) -> None:
    def padded(size: int) -> bytes:
        return record("audit.retired", {"audit.retired.streams": [A], "note": "n" * size})

    largest = padded(MAX_RECORD_BYTES - len(padded(0)))
    assert len(largest) == MAX_RECORD_BYTES

    assert read_mentions(written(tmp_path, largest)) == Mentions(retired={A})
