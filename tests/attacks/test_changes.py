"""Attacks on what a record says: members, bytes, numbers, places in the chain."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.world import STRANGER, World, kinds, stream
from tests.vectors.stream import SECOND, T0, encode, merkle_root, stamp

CHANGES: dict[str, Any] = {
    "time": stamp(T0 - 1),
    "observed": stamp(T0 + SECOND),
    "event": "db.query",
    "actor": {"id": "mallory", "type": "user", "auth": "mtls"},
    "action": "DELETE",
    "target": {"id": "/notes/99", "type": "http.endpoint"},
    "outcome": "failure",
    "source": {"id": "198.51.100.1", "type": "ipv4"},
    "trace_id": "5bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "10f067aa0ba902b7",
    "context": {"http.request.method": "POST"},
}


@pytest.mark.parametrize("member", CHANGES)
def test_a_changed_member_is_altered(world: World, member: str) -> None:
    world.edit("first", 4, **{member: CHANGES[member]})

    assert world.finding("first") == ("altered", 4)


@pytest.mark.parametrize("member", ["target", "source", "trace_id", "span_id", "context"])
def test_a_removed_member_is_altered(world: World, member: str) -> None:
    world.edit("first", 4, **{member: ...})

    assert world.finding("first") == ("altered", 4)


def test_a_changed_prev_shows_at_the_record_that_is_no_longer_followed(world: World) -> None:
    world.edit("first", 4, prev="00" * 32)

    assert world.finding("first") == ("altered", 3)


def test_a_changed_schema_is_never_passed_over(world: World) -> None:
    """An attacker would turn a record into one "of a later version" to have it skipped."""
    world.edit("first", 4, schema="otel-audit/2")

    verdict = world.verdict()

    assert "unsupported" in kinds(verdict)
    assert verdict.status != "verified"


def test_a_record_moved_into_the_future_is_not_excused_as_pending(world: World) -> None:
    """Records observed after now are pending; only those that were written so."""
    world.edit("first", 4, observed="2099-01-01T00:00:00.000000000Z")

    assert world.verdict().status == "tampered"


def test_a_tail_moved_into_the_future_is_not_excused_as_pending(world: World) -> None:
    for seq in range(8, 12):
        world.edit("first", seq, observed="2099-01-01T00:00:00.000000000Z")

    assert world.verdict().status == "tampered"


def test_a_stream_moved_into_the_future_is_not_excused_as_pending(world: World) -> None:
    for seq in range(1, 12):
        world.edit("third", seq, observed="2099-01-01T00:00:00.000000000Z")

    assert world.verdict().status != "verified"


def test_a_newest_stream_moved_into_the_future_shows_against_a_witness(world: World) -> None:
    for seq in range(1, 12):
        world.edit("newest", seq, observed="2099-01-01T00:00:00.000000000Z")

    assert world.verdict(witness=[world.head]).status != "verified"


@pytest.mark.parametrize("part", range(8))
def test_no_byte_of_a_record_can_be_changed(world: World, part: int) -> None:
    """Every eighth byte of a seal in each of eight rounds, under three masks."""
    honest = world.lines["first"][6]
    for at in range(part, len(honest), 8):
        changed = bytearray(honest)
        changed[at] ^= (0x01, 0x20, 0x80)[at % 3]
        world.lines["first"][6] = bytes(changed)

        assert world.verdict().status == "tampered", (at, bytes(changed))


def test_swapped_numbers_are_altered(world: World) -> None:
    world.lines["first"][3:5] = [world.lines["first"][4], world.lines["first"][3]]
    world.edit("first", 4, seq=4)
    world.edit("first", 5, seq=5)

    assert world.finding("first") == ("altered", 3)


def test_an_inserted_record_with_a_used_number_is_a_fork(world: World) -> None:
    forged = world.record("first", 4) | {"actor": {"id": "mallory", "type": "user"}}
    world.lines["first"].append(encode(forged))

    assert world.finding("first") == ("forked", 4)


def test_an_inserted_record_that_renumbers_the_rest_is_seen_at_the_seal(world: World) -> None:
    """The attacker makes chain and root anew; only the signature is beyond him."""
    seal = world.record("newest", 7)
    forged = stream("newest")
    forged.lines, forged.hashes = world.lines["newest"][:6], world.streams["newest"].hashes[:6]
    forged.event(actor={"id": "mallory", "type": "user"})
    seal["context"] |= {"audit.seal.root": merkle_root(forged.hashes).hex(), "audit.seal.size": 7}
    forged.put(seal | {"seq": 8, "prev": forged.hashes[-1].hex()}, signed=True)
    world.lines["newest"] = forged.lines

    assert world.finding("newest") == ("bad-signature", 8)


def test_a_repeated_line_is_harmless(world: World) -> None:
    world.lines["first"] += world.lines["first"][2:9]

    assert world.verdict().status == "verified"


def test_reordered_lines_are_harmless(world: World) -> None:
    world.lines["first"].reverse()

    assert world.verdict().status == "verified"


def test_lines_in_another_streams_file_are_harmless(world: World) -> None:
    """A record belongs to the stream that it names, wherever it lies."""
    world.lines["third"] += world.lines["first"][3:6]
    world.drop("first", 4, 5, 6)

    assert world.verdict().status == "verified"


def test_a_repetition_with_a_change_is_a_fork(world: World) -> None:
    line = world.lines["third"][3]
    world.lines["third"].append(line.replace(b'"success"', b'"failure"', 1))

    assert world.finding("third") == ("forked", 4)


def test_a_record_replayed_into_another_stream_is_a_fork(world: World) -> None:
    prev = world.record("third", 4)["prev"]
    moved = world.record("first", 4) | {"stream": world.id("third"), "prev": prev}
    world.lines["third"].append(encode(moved))

    assert world.finding("third") == ("forked", 4)


def test_a_record_replayed_in_place_of_another_streams_is_altered(world: World) -> None:
    moved = world.record("first", 6) | {"stream": world.id("third")}
    world.lines["third"][5] = encode(moved)

    assert world.finding("third") == ("altered", 5)


def test_a_whole_stream_under_another_name_has_no_signature(world: World) -> None:
    """Replay yesterday's first hour as today's."""
    for seq in range(1, 12):
        world.edit("newest", seq, stream=world.id("newest")[::-1])

    assert world.verdict().status == "tampered"


def test_a_stream_written_anew_by_a_stranger_is_a_fork_or_untrusted(world: World) -> None:
    again = stream("first", trust=STRANGER).begin().events(4).seal().close()
    world.lines["first"] = list(again.lines)
    assert world.finding("first") == ("untrusted-key", 1)

    world.lines["first"] += world.honest["first"]
    assert world.finding("first") == ("forked", 1)
