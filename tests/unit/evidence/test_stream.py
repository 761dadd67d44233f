"""One stream's records: chained, signed, sealed over what was written, and nothing after the close."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otel_audit.evidence.canonical import MAX_RECORD_BYTES
from otel_audit.evidence.stream import Declaration, Draft, Stream, StreamClosed
from tests.archives import canonical, tree_root

NOW = 1_767_225_600_000_000_000
KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)


def declared(**more: Any) -> Stream:
    return Stream("ab" * 16, KEY, Declaration("shop", {"service.name": "shop"}, "rules: []\n", **more))


def members(**more: Any) -> dict[str, Any]:
    return {
        "schema": "otel-audit/1",
        "event": "a.b",
        "action": "READ",
        "outcome": "success",
        "actor": {"id": "alice", "type": "user"},
        **more,
    }


def event(stream: Stream, **more: Any) -> Draft:
    draft = stream.draft_event(members(**more), NOW)
    assert draft is not None
    return draft


def parsed(draft: Draft) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(draft.body)
    return result


def is_signed(draft: Draft) -> bool:
    """By the rule as the format has it, with the standard library's JSON. Raises where it is not."""
    record = parsed(draft)
    signature = base64.urlsafe_b64decode(record.pop("sig") + "==")
    KEY.public_key().verify(signature, b"otel-audit/1\n" + canonical(record))
    return True


@pytest.mark.parametrize("sign", ["seal", "record"])
def test_each_record_names_the_hash_of_the_one_before_and_the_seal_their_tree(sign: str) -> None:
    stream = declared(sign=sign)
    drafts: list[Draft] = []

    def write(draft: Draft) -> None:
        stream.advance(draft)
        drafts.append(draft)

    write(stream.draft_open(NOW, [b"der"], []))
    write(stream.draft_policy(NOW))
    for _ in range(200):  # more than is folded into the tree at once
        write(event(stream))
    write(stream.draft_seal(NOW))
    write(event(stream))
    write(stream.draft_close(NOW, "shutdown"))

    records = [parsed(draft) for draft in drafts]
    hashes = [hashlib.sha256(draft.body).digest() for draft in drafts]
    assert [record["seq"] for record in records] == list(range(1, 206))
    assert [record.get("prev") for record in records] == [None, *(one.hex() for one in hashes[:-1])]
    assert records[202]["context"]["audit.seal.root"] == tree_root(hashes[:202]).hex()
    assert records[204]["context"]["audit.seal.root"] == tree_root(hashes[:204]).hex()
    assert all(is_signed(draft) for draft in drafts if draft.is_signed)
    assert sum(draft.is_signed for draft in drafts) == (205 if sign == "record" else 4)
    assert stream.reference == f"{'ab' * 16}:205:{hashes[-1].hex()}"
    assert stream.size_bytes == sum(len(draft.body) + 1 for draft in drafts)


def test_a_draft_that_was_not_written_leaves_no_trace() -> None:
    stream = declared()
    stream.advance(stream.draft_open(NOW, [], []))
    abandoned = event(stream, outcome="failure")
    seal = stream.draft_seal(NOW)

    written = event(stream)
    stream.advance(written)

    assert parsed(abandoned)["seq"] == parsed(seal)["seq"] == parsed(written)["seq"] == 2
    assert parsed(stream.draft_seal(NOW))["prev"] == written.hash.hex()
    assert stream.unsealed == 1


def test_nothing_is_signed_after_the_close() -> None:
    stream = declared()
    stream.advance(stream.draft_open(NOW, [], []))
    stream.advance(stream.draft_close(NOW, "rotation", "cd" * 16), closes=True)

    assert stream.is_closed
    with pytest.raises(StreamClosed):
        stream.draft_seal(NOW)
    with pytest.raises(StreamClosed):
        stream.draft_close(NOW, "shutdown")


def test_a_time_after_it_was_observed_becomes_that() -> None:
    stream = declared()
    stream.advance(stream.draft_open(NOW, [], []))

    later = stream.draft_event(members(), NOW, NOW + 1)
    earlier = stream.draft_event(members(), NOW, NOW - 1)

    assert later is not None
    assert earlier is not None
    assert parsed(later)["time"] == parsed(later)["observed"] == "2026-01-01T00:00:00.000000000Z"
    assert parsed(earlier)["time"] == "2025-12-31T23:59:59.999999999Z"


@pytest.mark.parametrize("sign", ["seal", "record"])
def test_a_record_has_at_most_the_largest_size_its_signature_included(sign: str) -> None:
    stream = declared(sign=sign)
    stream.advance(stream.draft_open(NOW, [], []))

    sizes = {len(event(stream, context={"a": "x" * length}).body) for length in range(64_900, 65_400)}

    assert max(sizes) == MAX_RECORD_BYTES
    assert parsed(event(stream, context={"a": "x" * 70_000}))["context"]["audit.truncated"] == ["a"]


def test_a_seal_says_what_was_dropped_and_skipped_and_promises_the_next() -> None:
    stream = declared(seal_interval_ms=1_000, heartbeat_interval_ms=10_000)
    stream.advance(stream.draft_open(NOW, [], []))
    stream.dropped, stream.skipped = 3, 4

    context = parsed(stream.draft_seal(NOW))["context"]

    assert (context["audit.seal.dropped"], context["audit.seal.skipped"]) == (3, 4)
    assert context["audit.seal.next_by"] == "2026-01-01T00:00:15.000000000Z"  # 1.5 x the longer interval


def test_no_more_predecessors_than_the_format_allows_stand_in_an_open() -> None:
    references = [f"{at:032x}:1:{'ab' * 32}" for at in range(201)]

    draft = declared().draft_open(NOW, [b"der"], references)

    assert parsed(draft)["context"]["audit.predecessors"] == references[:200]


@pytest.mark.parametrize("count", [1, 63, 64, 65, 130])
def test_a_stream_knows_how_large_it_is_and_that_its_tree_lacks_nothing(count: int) -> None:
    """One line feed a record; whoever rotates asks for the size, whoever was interrupted for the tree."""
    stream = declared()
    drafts: list[Draft] = []
    for _ in range(count):
        drafts.append(event(stream))
        stream.advance(drafts[-1])
        assert stream.is_whole

    seal = parsed(stream.draft_seal(NOW))["context"]

    assert stream.is_whole
    assert stream.size_bytes == sum(len(draft.body) + 1 for draft in drafts)
    assert (stream.unsealed, stream.is_closed) == (count, False)
    assert (seal["audit.seal.size"], seal["audit.seal.dropped"], seal["audit.seal.skipped"]) == (count, 0, 0)
