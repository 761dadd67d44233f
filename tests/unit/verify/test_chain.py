"""Findings of one stream by itself: record, chain, signatures, roots, order."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.archives import Archive, MemorySource, canonical, rfc3339
from tests.unit.verify import findings


def test_an_honest_archive_is_verified_whole(shop: Archive) -> None:
    verdict = shop.verify()

    assert findings.everything(verdict) == []
    assert (verdict.status, verdict.exit_status, verdict.scope) == ("verified", 0, "whole")
    assert (verdict.records, verdict.pending, verdict.adopted) == (27, 0, 0)
    assert [(s.service, s.first_seq, s.last_seq, s.sealed, s.closed) for s in verdict.streams] == [
        ("shop", 1, 9, 9, True),
        ("shop", 1, 9, 9, True),
        ("shop", 1, 9, 9, False),
    ]
    assert [issuer.subject for issuer in verdict.trust] == ["CN=issuer"]


def test_no_record_at_all_is_empty(archive: Archive) -> None:
    verdict = archive.verify()

    assert (verdict.status, verdict.exit_status) == ("empty", 4)


def test_without_an_issuer_nothing_can_be_shown(shop: Archive) -> None:
    verdict = shop.verify(trust=[])

    assert (verdict.status, verdict.exit_status) == ("incomplete", 3)
    assert findings.of(verdict) == [("no-trust", None)]


def test_a_changed_record_is_altered(shop: Archive) -> None:
    stream = shop.streams[0]
    stream.replace(4, actor={"id": "mallory", "type": "user"})

    verdict = shop.verify()

    assert (verdict.status, verdict.exit_status) == ("tampered", 1)
    assert findings.of(verdict, stream)[0] == ("altered", 4)
    assert ("wrong-root", 6) in findings.of(verdict, stream)
    assert [s.verdict for s in verdict.streams] == ["tampered", "verified", "verified"]


def test_deleted_records_are_missing_from_the_first_of_the_run(shop: Archive) -> None:
    stream = shop.streams[0]
    stream.remove(3, 5)

    verdict = shop.verify()

    assert findings.of(verdict, stream) == [("missing", 3)]
    assert next(f.count for f in verdict.findings if f.kind == "missing") == 3


def test_a_deleted_open_leaves_the_stream_without_a_word(shop: Archive) -> None:
    stream = shop.streams[2]
    stream.remove(1)

    assert findings.of(shop.verify(), stream)[0] == ("missing", 1)


def test_a_deletion_closed_up_by_renumbering_is_altered_and_unsigned(archive: Archive) -> None:
    stream = archive.stream()
    stream.events(3)
    stream.seal()
    stream.remove(3)
    stream.replace(4, seq=3)
    stream.replace(5, seq=4)

    found = findings.of(archive.verify(), stream)

    assert found[0] == ("altered", 2)
    assert ("bad-signature", 4) in found


def test_two_records_of_one_seq_are_a_fork_whichever_comes_first(shop: Archive) -> None:
    stream = shop.streams[0]
    twin = canonical({**stream.members(4), "outcome": "failure"})
    for bodies in ([*shop.bodies, twin], [twin, *shop.bodies]):
        verdict = shop.verify(source=MemorySource(bodies))

        assert findings.of(verdict, stream) == [("forked", 4)]


def test_the_same_line_twice_or_in_another_order_is_harmless(shop: Archive) -> None:
    verdict = shop.verify(source=MemorySource([*shop.bodies[::-1], *shop.bodies[::3]]))

    assert verdict.status == "verified"
    assert verdict.records == 27


@pytest.mark.parametrize("seq", [1, 2, 6, 9])
def test_a_signature_of_another_key_is_bad(shop: Archive, seq: int) -> None:
    stream, other = shop.streams[0], shop.streams[1]
    body = stream.body(seq)
    stream.records[seq - 1] = other.signed(json.loads(body))

    assert ("bad-signature", seq) in findings.of(shop.verify(), stream)


@pytest.mark.parametrize("seq", [1, 2, 6, 9])
def test_a_lifecycle_record_without_signature_is_bad(shop: Archive, seq: int) -> None:
    stream = shop.streams[0]
    stream.replace(seq, sig=None)

    assert ("bad-signature", seq) in findings.of(shop.verify(), stream)


def test_where_every_record_is_signed_one_that_is_not_is_bad(archive: Archive) -> None:
    stream = archive.stream(sign_records=True)
    stream.events(2)
    stream.event(sign=False)
    stream.close()

    assert findings.of(archive.verify(), stream) == [("bad-signature", 4)]


@pytest.mark.parametrize("context", [{"audit.seal.root": "0" * 64}, {"audit.seal.size": 2}])
def test_a_signed_seal_over_another_tree_has_a_wrong_root(archive: Archive, context: dict[str, object]) -> None:
    stream = archive.stream()
    stream.events(3)
    stream.seal(context=context)
    stream.close()

    assert findings.of(archive.verify(), stream) == [("wrong-root", 5)]


def test_a_close_with_another_root_has_a_wrong_root(archive: Archive) -> None:
    stream = archive.stream()
    stream.close(context={"audit.seal.root": "0" * 64})

    assert findings.of(archive.verify(), stream) == [("wrong-root", 2)]


def test_a_second_open_is_misplaced_and_with_another_certificate_a_fork(archive: Archive) -> None:
    first, second = archive.stream(), archive.stream()
    certificate = first.members(1)["context"]["audit.certificate"]
    first.lifecycle("audit.stream.open", {**first.members(1)["context"]})
    certificate = [archive.issuer.issue(second.id, "shop", second.key)]
    second.event()
    second.open([certificate[0], archive.issuer.certificate])
    third = archive.stream()
    third.open([archive.issuer.issue(third.id, "shop", second.key)])
    verdict = archive.verify()

    assert findings.of(verdict, first) == [("misplaced", 2)]
    assert findings.of(verdict, second) == [("misplaced", 3)]
    assert findings.of(verdict, third) == [("forked", 2), ("misplaced", 2)]


def test_a_stream_that_does_not_begin_with_its_open_is_misplaced(archive: Archive) -> None:
    stream = archive.stream(is_opened=False)
    stream.events(2)

    assert findings.of(archive.verify(), stream) == [("misplaced", 1)]


def test_anything_after_the_close_is_misplaced(archive: Archive) -> None:
    stream = archive.stream()
    stream.close()
    stream.event()
    stream.seal()

    assert findings.of(archive.verify(), stream) == [("misplaced", 3), ("misplaced", 4)]


@pytest.mark.parametrize("name", ["audit.seal.interval_ms", "audit.heartbeat.interval_ms"])
def test_an_interval_above_five_minutes_is_misplaced(archive: Archive, name: str) -> None:
    bound = archive.stream(open_overrides={"context": {name: 300_000}})
    above = archive.stream(open_overrides={"context": {name: 300_001}})
    verdict = archive.verify()

    assert findings.of(verdict, bound) == []
    assert findings.of(verdict, above) == [("misplaced", 1)]


@pytest.mark.parametrize(
    ("offset_ns", "found"), [(0, []), (1, [("misplaced", 2)]), (-121_000_000_001, [("misplaced", 2)])]
)
def test_a_promise_is_bound_to_twice_the_longer_interval_and_a_second(
    archive: Archive, offset_ns: int, found: list[tuple[str, int]]
) -> None:
    """The heartbeat is 60 s: the latest promise is 121 s ahead, the earliest now."""
    stream = archive.stream()
    observed = archive.clock.now + 1_000_000
    stream.seal(context={"audit.seal.next_by": rfc3339(observed + 121_000_000_000 + offset_ns)})

    assert findings.of(archive.verify(now=archive.clock.moment), stream)[:1] == found


def test_a_malformed_line_belongs_to_no_stream_and_leaves_its_place_absent(shop: Archive) -> None:
    stream = shop.streams[0]
    stream.records[3] = stream.records[3] + b" "

    verdict = shop.verify()

    assert findings.of(verdict) == [("malformed", None)]
    assert findings.of(verdict, stream) == [("missing", 4)]


@pytest.mark.parametrize("version", ["2", "10", "10000000000", "9" * 5000])
def test_a_later_schema_is_unsupported_not_tampered(shop: Archive, version: str) -> None:
    body = canonical({"schema": f"otel-audit/{version}", "whatever": [1]})

    verdict = shop.verify(MemorySource([body], name="other"))

    assert verdict.status == "incomplete"
    assert findings.everything(verdict) == [("unsupported", None, None)]


def test_what_is_of_a_later_schema_is_said_wherever_it_stands(shop: Archive) -> None:
    """Behind a stream's records, in their file, and nothing else is wrong there."""
    stream = shop.streams[0]
    stream.records.append(stream.records[3].replace(b"otel-audit/1", b"otel-audit/2"))

    verdict = shop.verify()

    assert findings.everything(verdict) == [("unsupported", None, None)]
    assert verdict.status == "incomplete"


def test_unsigned_records_of_a_live_stream_are_pending(shop: Archive) -> None:
    shop.streams[2].events(3)

    verdict = shop.verify()

    assert (verdict.status, verdict.pending) == ("verified", 3)


def test_records_after_now_are_pending(shop: Archive) -> None:
    now = shop.clock.moment
    shop.clock.advance(10)
    shop.streams[2].event()
    shop.streams[2].seal()

    verdict = shop.verify(now=now)

    assert (verdict.status, verdict.pending) == ("verified", 2)


def test_a_live_stream_whose_promise_fell_due_is_overdue_at_its_highest(shop: Archive) -> None:
    stream = shop.streams[2]
    stream.event()
    late = shop.clock.moment + timedelta(seconds=122)

    verdict = shop.verify(now=late)
    with_grace = shop.verify(now=late, grace=timedelta(minutes=2))

    assert verdict.status == "incomplete"
    assert findings.everything(verdict) == [("overdue-seal", stream.id, 10)]
    assert with_grace.status == "verified"


def test_grace_is_two_minutes_for_what_comes_from_afar(shop: Archive) -> None:
    late = shop.clock.moment + timedelta(seconds=180)

    assert shop.verify(now=late).status == "incomplete"
    assert shop.verify(now=late, source=shop.source(local=False)).status == "verified"


def test_a_log_that_says_itself_what_it_lacks_is_incomplete(archive: Archive) -> None:
    stream = archive.stream()
    stream.gap(3)
    stream.dropped = 2
    stream.seal()
    stream.seal()
    stream.close()

    verdict = archive.verify()

    assert verdict.status == "incomplete"
    assert findings.of(verdict, stream) == [("declared-gap", 2), ("declared-drops", 3)]


def test_records_outside_of_the_certificate_are_reported_once_the_close_excepted(archive: Archive) -> None:
    def short(stream: str, service: str, key: object) -> list[object]:
        end = archive.clock.moment.replace(microsecond=0) + timedelta(seconds=30)
        return [archive.issuer.issue(stream, service, key, not_after=end)]

    stream, quiet = archive.stream(certificates=short), archive.stream(certificates=short)  # type: ignore[arg-type]
    archive.clock.advance(60)
    stream.events(2)
    stream.close()
    quiet.close()
    verdict = archive.verify()

    assert findings.of(verdict, stream) == [("clock-outside-certificate", 2)]
    assert findings.of(verdict, quiet) == []


def test_a_late_seal_and_a_clock_that_runs_backwards_are_warnings(archive: Archive) -> None:
    stream = archive.stream()
    archive.clock.advance(200)
    stream.seal()
    archive.clock.advance(-100)
    stream.event()
    stream.close()

    verdict = archive.verify(now=archive.clock.moment + timedelta(hours=1))

    assert verdict.status == "verified"
    assert findings.warnings(verdict, stream) == [("late-seal", 2), ("clock-step", 3)]
