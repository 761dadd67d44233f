"""Findings while a stream is read: each is said once, and what is torn says nothing."""

from __future__ import annotations

import pytest

from tests.archives import Archive, Stream, record_hash
from tests.unit.verify import findings


def _gaps(archive: Archive, stream: Stream) -> list[tuple[int | None, int]]:
    return [
        (f.seq, f.count) for f in archive.verify().findings if f.kind == "declared-gap" and f.stream == stream.id
    ]


def test_what_was_found_before_two_seals_is_said_once(archive: Archive) -> None:
    stream = archive.stream()
    stream.gap()
    stream.seal()
    stream.seal()
    stream.close()

    assert _gaps(archive, stream) == [(2, 1)]


@pytest.mark.parametrize("beyond", [0, 1, 3])
def test_fifty_findings_of_a_kind_stand_apart_and_others_count_with_the_last(beyond: int, archive: Archive) -> None:
    """A hostile stream has as many as it likes; memory does not grow with them."""
    stream = archive.stream()
    for _ in range(50 + beyond):
        stream.gap()
    stream.close()

    assert _gaps(archive, stream) == [*((seq, 1) for seq in range(2, 51)), (51, 1 + beyond)]


def test_a_record_that_does_not_follow_the_open_is_torn_above_a_recovery_and_says_nothing(archive: Archive) -> None:
    """A stream that crashed with its open alone."""
    stream = archive.stream()
    keeper = archive.stream()
    keeper.recover(stream)
    stream.event(prev="0" * 64)

    verdict = archive.verify()

    assert (verdict.status, verdict.adopted) == ("verified", 0)


def test_the_last_record_that_a_recovery_adopts_is_judged_and_what_is_torn_is_not(archive: Archive) -> None:
    """Both are findings of one kind."""
    stream = archive.stream()
    stream.events(2)
    stream.seal()
    stream.event()
    stream.event(prev="0" * 64)
    keeper = archive.stream()
    keeper.recover(stream)
    stream.event(prev="0" * 64)

    assert findings.everything(archive.verify()) == [("altered", stream.id, 5)]


@pytest.mark.parametrize("at", [1, 2, 3])
def test_who_names_any_of_the_records_at_a_forked_place_is_not_contradicted(at: int, archive: Archive) -> None:
    """The fork is said, and that is all: somebody has seen the one that is named."""
    stream = archive.stream()
    stream.event()
    stream.seal()
    for outcome in (b'"failure"', b'"unknown"'):
        stream.records.insert(2, stream.body(2).replace(b'"success"', outcome))
    named = f"{stream.id}:2:{record_hash(stream.records[at])}"

    assert findings.of(archive.verify(witness=[named]), stream) == [("forked", 2)]
    false = f"{stream.id}:2:{'0' * 64}"
    assert findings.of(archive.verify(witness=[false]), stream) == [("forked", 2), ("altered", 2)]
