"""The end of a stream, read backwards, is the one that reading it from its beginning gives."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otel_audit.evidence.stream import Declaration, Stream
from otel_audit.spool.tail import read_tail

NOW = 1_767_225_600_000_000_000
KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
ID = "ab" * 16


def lines_of(pattern: str, padding: int = 0) -> list[bytes]:
    """A stream's lines: its open, then an event for each `e` and a seal for each `s`."""
    stream = Stream(ID, KEY, Declaration("shop", {"service.name": "shop"}, "rules: []\n"))
    drafts = [stream.draft_open(NOW, [b"certificate"], [])]
    stream.advance(drafts[0])
    for kind in pattern:
        event: dict[str, Any] = {"event": "a.b", "context": {"note": "n" * padding}}
        draft = stream.draft_seal(NOW) if kind == "s" else stream.draft_event(event, NOW)
        assert draft is not None
        stream.advance(draft)
        drafts.append(draft)
    return [draft.body + b"\n" for draft in drafts]


def edited(line: bytes, **members: Any) -> bytes:
    return orjson.dumps({**orjson.loads(line), **members}, option=orjson.OPT_SORT_KEYS) + b"\n"


def head(line: bytes) -> tuple[int, str]:
    return orjson.loads(line)["seq"], hashlib.sha256(line[:-1]).hexdigest()


def written(directory: Path, data: bytes) -> Path:
    stream = directory / ID
    stream.mkdir()
    (stream / "000000000001.jsonl").write_bytes(data)
    return stream


@pytest.mark.parametrize("padding", [0, 60_000])
@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize(
    "pattern", ["", "e", "s", "es", "ese", "eessee", "e" * 12, "s" + "e" * 12, "sees" + "e" * 9]
)
def test_the_last_record_and_the_last_signed_one_are_found(
    pattern: str, is_live: bool, padding: int, tmp_path: Path
) -> None:
    lines = lines_of(pattern, padding)
    signed = lines[("o" + pattern).rfind("s")] if "s" in pattern else lines[0]

    tail = read_tail(written(tmp_path, b"".join(lines)), is_live=is_live)

    assert tail is not None
    assert (tail.seq, tail.hash) == head(lines[-1])
    assert (tail.signed_seq, tail.signed_hash) == head(signed)
    assert (tail.end_offset, tail.torn_bytes) == (len(b"".join(lines)), 0)


LINES = lines_of("eesee")
NEXT = edited(LINES[-1], seq=7, prev=head(LINES[-1])[1])


@pytest.mark.parametrize(
    "behind",
    [
        edited(NEXT, stream="cd" * 16),
        edited(NEXT, seq=8),
        edited(NEXT, seq=7.0),
        edited(NEXT, prev="0" * 64),
        LINES[-1],
        b"{}\n",
        b"[]\n",
        b"\n",
        b"not JSON\n",
        NEXT[:1] + b" " + NEXT[1:],
        b'{"context":{"note":"' + b"n" * 70_000 + NEXT[NEXT.index(b'"},"event"') :],
    ],
    ids=["stream", "gap", "float", "chain", "again", "empty", "array", "line feed", "text", "spaces", "long"],
)
@pytest.mark.parametrize("is_live", [True, False])
def test_what_does_not_follow_the_last_record_is_torn(behind: bytes, is_live: bool, tmp_path: Path) -> None:
    tail = read_tail(written(tmp_path, b"".join(LINES) + behind + b'{"half'), is_live=is_live)

    assert tail is not None
    assert (tail.seq, tail.hash) == head(LINES[-1])
    assert (tail.torn_bytes, tail.has_hole) == (len(behind) + len(b'{"half'), True)


def test_a_line_that_follows_is_no_less_part_of_the_stream_for_what_stands_behind_it(tmp_path: Path) -> None:
    tail = read_tail(written(tmp_path, b"".join(LINES) + NEXT + b"{}\n"))

    assert tail is not None
    assert (tail.seq, tail.hash) == head(NEXT)
    assert tail.torn_bytes == 3


@pytest.mark.parametrize("first", [LINES[1], edited(LINES[0], stream="cd" * 16), b"\0" + LINES[0], b""])
def test_what_does_not_begin_with_its_first_record_is_no_stream(first: bytes, tmp_path: Path) -> None:
    assert read_tail(written(tmp_path, first + b"".join(LINES[2:3]))) is None


def test_a_stream_of_unsigned_records_alone_has_no_head_to_name(tmp_path: Path) -> None:
    members = orjson.loads(LINES[0])
    del members["sig"]

    assert read_tail(written(tmp_path, orjson.dumps(members, option=orjson.OPT_SORT_KEYS) + b"\n")) is None


@pytest.mark.parametrize("hole_at", [1 << 20, (1 << 20) - 4096, (1 << 20) + 4096])
def test_a_hole_is_found_wherever_its_page_lies(hole_at: int, tmp_path: Path) -> None:
    """A mebibyte is read at once; the pages that a power cut leaves empty may begin with the next one."""
    lines = lines_of("e" * 20 + "s" + "e" * 4 + "ss", 60_000)
    data = b"".join(lines)
    holed = data[:hole_at] + bytes(4096) + data[hole_at + 4096 :]

    tail = read_tail(written(tmp_path, holed))

    assert tail is not None
    assert tail.end_offset == data.rfind(b"\n", 0, hole_at) + 1
    assert tail.has_hole
