"""Ending what a crash left open: what is found on disk, what is said of it, and that it is said once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_audit.event import Actor, AuditEvent
from otel_audit.spool.ends import read_end
from otel_audit.spool.layout import segments
from otel_audit.spool.ownership import is_held
from otel_audit.spool.recovery import find_crashed
from otel_audit.spool.tail import read_tail
from otel_audit.testing import FixedClock
from tests.crashed import crash

from .conftest import Process, records

EVENT = AuditEvent("item.read", "READ", "success", Actor("alice", "user", "session"))


def segment(spool: Path, stream: str) -> Path:
    return segments(spool / "shop" / stream)[0]


def recovered(spool: Path, stream: str) -> list[dict[str, object]]:
    return [r["context"] for r in records(spool, stream) if r["event"] == "audit.stream.recovered"]


def test_a_half_written_line_is_torn_and_stays_where_it_is(process: Process, spool: Path) -> None:
    crashed = process()
    for _ in range(3):
        crashed.record(EVENT)
    stream = crash(crashed)
    with segment(spool, stream).open("ab") as file:
        file.write(b'{"action":"REA')
    size = segment(spool, stream).stat().st_size

    later = process()
    later.keeper.recover()

    live = later.writer.live
    assert live is not None
    (said,) = recovered(spool, live.stream.id)
    assert said == {
        "audit.recovered.stream": stream,
        "audit.recovered.seq": 5,
        "audit.recovered.hash": live_hash(spool, stream, 5),
        "audit.recovered.sealed": 2,
        "audit.recovered.torn_bytes": 14,
    }
    assert segment(spool, stream).stat().st_size == size


def live_hash(spool: Path, stream: str, seq: int) -> str:
    import hashlib

    return hashlib.sha256(segment(spool, stream).read_bytes().split(b"\n")[seq - 1]).hexdigest()


def test_zero_bytes_behind_the_last_line_are_no_torn_bytes(process: Process, spool: Path) -> None:
    crashed = process()
    crashed.record(EVENT)
    stream = crash(crashed)
    with segment(spool, stream).open("ab") as file:
        file.write(bytes(10_000))

    tail = read_tail(spool / "shop" / stream)

    assert tail is not None
    assert (tail.seq, tail.torn_bytes, tail.has_hole) == (3, 0, False)


def test_a_hole_that_a_power_cut_left_is_set_aside_whole_and_said(
    process: Process, spool: Path, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The page with record 4 never reached the disk; those with the records and the seal behind it did."""
    crashed = process()
    for _ in range(6):
        crashed.record(EVENT)
    clock.advance(5)
    crashed.keeper.tick()
    stream = crash(crashed)
    path = segment(spool, stream)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = bytes(len(lines[3]))
    path.write_bytes(b"".join(lines))

    later = process()
    later.keeper.recover()

    live = later.writer.live
    assert live is not None
    (said,) = recovered(spool, live.stream.id)
    assert (said["audit.recovered.seq"], said["audit.recovered.sealed"]) == (3, 2)
    assert path.read_bytes() == b"".join(lines[:3])
    assert path.with_suffix(".torn").read_bytes() == b"".join(lines[3:])
    assert said["audit.recovered.torn_bytes"] == len(b"".join(lines[3:]))
    assert f"{path} has a hole, as a power cut leaves it" in caplog.text


def with_hole(spool: Path, stream: str, line: int) -> list[bytes]:
    """Have the page with that line, 0-based, be zeros; the stream's lines before that."""
    path = segment(spool, stream)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:line], bytes(len(lines[line])), *lines[line + 1 :]]))
    return lines


def test_a_hole_in_front_of_many_signed_records_is_found(process: Process, spool: Path) -> None:
    """With `OTEL_AUDIT_SIGN=record`, or after two gaps, signed records say nothing of what was synced."""
    crashed = process(OTEL_AUDIT_SIGN="record")
    for _ in range(6):
        crashed.record(EVENT)
    stream = crash(crashed)
    lines = with_hole(spool, stream, 3)

    later = process()
    later.record(EVENT)
    later.keeper.tick()

    live = later.writer.live
    assert live is not None
    (linked,) = (one for one in records(spool, live.stream.id) if one["event"] == "audit.stream.linked")
    end = read_end(spool / "shop" / stream)
    assert end is not None
    named = linked["context"]["audit.predecessors"]
    assert named == [end.reference] == [f"{stream}:3:{live_hash(spool, stream, 3)}"]
    assert segment(spool, stream).read_bytes() == b"".join(lines[:3])


def test_a_stream_whose_first_record_did_not_reach_the_disk_is_set_aside_whole(
    process: Process, spool: Path
) -> None:
    crashed = process()
    crashed.record(EVENT)
    stream = crash(crashed)
    lines = with_hole(spool, stream, 0)

    (end,) = process().keeper.recover()

    path = segment(spool, stream)
    assert end.how == "empty"
    assert path.read_bytes() == b""
    assert path.with_suffix(".torn").read_bytes() == bytes(len(lines[0])) + b"".join(lines[1:])


def test_a_stream_of_which_not_one_record_was_written_ends_silently(process: Process, spool: Path) -> None:
    crashed = process()
    crashed.record(EVENT)
    stream = crash(crashed)
    segment(spool, stream).write_bytes(b'{"action":"EXEC')

    later = process()
    ends = later.keeper.recover()

    assert [end.how for end in ends] == ["empty"]
    assert later.writer.live is None, "there is nothing to say, so no stream is opened"
    assert later.keeper.recover() == []


def test_a_stream_whose_process_died_between_close_and_release_ended_well(process: Process, spool: Path) -> None:
    closed = process()
    stream = closed.record(EVENT).stream
    closed.shutdown(1)
    (spool / "shop" / stream / "ended").unlink()

    ends = process().keeper.recover()

    assert [end.how for end in ends] == ["closed"]


def test_a_stream_that_lives_is_left_alone(process: Process, spool: Path) -> None:
    alive = process()
    alive.record(EVENT)

    assert process().keeper.recover() == []


def test_a_recoverer_killed_after_its_record_is_not_repeated(process: Process, spool: Path) -> None:
    crashed = process()
    crashed.record(EVENT)
    stream = crash(crashed)
    first = process()
    first.keeper.recover()
    by = crash(first)
    (spool / "shop" / stream / "ended").unlink()

    second = process()
    second.keeper.recover()

    live = second.writer.live
    assert live is not None
    assert [said["audit.recovered.stream"] for said in recovered(spool, live.stream.id)] == [by]
    assert len(recovered(spool, by)) == 1


def test_a_recoverer_killed_before_its_record_is_replaced(process: Process, spool: Path) -> None:
    crashed = process()
    crashed.record(EVENT)
    stream = crash(crashed)
    (spool / "shop" / stream / "recovering").write_bytes(b'{"by":"' + b"0" * 32 + b'"}')

    later = process()
    later.keeper.recover()

    live = later.writer.live
    assert live is not None
    assert len(recovered(spool, live.stream.id)) == 1


@pytest.mark.parametrize("cut", [1, 7, 300, 900])
def test_the_end_is_found_wherever_the_file_was_cut(cut: int, process: Process, spool: Path) -> None:
    crashed = process()
    for _ in range(4):
        crashed.record(EVENT)
    stream = crash(crashed)
    path = segment(spool, stream)
    whole = path.read_bytes()
    os.truncate(path, len(whole) - cut)

    tail = read_tail(spool / "shop" / stream)

    assert tail is not None
    assert tail.end_offset == whole.rfind(b"\n", 0, len(whole) - cut) + 1
    assert tail.seq == whole[: tail.end_offset].count(b"\n")
    assert tail.torn_bytes == len(whole) - cut - tail.end_offset


def test_a_stream_with_thousands_of_records_is_read_from_its_end(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    crashed = process()
    for _ in range(3):
        for _ in range(700):
            crashed.record(EVENT._replace(context={"note": "n" * 300}))
        clock.advance(5)
        crashed.keeper.tick()
    crashed.record(EVENT)
    stream = crash(crashed)

    tail = read_tail(spool / "shop" / stream)

    assert tail is not None
    assert (tail.seq, tail.signed_seq) == (2 + 2100 + 3 + 1, 2 + 2100 + 3)


def test_a_name_that_says_sig_inside_context_is_no_signature(process: Process, spool: Path) -> None:
    crashed = process()
    for _ in range(5):
        crashed.record(EVENT._replace(context={"a": "b", "sig": "x" * 86}))
    stream = crash(crashed)

    tail = read_tail(spool / "shop" / stream)

    assert tail is not None
    assert (tail.seq, tail.signed_seq) == (7, 2)


def test_what_a_crashed_process_had_reserved_and_not_used_is_given_back(process: Process, spool: Path) -> None:
    """A megabyte each: of children that die in a loop it would fill the volume, and be kept as long as they are."""
    crashed = process()
    crashed.record(EVENT)
    stream = crash(crashed)
    path = segment(spool, stream)
    before = path.read_bytes()
    if path.stat().st_blocks * 512 < 1 << 20:
        pytest.skip(f"the filesystem of {spool} reserves no room")

    process().keeper.recover()

    assert path.stat().st_blocks * 512 < 1 << 16
    assert path.read_bytes() == before


def test_only_a_stream_that_nobody_holds_has_crashed(process: Process, spool: Path) -> None:
    closed, alive, crashed = process(), process(), process()
    for pipeline in (closed, alive, crashed):
        pipeline.record(EVENT)
    closed.shutdown(1)
    assert find_crashed(spool / "shop") is None
    stream = spool / "shop" / crash(crashed)

    assert find_crashed(spool / "shop") == stream
    assert not is_held(stream), "to look is not to take"
    process().keeper.recover()

    assert find_crashed(spool / "shop") is None
    assert not is_held(stream)


def test_a_stream_that_another_process_holds_is_left_alone(process: Process, spool: Path) -> None:
    crashed = process()
    crashed.record(EVENT)
    stream = spool / "shop" / crash(crashed)
    holding = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX); print(); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(stream / "owner.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"

        assert find_crashed(spool / "shop") is None
        assert process().keeper.recover() == []

        holder.communicate(b"\n")
    assert find_crashed(spool / "shop") == stream


def test_a_stream_of_another_s_lines_alone_is_said_to_be_altered(
    process: Process, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crashed = process()
    crashed.record(EVENT)
    path = segment(spool, crash(crashed))
    path.write_bytes(b"{}\n")

    later = process()
    (end,) = later.keeper.recover()
    later.keeper.tick()

    assert end.how == "altered"
    assert f"{path} was altered by another than the process that wrote it" in caplog.text


def test_what_was_altered_keeps_the_time_at_which_it_was(process: Process, spool: Path) -> None:
    crashed = process()
    for _ in range(3):
        crashed.record(EVENT)
    path = segment(spool, crash(crashed))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3] + lines[4:]))
    os.utime(path, ns=(10**18, 10**18))

    (end,) = process().keeper.recover()

    assert end.how == "altered"
    assert path.stat().st_mtime_ns == 10**18
