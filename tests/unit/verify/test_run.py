"""A run of plain records: which ones are taken in it, and where it stops for `StreamCheck.take`."""

from __future__ import annotations

from typing import Any

import pytest

from otel_audit.verify.run import Run, follow
from tests.archives import Archive, Stream, record_hash

LATER = "2100-01-01T00:00:00.000000000Z"


def _run(stream: Stream, *, latest: str = LATER, before: int = 1_000) -> Run:
    """A run that may begin behind record 2, the policy."""
    second = stream.body(2)
    return Run(stream.id, 2, record_hash(second), stream.members(2)["observed"], latest, before)


@pytest.fixture
def stream(archive: Archive) -> Stream:
    stream = archive.stream()
    stream.policy()
    stream.events(4)
    return stream


def test_a_run_takes_every_plain_record(stream: Stream) -> None:
    run = _run(stream)

    assert follow(run, stream.records, 2) == 6
    assert (run.seq, run.record_hash) == (6, record_hash(stream.body(6)))
    assert (run.first_observed, run.observed) == (stream.members(3)["observed"], stream.members(6)["observed"])
    assert [leaf.hex() for leaf in run.leaves] == [record_hash(body) for body in stream.records[2:]]


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 6},
        {"seq": 4},
        {"prev": "0" * 64},
        {"stream": "0" * 32},
        {"event": "audit.gap"},
        {"sign": True},
        {"observed": "2020-01-01T00:00:00.000000000Z"},
    ],
    ids=[
        "a number left out",
        "a number twice",
        "not the next",
        "of another stream",
        "lifecycle",
        "signed",
        "earlier",
    ],
)
def test_a_run_stops_at_what_is_not_plain(changes: dict[str, Any], stream: Stream) -> None:
    stream.replace(5, **changes)
    run = _run(stream)

    assert follow(run, stream.records, 2) == 4
    assert (run.seq, len(run.leaves)) == (4, 2)


def test_a_run_stops_at_a_record_that_somebody_names(stream: Stream) -> None:
    assert follow(_run(stream, before=5), stream.records, 2) == 4
    assert follow(_run(stream, before=7), stream.records, 2) == 6


def test_a_run_goes_to_its_latest_moment_and_no_further(stream: Stream) -> None:
    latest: str = stream.members(5)["observed"]

    assert follow(_run(stream, latest=latest), stream.records, 2) == 5


def test_records_of_one_moment_are_plain(archive: Archive) -> None:
    stream = archive.stream()
    stream.policy()
    archive.clock.now -= 1_000_000
    stream.event()
    assert stream.members(2)["observed"] == stream.members(3)["observed"]

    assert follow(_run(stream), stream.records, 2) == 3


def test_an_empty_run_says_nothing(stream: Stream) -> None:
    run = _run(stream)

    assert follow(run, [], 0) == 0
    assert (run.seq, run.record_hash, run.first_observed, run.leaves) == (2, record_hash(stream.body(2)), "", [])
