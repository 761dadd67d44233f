"""Where a finding begins: what lies on the very boundary, and what an honest archive is never told."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pytest

from otel_audit.evidence.rfc3339 import from_datetime, unix_nanos
from otel_audit.verify.index import compare
from otel_audit.verify.run import Run
from otel_audit.verify.standing import Marks, Terms
from otel_audit.verify.stream import StreamCheck
from tests.archives import START, Archive, record_hash
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


def test_of_two_records_behind_a_gap_neither_says_what_the_absent_one_was(archive: Archive) -> None:
    stream = archive.stream()
    stream.events(6)
    other = stream.event(seq=6, prev="0" * 64)
    stream.records.remove(other)
    stream.records.insert(6, other)
    stream.remove(5)

    assert findings.of(archive.verify(), stream)[:2] == [("missing", 5), ("forked", 6)]


def test_records_of_one_moment_are_no_step_of_the_clock(archive: Archive) -> None:
    stream = archive.stream()
    stream.event()
    archive.clock.now -= 1_000_000
    stream.seal()
    assert stream.members(2)["observed"] == stream.members(3)["observed"]

    assert findings.warnings(archive.verify(), stream) == []


@pytest.mark.parametrize(("late_ns", "warnings"), [(0, []), (1, [("late-seal", 3)])])
def test_a_seal_at_the_very_moment_that_was_promised_is_in_time(
    late_ns: int, warnings: list[tuple[str, int]], archive: Archive
) -> None:
    stream = archive.stream()
    stream.event()
    promised = unix_nanos(stream.members(1)["context"]["audit.seal.next_by"])
    archive.clock.now = promised + late_ns - 1_000_000  # each record takes a millisecond
    stream.seal()

    assert findings.warnings(archive.verify(), stream) == warnings


@pytest.mark.parametrize("is_first", [True, False])
def test_lines_above_a_seal_that_a_recovery_names_as_the_last_are_torn(archive: Archive, is_first: bool) -> None:
    """Nothing was adopted: the last record found and the last signed one are the same."""
    keeper = archive.stream() if is_first else None
    stream = archive.stream()
    stream.events(2)
    stream.seal()
    keeper = keeper or archive.stream()
    keeper.recover(stream)
    stream.events(2)

    verdict = archive.verify()

    assert (verdict.status, verdict.adopted, verdict.pending) == ("verified", 0, 0)
    assert next(s for s in verdict.streams if s.stream == stream.id).last_seq == 4


def test_events_of_a_stream_without_its_open_are_read_one_by_one(archive: Archive) -> None:
    stream = archive.stream()
    stream.events(5)
    stream.remove(1)

    assert findings.of(archive.verify(), stream) == [("missing", 1)]


@pytest.mark.parametrize("later", ["audit.seal", "audit.stream.open"])
def test_an_open_that_nobody_signed_takes_its_stream_out_of_no_service(later: str, archive: Archive) -> None:
    """Whoever can write to the store may say there what he likes; a later signature is none over it."""
    stream = archive.stream()
    stream.events(2)
    if later == "audit.seal":
        stream.seal()
    else:
        stream.lifecycle(later, stream.members(1)["context"])
    stream.replace(1, sig=None)

    verdict = archive.verify(service="billing")

    assert verdict.status == "tampered"
    assert ("bad-signature", 1) in findings.of(verdict, stream)


@pytest.mark.parametrize(("late_ns", "found"), [(0, []), (1, [("clock-outside-certificate", 2)])])
def test_the_last_moment_of_a_certificate_is_within_it(
    late_ns: int, found: list[tuple[str, int]], archive: Archive
) -> None:
    end = START + timedelta(minutes=1)
    stream = archive.stream(
        certificates=lambda stream, service, key: [archive.issuer.issue(stream, service, key, not_after=end)]
    )
    archive.clock.now = unix_nanos(from_datetime(end)) + late_ns - 1_000_000  # each record takes a millisecond
    stream.event(sign=True)
    archive.clock.advance(-1)
    stream.close()

    assert findings.of(archive.verify(), stream) == found


@pytest.mark.parametrize(("early_ns", "found"), [(0, []), (1, [("wrong-certificate", 1)])])
def test_the_first_moment_of_a_certificate_is_within_it(
    early_ns: int, found: list[tuple[str, int]], archive: Archive
) -> None:
    archive.clock.now -= 1_000_000 + early_ns
    stream = archive.stream(
        certificates=lambda stream, service, key: [archive.issuer.issue(stream, service, key, not_before=START)]
    )
    stream.close()

    assert findings.of(archive.verify(), stream)[:1] == found


def test_without_a_key_nothing_is_sealed(archive: Archive) -> None:
    """Whatever stands there as a signature: nobody can say that it is one."""
    stream = archive.stream(certificates=lambda stream, service, key: [])
    stream.event()
    stream.seal()

    verdict = archive.verify(now=archive.clock.moment + timedelta(hours=1))

    assert findings.of(verdict, stream) == [("untrusted-key", 1), ("wrong-certificate", 1)]
    assert (verdict.streams[0].sealed, verdict.pending) == (0, 3)


def test_a_seal_over_thousands_of_signed_records_has_the_root_of_all(archive: Archive) -> None:
    """The tree takes them in by the thousand."""
    stream = archive.stream(sign_records=True)
    stream.events(2_100)
    stream.seal()

    assert archive.verify().status == "verified"


def test_a_run_of_plain_records_begins_behind_any_record_but_a_forked_one(archive: Archive) -> None:
    """Else every record is read the long way, at twice the cost; of two nobody knows which one is followed."""
    stream = archive.stream()
    check = StreamCheck(stream.id, Terms((), "2100-01-01T00:00:00.000000000Z"), Marks())
    assert check.plain_run() is None

    def take(body: bytes) -> Run | None:
        check.take(json.loads(body), hashlib.sha256(body).digest(), 0)
        return check.plain_run()

    run = take(stream.body(1))
    assert run is not None
    assert (run.seq, run.record_hash) == (1, record_hash(stream.body(1)))
    assert take(stream.event()) is not None
    assert take(stream.event(seq=2, prev=record_hash(stream.body(1)))) is None


def test_of_two_records_one_that_follows_another_says_that_the_one_before_was_altered(archive: Archive) -> None:
    stream = archive.stream()
    stream.events(2)
    stream.event(seq=3, prev="0" * 64)

    assert findings.of(archive.verify(), stream) == [("altered", 2), ("forked", 3)]


@pytest.mark.parametrize(("early_ns", "status"), [(0, "incomplete"), (1_000, "verified")])
def test_what_is_observed_now_is_not_pending(early_ns: int, status: str, archive: Archive) -> None:
    """Its references are followed: here to a stream that is gone."""
    stream = archive.stream()
    stream.linked([f"{'ab' * 16}:1:{'0' * 64}"])
    assert stream.members(2)["observed"] == from_datetime(archive.clock.moment)

    verdict = archive.verify(now=archive.clock.moment - timedelta(microseconds=early_ns / 1_000))

    assert (verdict.status, verdict.pending) == (status, int(bool(early_ns)))


def test_grace_is_two_minutes_where_any_source_is_afar(archive: Archive) -> None:
    """What both of them hold may be on its way to one."""
    archive.stream().seal()
    late = archive.clock.moment + timedelta(seconds=181)
    near, far = archive.source(name="near"), archive.source(name="far", local=False)

    assert archive.verify(archive.source(name="nearer"), source=near, now=late).status == "incomplete"
    assert archive.verify(far, source=near, now=late).status == "verified"
    assert archive.verify(near, source=far, now=late).status == "verified"
