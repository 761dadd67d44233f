"""Which other streams a new one names, which are looked at for a crash, and what the notes beside them say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otel_audit.event import Actor, AuditEvent
from otel_audit.spool.ends import End, Head, ended_heads, heads_to_name, mark_ended, mark_named, read_end
from otel_audit.spool.recovery import find_crashed
from tests.crashed import crash

from .conftest import Process, records

EVENT = AuditEvent("item.read", "READ", "success", Actor("alice", "user", "session"))
OTHER = "ab" * 16


def crashed(process: Process, spool: Path) -> Path:
    pipeline = process()
    pipeline.record(EVENT)
    return spool / "shop" / crash(pipeline)


def ended(process: Process, spool: Path) -> Path:
    pipeline = process()
    stream = pipeline.record(EVENT).stream
    pipeline.shutdown(1)
    return spool / "shop" / stream


def without_a_record(spool: Path) -> Path:
    """One whose process was killed before its open; it was ended then."""
    directory = spool / "shop" / OTHER
    directory.mkdir(parents=True)
    mark_ended(directory, End("empty"))
    return directory


@pytest.mark.parametrize(
    "end",
    [
        End("empty"),
        End("closed", f"{OTHER}:3:{'cd' * 32}", 3, "2026-01-01T00:00:00.000000000Z", (OTHER,)),
        End("recovered", "", 2, "2026-01-01T00:00:00.000000000Z", (), (OTHER, "cd" * 16)),
    ],
    ids=["empty", "closed", "recovered"],
)
def test_an_end_is_read_as_it_was_noted(end: End, tmp_path: Path) -> None:
    mark_ended(tmp_path, end)

    assert read_end(tmp_path) == end


def test_a_new_stream_names_those_that_ended_or_go_on_elsewhere_and_nobody_has_named(
    process: Process, spool: Path
) -> None:
    own = process()
    own.record(EVENT)
    closed, cut, named = ended(process, spool), crashed(process, spool), ended(process, spool)
    mark_named(named)
    without_a_record(spool)

    at_once, later = ended_heads(spool / "shop"), list(heads_to_name(spool / "shop"))

    (head,) = at_once
    assert (head.directory, head.has_ended) == (closed, True)
    assert head.reference.startswith(f"{closed.name}:{records(spool, closed.name)[-1]['seq']}:")
    assert {found.directory: found.has_ended for found in later} == {closed: True, cut: False}
    assert [found.reference for found in later if found.has_ended] == [head.reference]
    assert isinstance(later[0], Head)


@pytest.mark.parametrize("kind", ["ended", "held", "crashed", "none"])
def test_a_stream_has_crashed_when_nobody_holds_it_and_its_end_is_not_noted(
    kind: str, process: Process, spool: Path
) -> None:
    found = None
    if kind == "ended":
        ended(process, spool)
    elif kind == "held":
        process().record(EVENT)
    elif kind == "crashed":
        found = crashed(process, spool)

    assert find_crashed(spool / "shop") == found
    assert find_crashed(spool / "shop") == found, "looking takes nothing away"


def test_notes_are_for_their_owner_only_whatever_the_umask(process: Process, spool: Path) -> None:
    previous = os.umask(0)
    try:
        directory = ended(process, spool)
        mark_named(directory)
    finally:
        os.umask(previous)

    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert {modes[name] for name in ("ended", "named")} == {0o600}
