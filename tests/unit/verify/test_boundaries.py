"""Where a finding begins: what lies on the very boundary, and what an honest archive is never told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from otel_audit.verify.index import compare
from tests.archives import Archive
from tests.unit.verify import findings


def test_an_honest_archive_is_told_of_its_unpinned_end_and_of_nothing_else(shop: Archive) -> None:
    verdict = shop.verify()

    assert [(f.kind, f.stream, f.count) for f in verdict.findings] == [("unpinned", shop.streams[2].id, 1)]


def test_a_late_recovery_is_a_finding_within_the_grace_too(archive: Archive) -> None:
    """Everything is there: no younger record could change it."""
    stream = archive.stream()
    stream.events(2)
    stream.seal()
    archive.clock.advance(122)
    archive.stream().recover(stream)

    verdict = archive.verify(grace=timedelta(minutes=2))

    assert findings.of(verdict, stream) == [("unwitnessed-end", 4)]


def test_a_late_recovery_of_a_stream_that_was_cut_off_since_is_both(archive: Archive) -> None:
    """The first finding is the one of the lowest `seq`."""
    stream = archive.stream()
    stream.events(2)
    stream.seal()
    stream.events(2)
    archive.clock.advance(122)
    archive.stream().recover(stream)
    stream.truncate(4)

    assert findings.of(archive.verify(), stream) == [("unwitnessed-end", 4), ("truncated", 6)]


def test_streams_may_end_at_the_very_moment_at_which_they_are_retired(archive: Archive) -> None:
    stream = archive.stream()
    stream.retire([], delivered=True)
    record = stream.members(2)
    record["context"]["audit.retired.ended"] = record["observed"]
    stream.replace(2, sign=True, context={"audit.retired.ended": record["observed"]})

    verdict = archive.verify()

    assert findings.of(verdict, stream) == []
    assert [(f.kind, f.count) for f in verdict.findings if f.kind == "retired"] == [("retired", 1)]


def test_a_record_that_leaves_out_a_number_and_follows_all_the_same_is_not_the_next(archive: Archive) -> None:
    stream = archive.stream()
    stream.events(8)
    stream.replace(9, seq=10)

    assert findings.of(archive.verify(), stream) == [("missing", 9)]


@pytest.mark.parametrize("seq", [3, 5, 9])
def test_a_witness_may_hold_any_record_in_the_midst_of_events(seq: int, archive: Archive) -> None:
    stream = archive.stream()
    stream.events(8)
    stream.seal()

    assert findings.of(archive.verify(witness=[stream.reference(seq)]), stream) == []
    false = f"{stream.id}:{seq}:{'0' * 64}"
    assert findings.of(archive.verify(witness=[false]), stream) == [("altered", seq)]


def test_attributes_of_their_own_types_are_those_of_the_record(archive: Archive) -> None:
    """Integers, booleans and arrays as OTLP carries them; a backend that keeps types is not told of a mismatch."""
    stream = archive.stream()
    stream.event(context={"listed": [1, 2], "flag": True, "count": 1})
    members = stream.members(2)

    def told(**attributes: object) -> list[str]:
        return [kind for kind, _ in compare(members, attributes)]

    assert told(listed=[1, 2], flag=True, count=1) == []
    assert told(listed="[1,2]", flag="true", count="1") == []
    assert told(listed=[1, 3]) == told(listed=[True, 2]) == told(flag=1) == told(count=True) == ["index-mismatch"]
