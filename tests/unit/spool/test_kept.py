"""What a start may clear away in the spool, what it must leave, and what it makes of notes that are there."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from otel_audit.event import Actor, AuditEvent
from otel_audit.pipeline import AuditPipeline
from otel_audit.spool.ends import End, mark_ended, read_end
from otel_audit.spool.layout import place_name
from otel_audit.spool.retention import Retention, retire
from otel_audit.testing import FixedClock
from tests.crashed import crash

from .conftest import Process, records

EVENT = AuditEvent("item.read", "READ", "success", Actor("alice", "user", "session"))


def run_and_end(process: Process) -> str:
    pipeline = process()
    stream = pipeline.record(EVENT).stream
    pipeline.shutdown(1)
    return stream


def retire_in(pipeline: AuditPipeline, spool: Path) -> int:
    return retire(spool / "shop", pipeline.writer, Retention(timedelta(days=30), place_name(spool)))


def retired(spool: Path, stream: str) -> list[list[str]]:
    """The streams of each record that says what was retired."""
    said = [record["context"] for record in records(spool, stream) if record["event"] == "audit.retired"]
    return [context["audit.retired.streams"] for context in said]


def litter(spool: Path, age_s: float) -> Path:
    """What a process that was killed between making a stream's directory and locking it leaves."""
    directory = spool / "shop" / f".new-{'0' * 32}"
    directory.mkdir(parents=True)
    (directory / "owner.lock").touch()
    os.utime(directory, (time.time() - age_s, time.time() - age_s))
    return directory


def test_a_directory_that_nobody_came_to_lock_is_cleared_away(process: Process, spool: Path) -> None:
    directory = litter(spool, age_s=120)

    process().keeper.recover()

    assert not directory.exists()


def test_a_directory_that_somebody_is_about_to_lock_stays(process: Process, spool: Path) -> None:
    directory = litter(spool, age_s=10)

    process().keeper.recover()

    assert directory.exists()


def test_an_ended_stream_is_not_ended_again(process: Process, spool: Path) -> None:
    """Its note is as its writer left it, whatever a later start would write."""
    ended = spool / "shop" / run_and_end(process) / "ended"
    ended.write_bytes(b"not for us to mend\n")

    assert process().keeper.recover() == []
    assert ended.read_bytes() == b"not for us to mend\n"


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"[]",
        b"null",
        b'{"how":"closed"}',
        b'{"how":"lost","reference":"","seq":0,"observed":"","names":[],"retired":[]}',
        b'{"how":"closed","reference":"x:1:y","seq":3,"observed":"","names":[],"retired":[]}',
        b'{"how":"closed","reference":"","seq":-1,"observed":"","names":[],"retired":[]}',
        b'{"how":"closed","reference":"","seq":3,"observed":"yesterday","names":[],"retired":[]}',
        b'{"how":"closed","reference":"","seq":3,"observed":"","names":[],"retired":[],"more":1}',
    ],
)
def test_a_note_of_an_end_that_makes_no_sense_is_none(note: bytes, tmp_path: Path) -> None:
    (tmp_path / "ended").write_bytes(note)

    assert read_end(tmp_path) is None


@pytest.mark.parametrize(
    "end",
    [
        End("empty"),
        End("closed", f"{'a' * 32}:3:{'b' * 64}", 3, "2026-01-01T00:00:00.000000000Z", ("c" * 32,), ("d" * 32,)),
    ],
)
def test_a_note_of_an_end_is_read_as_it_was_written(end: End, tmp_path: Path) -> None:
    mark_ended(tmp_path, end)

    assert read_end(tmp_path) == end


def test_a_removal_that_was_said_before_its_process_was_killed_is_not_said_again(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    old = run_and_end(process)
    hidden = spool / "shop" / f"retiring-{old}"
    (spool / "shop" / old).rename(hidden)
    (hidden / "said").touch()
    pipeline = process()
    present = pipeline.record(EVENT).stream

    assert retire_in(pipeline, spool) == 1

    assert retired(spool, present) == []
    assert not hidden.exists()


def test_a_stream_without_a_record_goes_silently(process: Process, spool: Path, clock: FixedClock) -> None:
    """Nothing names it and nothing was in it: `audit.retired` would speak of a stream that never was."""
    crashed = process()
    crashed.record(EVENT)
    empty = spool / "shop" / crash(crashed)
    (empty / "000000000001.jsonl").write_bytes(b'{"action":"EXEC')
    pipeline = process()
    present = pipeline.record(EVENT).stream
    pipeline.keeper.recover()
    empty.rename(empty.with_name(f"retiring-{empty.name}"))

    assert retire_in(pipeline, spool) == 1

    assert retired(spool, present) == []


def test_a_removal_that_was_interrupted_before_the_note_of_its_end_is_finished(
    process: Process, spool: Path
) -> None:
    hidden = spool / "shop" / f"retiring-{'1' * 32}"
    pipeline = process()
    pipeline.record(EVENT)
    hidden.mkdir()
    (hidden / "owner.lock").touch()

    assert retire_in(pipeline, spool) == 1
    assert not hidden.exists()


def test_what_is_being_removed_belongs_to_one_process(process: Process, spool: Path) -> None:
    """Its lock is let go when the work is done, and with it the descriptor."""
    run_and_end(process)
    pipeline = process()
    pipeline.record(EVENT)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for stream in (run_and_end(process), run_and_end(process)):
        (spool / "shop" / stream).rename(spool / "shop" / f"retiring-{stream}")

    assert retire_in(pipeline, spool) == 2
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_crashed_stream_keeps_what_says_that_those_it_names_were_retired(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    """As the living do: until its end is noted nobody knows whom it names but its records."""
    removed = run_and_end(process)
    clock.advance(10)
    naming = process()
    names = naming.record(EVENT).stream
    clock.advance(timedelta(days=31).total_seconds())
    saying = process()
    says = saying.record(EVENT).stream
    retire_in(saying, spool)
    assert retired(spool, says)[0].count(removed) == 1
    saying.shutdown(1)
    crash(naming)
    clock.advance(timedelta(days=31).total_seconds())
    last = process()
    last.record(EVENT)

    retire_in(last, spool)

    kept = {path.name for path in (spool / "shop").iterdir()}
    assert {names, says} <= kept


def test_the_note_of_an_end_names_whom_its_records_name(process: Process, spool: Path, clock: FixedClock) -> None:
    """Retention reads the notes in place of the records; what a note forgot would be removed too early."""
    old = run_and_end(process)
    clock.advance(timedelta(days=31).total_seconds())
    crashed = process()
    gone = crashed.record(EVENT).stream
    crash(crashed)
    pipeline = process()
    stream = pipeline.record(EVENT).stream
    pipeline.keeper.recover()
    retire_in(pipeline, spool)
    pipeline.shutdown(1)

    end = read_end(spool / "shop" / stream)

    assert end is not None
    assert {old, gone} <= set(end.names)
    assert end.retired == (old,)
