"""The end of a stream, read backwards, is the one that reading it from its beginning gives."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otel_audit.evidence.stream import Declaration, Stream
from otel_audit.spool.layout import segments
from otel_audit.spool.tail import begins_with_hole, has_line, read_tail

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
    "pattern", ["", "e", "s", "es", "ese", "eessee", "e" * 12, "s" + "e" * 12, "sees" + "e" * 9, "se" * 20]
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
    assert tail.is_intact


LINES = lines_of("eesee")
NEXT = edited(LINES[-1], seq=7, prev=head(LINES[-1])[1])


@pytest.mark.parametrize(
    "behind",
    [
        edited(NEXT, stream="cd" * 16),
        edited(LINES[3], stream="cd" * 16),
        edited(NEXT, seq=7.0),
        edited(NEXT, seq=0),
        edited(NEXT, observed="soon"),
        LINES[-1],
        edited(LINES[-1], event="c.d"),
        LINES[0] + LINES[1],
        LINES[0] + LINES[3],
        b"{}\n",
        b"[]\n",
        b"\n",
        b"not JSON\n",
        NEXT[:1] + b" " + NEXT[1:],
        b'{"context":{"note":"' + b"n" * 70_000 + NEXT[NEXT.index(b'"},"event"') :],
    ],
    ids=[
        "stream", "signed stream", "float", "zero", "time", "again", "forked", "begins again", "signed again",
        "empty", "array", "line feed", "text", "spaces", "long",
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_live", [True, False])
def test_what_is_no_further_record_does_not_end_the_stream_and_does_not_hide(
    behind: bytes, is_live: bool, tmp_path: Path
) -> None:
    tail = read_tail(written(tmp_path, b"".join(LINES) + behind + b'{"half'), is_live=is_live)

    assert tail is not None
    assert (tail.seq, tail.hash) == head(LINES[-1])
    assert (tail.signed_seq, tail.signed_hash) == head(LINES[3])
    assert (tail.torn_bytes, tail.has_hole) == (len(b'{"half'), False)
    assert is_live or not tail.is_intact


@pytest.mark.parametrize("changes", [{"seq": 8}, {"prev": "0" * 64}], ids=["gap", "chain"])
@pytest.mark.parametrize("is_live", [True, False])
def test_a_stream_ends_with_its_highest_record_also_where_that_does_not_follow(
    changes: dict[str, Any], is_live: bool, tmp_path: Path
) -> None:
    """Whoever ends it there leaves the gap to be found; ended before the gap, all behind it would count as torn."""
    last = edited(NEXT, **changes)

    tail = read_tail(written(tmp_path, b"".join(LINES) + last), is_live=is_live)

    assert tail is not None
    assert (tail.seq, tail.hash) == head(last)
    assert not tail.is_intact


@pytest.mark.parametrize(("changed", "is_intact"), [(2, True), (4, False), (5, False)])
def test_the_lines_since_the_last_signed_one_but_one_are_held_against_each_other(
    changed: int, is_intact: bool, tmp_path: Path
) -> None:
    """What was altered before them the verifier says; to look for it, every start would read all that is kept."""
    lines = lines_of("eesesee")
    lines[changed] = edited(lines[changed], event="c.d")

    tail = read_tail(written(tmp_path, b"".join(lines)))

    assert tail is not None
    assert (tail.seq, tail.is_intact) == (8, is_intact)


@pytest.mark.parametrize("number", range(len(LINES)))
def test_a_stream_without_one_of_its_lines_ends_where_it_did(number: int, tmp_path: Path) -> None:
    last = LINES[-2 if number == len(LINES) - 1 else -1]

    tail = read_tail(written(tmp_path, b"".join(LINES[:number] + LINES[number + 1 :])))

    assert tail is not None
    assert (tail.seq, tail.hash) == head(last)
    assert tail.is_intact == (number == len(LINES) - 1), "without its last line it is what a crash leaves"


def test_a_line_that_follows_is_no_less_part_of_the_stream_for_what_stands_behind_it(tmp_path: Path) -> None:
    tail = read_tail(written(tmp_path, b"".join(LINES) + NEXT + b"{}\n"))

    assert tail is not None
    assert (tail.seq, tail.hash) == head(NEXT)


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"\0" + LINES[0],
        edited(LINES[0], stream="cd" * 16),
        edited(LINES[0], seq=0),
        edited(LINES[0], seq=-1),
        b"{}\n",
        LINES[0][:-1],
    ],
)
def test_where_no_line_is_a_record_of_the_stream_there_is_no_end(lines: bytes, tmp_path: Path) -> None:
    assert read_tail(written(tmp_path, lines)) is None


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize("torn_bytes", [0, 1, 65_534, 65_535, 65_536])
def test_the_largest_record_is_one_whatever_is_being_written_behind_it(
    torn_bytes: int, is_live: bool, tmp_path: Path
) -> None:
    short = len(lines_of("e")[1]) - 1
    lines = lines_of("e", 65_536 - short)
    assert len(lines[1]) == 65_536 + 1

    tail = read_tail(written(tmp_path, b"".join(lines) + b"{" * torn_bytes), is_live=is_live)

    assert tail is not None
    assert (tail.seq, tail.hash) == head(lines[1])
    assert (tail.torn_bytes, tail.is_intact) == (torn_bytes, True)


def test_a_stream_of_unsigned_records_alone_has_no_head_to_name(tmp_path: Path) -> None:
    tail = read_tail(written(tmp_path, b"".join(LINES[1:3])))

    assert tail is not None
    assert (tail.seq, tail.signed_seq, tail.reference(ID)) == (3, 0, "")


def test_a_file_of_any_size_without_signatures_is_read_in_pieces(tmp_path: Path) -> None:
    path = written(tmp_path, b"")
    with (path / "000000000001.jsonl").open("wb") as file:
        file.write(LINES[0])
        for _ in range(3200):
            file.write(b"n" * 65_535 + b"\n")
    tracemalloc.start()

    tail = read_tail(path)

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tail is not None
    assert (tail.seq, tail.signed_seq) == (1, 1)
    assert peak_bytes < 300 << 20


@pytest.mark.parametrize("hole_at", [1 << 20, (1 << 20) - 4096, (1 << 20) + 4096])
def test_a_hole_is_found_wherever_its_page_lies(hole_at: int, tmp_path: Path) -> None:
    """A mebibyte is read at once; the pages that a power cut leaves empty may begin with the next one."""
    lines = lines_of("e" * 32 + "s" + "e" * 4 + "ss", 60_000)
    data = b"".join(lines)
    holed = data[:hole_at] + bytes(4096) + data[hole_at + 4096 :]

    tail = read_tail(written(tmp_path, holed))

    assert tail is not None
    assert tail.end_offset == data.rfind(b"\n", 0, hole_at) + 1
    assert tail.has_hole


@pytest.mark.parametrize("beyond", [-1, 0, 1, 2])
@pytest.mark.parametrize("is_live", [True, False])
def test_a_line_that_ends_about_where_a_reading_does_is_whole(beyond: int, is_live: bool, tmp_path: Path) -> None:
    size = (1 << 20) + beyond
    short = len(b"".join(lines_of("s" + "e" * 17, 60_000)))
    lines = lines_of("s" + "e" * 17, 60_000 + (size - short) // 17)
    last = orjson.loads(lines[-1])
    last["context"]["note"] += "n" * (size - len(b"".join(lines)))
    lines[-1] = orjson.dumps(last, option=orjson.OPT_SORT_KEYS) + b"\n"
    assert len(b"".join(lines)) == size

    tail = read_tail(written(tmp_path, b"".join(lines) + bytes(5000)), is_live=is_live)

    assert tail is not None
    assert (tail.seq, tail.hash) == head(lines[-1])
    assert (tail.end_offset, tail.torn_bytes, tail.is_intact) == (size, 0, True)


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (b"", False),
        (LINES[0], False),
        (LINES[0][:-1], False),
        (LINES[0] + bytes(4096) + LINES[1], False),
        (bytes(4096), False),
        (bytes(4096) + LINES[0][:-1], False),
        (bytes(4096) + LINES[0], True),
        (b"\0" + LINES[0], True),
        (LINES[0][:-1] + b"\0\n", True),
        (bytes(3 << 20) + b"\n", True),
    ],
)
def test_a_segment_begins_with_a_hole_where_lines_stand_behind_it_alone(
    data: bytes, begins: bool, tmp_path: Path
) -> None:
    path = segments(written(tmp_path, data))[0]

    assert begins_with_hole(path) == begins
    assert has_line(path) == data.startswith(LINES[0])
