"""What streams, copies and witnesses say of each other: references, recoveries, retirements."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otel_audit.verify import Reference
from tests.archives import Archive, Issuer, Stream, canonical
from tests.unit.verify import findings


def crashed(archive: Archive, adopted: int = 2) -> Stream:
    """A stream with two sealed events and some after the seal."""
    stream = archive.stream()
    stream.events(2)
    stream.seal()
    stream.events(adopted)
    return stream


def test_a_tail_that_a_later_stream_names_is_truncated(shop: Archive) -> None:
    stream = shop.streams[0]
    stream.truncate(6)

    assert findings.of(shop.verify(), stream)[-1] == ("truncated", 9)


def test_a_rewritten_end_that_a_later_stream_names_is_altered(shop: Archive) -> None:
    stream = shop.streams[0]
    stream.replace(9, sign=True, context={"audit.seal.skipped": 7})

    assert findings.of(shop.verify(), stream) == [("altered", 9)]


def test_a_live_peer_is_named_in_its_middle(archive: Archive) -> None:
    """The reference is learnt before or after the named stream is read, as clocks will have it."""
    older, newer = archive.stream(), archive.stream()
    for stream, other in ((older, newer), (newer, older)):
        stream.linked([other.reference()])
        other.events(3)
        other.seal()
    assert archive.verify().status == "verified"

    for stream in (older, newer):
        named = stream.reference(1)
        other = newer if stream is older else older
        other.linked([named[:-64] + "0" * 64])

        assert ("altered", 1) in findings.of(archive.verify(), stream)


def test_a_deleted_stream_that_others_name_is_missing(shop: Archive) -> None:
    gone = shop.streams.pop(1)

    verdict = shop.verify()

    assert verdict.status == "incomplete"
    assert findings.everything(verdict) == [("missing-stream", gone.id, None)]


def test_a_deleted_newest_stream_is_missed_by_a_witness_only(shop: Archive) -> None:
    """The known limit: nothing in the archive names its newest streams, which is what `unpinned` says."""
    gone = shop.streams.pop()
    verdict = shop.verify()
    assert verdict.status == "verified"
    assert [f.stream for f in verdict.findings if f.kind == "unpinned"] == [shop.streams[1].id]

    witnessed = shop.verify(witness=[gone.reference()])

    assert findings.everything(witnessed) == [("missing-stream", gone.id, None)]


def test_a_successor_must_be_there(archive: Archive) -> None:
    first = archive.stream()
    second = archive.stream(predecessors=[first.reference()])
    first.close("rotation", successor=second)
    assert archive.verify().status == "verified"
    archive.streams.pop()

    assert findings.everything(archive.verify()) == [("missing-stream", second.id, None)]


def test_what_a_stream_without_a_good_path_says_is_ignored(shop: Archive) -> None:
    stranger = Issuer("stranger")
    false = shop.stream(
        certificates=lambda stream, service, key: [stranger.issue(stream, service, key)],
        predecessors=[f"{shop.streams[0].id}:99:{'0' * 64}", f"{'ab' * 16}:1:{'0' * 64}"],
    )
    false.recover(shop.streams[2])
    verdict = shop.verify()

    assert findings.everything(verdict) == [("untrusted-key", false.id, 1)]


@pytest.mark.parametrize("sig", [None, "A" * 86])
def test_what_a_badly_signed_record_says_is_ignored(sig: str | None, shop: Archive) -> None:
    stream = shop.streams[2]
    stream.linked([f"{'ab' * 16}:1:{'0' * 64}"])
    stream.replace(10, sig=sig)

    assert findings.everything(shop.verify()) == [("bad-signature", stream.id, 10)]


def test_what_is_pending_names_nothing(shop: Archive) -> None:
    now = shop.clock.moment
    shop.clock.advance(5)
    shop.streams[2].linked([f"{'ab' * 16}:1:{'0' * 64}"])

    assert shop.verify(now=now).status == "verified"
    assert shop.verify().status == "incomplete"


def test_a_pending_recovery_ends_nothing_yet(archive: Archive) -> None:
    stream = crashed(archive)
    archive.clock.advance(200)
    now = archive.clock.moment
    archive.stream().recover(stream)

    assert findings.of(archive.verify(now=now), stream) == [("overdue-seal", 6)]
    assert findings.of(archive.verify(), stream) == [("unwitnessed-end", 4)]


def test_within_the_grace_what_is_named_may_be_on_its_way(shop: Archive) -> None:
    shop.streams[2].linked([f"{shop.streams[1].id}:12:{'0' * 64}", f"{'ab' * 16}:1:{'0' * 64}"])

    assert shop.verify(grace=timedelta(seconds=2)).status == "verified"
    assert shop.verify(grace=timedelta(0)).status == "tampered"


def test_another_services_stream_is_not_to_be_named_or_recovered(shop: Archive) -> None:
    other = shop.stream(service="billing")
    other.linked([shop.streams[0].reference()])
    other.recover(shop.streams[2])
    verdict = shop.verify()

    assert findings.everything(verdict) == [("misplaced", other.id, 2), ("misplaced", other.id, 3)]
    late = shop.verify(now=shop.clock.moment + timedelta(minutes=5))
    assert ("overdue-seal", 9) in findings.of(late, shop.streams[2]), "what it recovers is not ended"


@pytest.mark.parametrize("is_first", [True, False])
def test_a_crash_and_its_recovery_are_verified_and_counted_apart(archive: Archive, is_first: bool) -> None:
    """Whether the recovering stream opened before the crashed one or after, it is read before or after it."""
    keeper = archive.stream() if is_first else None
    stream = crashed(archive, adopted=2)
    keeper = keeper or archive.stream()
    keeper.recover(stream)
    keeper.close()

    verdict = archive.verify()

    assert findings.everything(verdict) == []
    assert (verdict.status, verdict.adopted, verdict.pending) == ("verified", 2, 0)
    assert findings.warnings(verdict, stream) == [("adopted", 5)]


def test_an_unrecovered_crash_is_overdue(archive: Archive) -> None:
    stream = crashed(archive)

    verdict = archive.verify(now=archive.clock.moment + timedelta(minutes=5))

    assert findings.everything(verdict) == [("overdue-seal", stream.id, 6)]


@pytest.mark.parametrize("is_first", [True, False])
def test_unsigned_lines_above_the_recovered_record_are_torn(archive: Archive, is_first: bool) -> None:
    keeper = archive.stream() if is_first else None
    stream = crashed(archive)
    keeper = keeper or archive.stream()
    keeper.recover(stream)
    stream.event(prev="0" * 64)
    stream.event(seq=12)

    verdict = archive.verify()

    assert findings.everything(verdict) == []
    assert (verdict.status, verdict.adopted) == ("verified", 2)
    assert next(s for s in verdict.streams if s.stream == stream.id).last_seq == 6


@pytest.mark.parametrize("is_first", [True, False])
def test_a_signed_record_above_the_recovered_one_is_rolled_back(archive: Archive, is_first: bool) -> None:
    """Yesterday's copy was put back and recovered; another source still holds what followed."""
    keeper = archive.stream() if is_first else None
    stream = crashed(archive)
    keeper = keeper or archive.stream()
    keeper.recover(stream)
    stream.events(1)
    stream.seal()

    assert findings.of(archive.verify(), stream) == [("rolled-back", 8)]


@pytest.mark.parametrize("is_first", [True, False])
def test_unsigned_lines_behind_a_rolled_back_record_are_torn_too(archive: Archive, is_first: bool) -> None:
    keeper = archive.stream() if is_first else None
    stream = crashed(archive)
    keeper = keeper or archive.stream()
    keeper.recover(stream)
    stream.events(1)
    stream.seal()
    stream.event(prev="0" * 64)

    verdict = archive.verify()

    assert findings.of(verdict, stream) == [("rolled-back", 8)]
    assert next(s for s in verdict.streams if s.stream == stream.id).last_seq == 8


def test_a_recovery_vouches_for_the_adopted_records(archive: Archive) -> None:
    stream = crashed(archive)
    keeper = archive.stream()
    keeper.recover(stream)
    stream.replace(6, outcome="failure")
    assert findings.of(archive.verify(), stream) == [("altered", 6)]

    stream.remove(6)
    assert findings.of(archive.verify(), stream) == [("truncated", 6)]


def test_a_late_recovery_needs_a_witness_or_a_second_copy(archive: Archive) -> None:
    stream = crashed(archive, adopted=0)
    archive.clock.advance(122)
    keeper = archive.stream()
    keeper.recover(stream)
    late = [("unwitnessed-end", 4)]

    assert findings.of(archive.verify(), stream) == late
    assert findings.of(archive.verify(witness=[stream.reference()]), stream) == []
    assert findings.of(archive.verify(archive.source(name="copy")), stream) == []
    assert findings.of(archive.verify(archive.source()), stream) == late, "the same source twice is no copy"


def test_an_adopted_record_long_after_the_first_is_unwitnessed(archive: Archive) -> None:
    """The seal interval is 5 s: the last adopted record may be 10 s later than the first."""
    stream = crashed(archive, adopted=1)
    archive.clock.advance(9.999)
    stream.event()
    keeper = archive.stream()
    keeper.recover(stream)
    assert findings.of(archive.verify(), stream) == []

    other = crashed(archive, adopted=1)
    archive.clock.advance(10)
    other.event()
    keeper.recover(other)
    assert findings.of(archive.verify(), other) == [("unwitnessed-end", 4)]


def test_false_recoveries_are_misplaced(archive: Archive) -> None:
    closed, stream = archive.stream(), crashed(archive)
    closed.close()
    keeper, second = archive.stream(), archive.stream()
    keeper.recover(keeper)
    keeper.recover(closed)
    keeper.recover(stream)
    second.recover(stream)
    assert findings.of(archive.verify(), keeper) == [("misplaced", 2), ("misplaced", 3)]
    assert findings.of(archive.verify(), second) == []

    third = archive.stream()
    third.recover(stream, context={"audit.recovered.seq": 5, "audit.recovered.hash": stream.reference(5)[-64:]})
    assert findings.of(archive.verify(), third) == [("misplaced", 2)]
    assert ("misplaced", 4) in findings.of(archive.verify(), keeper)


def test_a_stream_retired_in_this_place_is_not_missing(shop: Archive) -> None:
    gone = shop.streams.pop(0)
    keeper = shop.streams[-1]
    keeper.retire([gone], delivered=True)
    verdict = shop.verify()
    assert verdict.status == "verified"
    assert findings.warnings(verdict, keeper) == [("retired", 10)]

    elsewhere = shop.verify(source=shop.source(place="elsewhere"))
    unnamed = shop.verify(source=shop.source(place=None))
    named = shop.verify(source=shop.source(place=None), place=shop.place)

    assert findings.everything(elsewhere) == [("missing-stream", gone.id, None)]
    assert findings.everything(unnamed) == [("missing-stream", gone.id, None)]
    assert named.status == "verified"


def test_what_was_retired_here_is_still_missing_from_an_archive_that_should_have_it(shop: Archive) -> None:
    gone = shop.streams.pop(0)
    shop.streams[-1].retire([gone], delivered=True)

    verdict = shop.verify(shop.source(name="archive", place="archive"))

    assert findings.everything(verdict) == [("missing-stream", gone.id, None)]


def test_what_another_service_retires_is_still_missing(shop: Archive) -> None:
    gone = shop.streams.pop(0)
    shop.stream(service="billing").retire([gone], delivered=True)

    assert findings.everything(shop.verify()) == [("missing-stream", gone.id, None)]


def test_retention_is_held_against_how_long_was_asked_for(shop: Archive) -> None:
    gone = shop.streams.pop(0)
    keeper = shop.streams[-1]
    shop.clock.advance(60)
    keeper.retire([gone])

    assert findings.everything(shop.verify()) == [("retired", keeper.id, 10)]
    assert shop.verify(keep=timedelta(seconds=50)).status == "verified"
    assert findings.everything(shop.verify(keep=timedelta(hours=1))) == [("retired-early", keeper.id, 10)]


def test_a_retirement_from_the_future_is_misplaced(archive: Archive) -> None:
    stream = archive.stream()
    stream.retire([], delivered=True, context={"audit.retired.ended": "2027-01-01T00:00:00.000000000Z"})

    assert findings.of(archive.verify(), stream) == [("misplaced", 2)]


def test_two_sources_may_hold_different_parts_of_a_stream(shop: Archive) -> None:
    stream = shop.streams[0]
    whole = list(stream.records)
    stream.remove(2, 4)
    end = shop.source(name="end")
    stream.records = whole[:6]
    beginning = shop.source(name="beginning")

    assert shop.verify(source=end).status == "tampered"
    assert shop.verify(source=beginning).status == "tampered"
    assert shop.verify(beginning, source=end).status == "verified"


def test_an_attribute_that_says_something_else_is_a_mismatch_and_a_cut_one_a_warning(archive: Archive) -> None:
    stream = archive.stream()
    stream.event()
    stream.close()
    good: list[dict[str, object]] = [
        {},
        {"audit.action": "READ", "audit_sequence_number": "2", "http.response.status_code": "200", "other": "x"},
        {"audit.sequence.end": "true", "audit.record.id": f"{stream.id}-3"},
    ]
    source = archive.source()
    lane = source.given[0]

    def verify_with(at: int, attributes: dict[str, object]) -> list[tuple[str, int | None]]:
        given = [*good]
        given[at] = attributes
        beside = type(lane)(lane.name, lane.stream, lane.bodies, attributes=given)
        verdict = archive.verify(source=type(source)(given=[beside]))
        return [*findings.of(verdict, stream), *findings.warnings(verdict, stream)]

    assert verify_with(0, {}) == []
    assert verify_with(1, {"audit.action": "DELETE"}) == [("index-mismatch", 2)]
    assert verify_with(1, {"audit.target.id": "/customers"}) == [("index-cut", 2)]
    assert verify_with(2, {"audit.sequence.end": 1}) == [("index-mismatch", 3)]
    assert verify_with(1, {"audit.actor.name": "Alice"}) == [("index-mismatch", 2)]
    assert verify_with(1, {"audit_sequence_end": True}) == [("index-mismatch", 2)]
    assert verify_with(1, {"audit_sequence_end": False, "audit.actor.name": ""}) == []


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ('["<a>&b","c"]', []),
        (r'["\u003ca\u003e\u0026b","c"]', []),
        ('[ "<a>&b",\n "c" ]', []),
        (["<a>&b", "c"], []),
        ('["<a>&b","c"', ["index-cut"]),
        ('["<a>&b"]', ["index-mismatch"]),
        ('["c","<a>&b"]', ["index-mismatch"]),
        ('["<a>&b","c",1]', ["index-mismatch"]),
        ("[" * 100_000, ["index-mismatch"]),
        ('["\ud800"]', ["index-mismatch"]),
    ],
)
def test_an_array_may_be_spelt_as_a_backend_spells_json(archive: Archive, given: object, found: list[str]) -> None:
    """Go's encoding/json escapes what HTML means something by; a Collector stores arrays in that text."""
    stream = archive.stream()
    stream.event(context={"shop.tags": ["<a>&b", "c"]})
    stream.close()
    lane = archive.source().given[0]
    beside = type(lane)(lane.name, lane.stream, lane.bodies, attributes=[None, {"shop.tags": given}, None])

    verdict = archive.verify(source=type(archive.source())(given=[beside]))

    assert [finding.kind for finding in verdict.findings if finding.seq == 2] == found


def test_a_reference_is_read_strictly() -> None:
    text = f"{'ab' * 16}:17:{'cd' * 32}"
    assert str(Reference.parse(text)) == text
    for wrong in (
        "",
        text + " ",
        text.upper(),
        text.replace(":17:", ":017:"),
        text.replace(":17:", ":0:"),
        f"{'ab' * 16}:9007199254740992:{'cd' * 32}",
    ):
        with pytest.raises(ValueError, match="expected <stream>:<seq>:<record hash>"):
            Reference.parse(wrong)


def test_one_service_can_be_asked_about(shop: Archive) -> None:
    other = shop.stream(service="billing")
    other.event()
    other.gap()

    assert shop.verify().status == "incomplete"
    verdict = shop.verify(service="shop")
    assert (verdict.status, {s.service for s in verdict.streams}) == ("verified", {"shop"})

    other.replace(1, context={"service.name": "shop"})
    assert shop.verify(service="billing").status == "tampered", "a claim takes no stream out of sight"


def test_canonical_bodies_of_the_test_writer_are_those_of_the_format() -> None:
    assert canonical({"b": "é\n", "a": [1, True]}) == '{"a":[1,true],"b":"é\\n"}'.encode()


@pytest.mark.parametrize("at", [0, 1])
def test_what_a_strangers_open_beside_a_real_one_says_counts_for_nothing(archive: Archive, at: int) -> None:
    """Its own certificate is of an issuer that nobody trusts, and its own key has signed it."""
    accused = archive.stream()
    accused.event()
    accused.close()
    stream = archive.stream()
    stream.close()
    forged = Stream(archive, stream.id, Ed25519PrivateKey.generate(), service="shop")
    no_such = f"{accused.id}:2:{'0' * 64}"
    absent = f"{'ab' * 16}:1:{'0' * 64}"
    forged.open([Issuer("stranger").issue(stream.id, "shop", forged.key)], [no_such, absent])
    stream.records.insert(at, forged.records[0])

    verdict = archive.verify()

    assert {stream for _, stream, _ in findings.everything(verdict)} == {stream.id}
    assert ("forked", 1) in findings.of(verdict, stream)
