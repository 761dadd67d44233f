"""The small files beside a stream are an index, no evidence: what makes no sense is as if it were not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otel_audit.spool.delivered import Cursor, read_cursor, write_cursor
from otel_audit.spool.ends import End, mark_ended, read_end

CURSOR: dict[str, Any] = {
    "segment": "000000000001.jsonl",
    "offset": 10,
    "seq": 3,
    "at": "2026-03-01T08:00:00.000000000Z",
}
END: dict[str, Any] = {
    "how": "closed",
    "reference": f"{'a' * 32}:3:{'b' * 64}",
    "seq": 3,
    "observed": "2026-03-01T08:00:00.000000000Z",
    "names": [],
    "retired": ["c" * 32],
}


def test_what_was_noted_is_read_back(tmp_path: Path) -> None:
    write_cursor(tmp_path, Cursor(**CURSOR))
    mark_ended(tmp_path, End("recovered", END["reference"], 3, END["observed"], ("d" * 32,)))

    assert read_cursor(tmp_path) == Cursor("000000000001.jsonl", 10, 3, "2026-03-01T08:00:00.000000000Z")
    assert read_end(tmp_path) == End("recovered", f"{'a' * 32}:3:{'b' * 64}", 3, END["observed"], ("d" * 32,))


@pytest.mark.parametrize(
    "change",
    [
        {"segment": "../../etc/passwd"},
        {"segment": "\0"},
        {"offset": -1},
        {"offset": 2**63},
        {"offset": 1.5},
        {"seq": "3"},
        {"at": "yesterday"},
    ],
)
def test_a_cursor_that_makes_no_sense_is_the_beginning(tmp_path: Path, change: dict[str, object]) -> None:
    """A NUL in the segment's name stopped delivery for good, a time of another form `otel-audit ship`."""
    (tmp_path / "delivered").write_text(json.dumps(CURSOR | change))

    assert read_cursor(tmp_path) == Cursor()


@pytest.mark.parametrize(
    "change",
    [
        {"how": "somehow"},
        {"seq": "3"},
        {"seq": -1},
        {"reference": "nothing"},
        {"observed": "yesterday"},
        {"names": "all"},
        {"more": 1},
    ],
)
def test_a_note_of_an_end_that_makes_no_sense_is_none(tmp_path: Path, change: dict[str, object]) -> None:
    """A reference that is none would have gone into the next stream's open, which verifiers then refuse."""
    (tmp_path / "ended").write_text(json.dumps(END | change))

    assert read_end(tmp_path) is None


@pytest.mark.parametrize("noise", [b"", b"\0" * 100, b"[]", b"7", b"[" * 5_000, b'{"how":"closed"', b"\xff"])
def test_noise_is_no_note(tmp_path: Path, noise: bytes) -> None:
    (tmp_path / "ended").write_bytes(noise)
    (tmp_path / "delivered").write_bytes(noise)

    assert read_end(tmp_path) is None
    assert read_cursor(tmp_path) == Cursor()
