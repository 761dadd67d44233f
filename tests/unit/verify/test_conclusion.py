"""How a verdict is put together: its order, its counts, and what it says of each stream."""

from __future__ import annotations

import pytest

from tests.archives import Archive, Issuer, MemorySource
from tests.unit.verify import findings


def test_findings_stand_by_severity_then_stream_then_number(shop: Archive) -> None:
    """Of no stream first; then streams as they opened; last those of which there is no record."""
    first, _, live = shop.streams
    absent = ["0" * 32, "f" * 32]
    first.replace(4, outcome="failure")
    live.gap()
    live.append({**live.members(10), "span_id": "1" * 16}, sign=True)

    verdict = shop.verify(
        MemorySource([b"nonsense"]), witness=[f"{stream}:3:{'0' * 64}" for stream in reversed(absent)]
    )

    assert findings.everything(verdict) == [
        ("malformed", None, None),
        ("altered", first.id, 4),
        ("wrong-root", first.id, 6),
        ("wrong-root", first.id, 9),
        ("forked", live.id, 10),
        ("declared-gap", live.id, 10),
        ("missing-stream", absent[0], None),
        ("missing-stream", absent[1], None),
    ]
    severities = [finding.severity == "warning" for finding in verdict.findings]
    assert severities == sorted(severities)


def test_findings_of_one_kind_at_one_place_are_counted_together(archive: Archive) -> None:
    stream = archive.stream()
    stream.events(3)
    for outcome in ("failure", "unknown"):
        stream.append({**stream.members(4), "outcome": outcome}, sign=False)

    (forked,) = [finding for finding in archive.verify().findings if finding.kind == "forked"]

    assert (forked.stream, forked.seq, forked.count) == (stream.id, 4, 2)


def test_a_verdict_says_of_each_stream_from_when_to_when_it_goes(shop: Archive) -> None:
    first, second, live = shop.streams
    second.replace(4, outcome="failure")
    live.gap()

    verdict = shop.verify()

    assert [(s.first_seq, s.last_seq, s.records, s.sealed) for s in verdict.streams] == [
        (1, 9, 9, 9),
        (1, 9, 9, 9),
        (1, 10, 10, 10),
    ]
    said = [(s.stream, s.opened, s.last_observed, s.closed, s.recovered, s.verdict) for s in verdict.streams]
    assert said == [
        (one.id, one.members(1)["observed"], one.members(one.seq)["observed"], closed, False, judged)
        for one, closed, judged in (
            (first, True, "verified"),
            (second, True, "tampered"),
            (live, False, "incomplete"),
        )
    ]


def test_a_stream_of_an_unknown_issuer_is_of_no_service(shop: Archive) -> None:
    """It may say that it is another's; nobody who is trusted has said so."""
    stranger = shop.stream(
        service="billing",
        certificates=lambda stream, service, key: [Issuer("stranger").issue(stream, service, key)],
    )

    verdict = shop.verify(service="shop")

    assert findings.everything(verdict) == [("untrusted-key", stranger.id, 1)]


def test_what_is_wrong_with_the_certificate_of_a_stream_is_one_finding_of_each_kind(archive: Archive) -> None:
    archive.stream(certificates=lambda stream, service, key: [])

    said = [(f.kind, f.seq, f.count) for f in archive.verify().findings if f.severity == "error"]

    assert said == [("untrusted-key", 1, 1), ("wrong-certificate", 1, 1)]


def test_the_issuers_that_were_relied_on_are_named_and_no_others(shop: Archive) -> None:
    other = Issuer("other")

    both = shop.verify(trust=[other.certificate, shop.issuer.certificate])
    assert [issuer.subject for issuer in both.trust] == ["CN=issuer"]

    assert shop.verify(trust=[other.certificate]).trust == ()


def test_a_stream_whose_beginning_is_gone_goes_from_the_first_record_that_is_there(shop: Archive) -> None:
    shop.streams[0].remove(1, 3)

    (stream, *_) = shop.verify().streams

    assert (stream.stream, stream.first_seq, stream.last_seq, stream.records) == (shop.streams[0].id, 4, 9, 6)


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [(3, 3, "record 3 is absent"), (3, 4, "records 3 to 4 are absent")],
)
def test_what_is_missing_is_counted(first: int, last: int, message: str, shop: Archive) -> None:
    shop.streams[0].remove(first, last)

    (missing,) = [finding for finding in shop.verify().findings if finding.kind == "missing"]

    assert (missing.seq, missing.count, missing.message) == (first, last + 1 - first, message)


def test_streams_of_which_there_is_no_record_stand_by_their_names(archive: Archive) -> None:
    """Whoever misses them: another stream, or a witness."""
    low, high = "0" * 32, "f" * 32
    archive.stream(predecessors=[f"{high}:3:{'0' * 64}"])

    verdict = archive.verify(witness=[f"{low}:3:{'0' * 64}"])

    assert findings.everything(verdict) == [("missing-stream", low, None), ("missing-stream", high, None)]
