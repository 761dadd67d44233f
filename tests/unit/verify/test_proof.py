"""Proofs of one record, and of one seal continuing another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otel_audit.verify.proof import check_record_proof, check_seal_proof, prove_record, prove_seals
from tests.archives import Archive, Issuer, Stream, canonical
from tests.issuers import of_small_order

TRUST = [Issuer().certificate]


@pytest.fixture
def stream(archive: Archive) -> Stream:
    """Seals at 5 and 9, the close at 12."""
    stream = archive.stream()
    for events in (3, 3):
        stream.events(events)
        stream.seal()
    stream.events(2)
    stream.close()
    return stream


@pytest.mark.parametrize("seq", range(1, 12))
def test_every_record_below_a_seal_is_proved(stream: Stream, seq: int) -> None:
    proof = prove_record(iter(stream.records), seq)

    assert proof.record == stream.body(seq)
    assert check_record_proof(proof, TRUST) is None


def test_a_proof_proves_nothing_else(archive: Archive, stream: Stream) -> None:
    other = archive.stream()
    other.events(3)
    other.seal()
    proof = prove_record(stream.records, 3)
    stream.replace(3, outcome="failure")

    for wrong in (
        replace(proof, record=stream.body(3)),
        replace(proof, record=stream.body(4)),
        replace(proof, record=b"{}"),
        replace(proof, record=other.body(3)),
        replace(proof, path=proof.path[1:]),
        replace(proof, path=(*proof.path, bytes(32))),
        replace(proof, seal=stream.body(9)),
        replace(proof, seal=stream.body(4)),
        replace(proof, seal=other.body(5)),
        replace(proof, open=other.body(1)),
        replace(proof, open=stream.body(2)),
    ):
        assert check_record_proof(wrong, TRUST) is not None


def test_a_proof_holds_only_for_who_trusts_the_issuer_and_a_seal_that_was_signed(stream: Stream) -> None:
    proof = prove_record(stream.records, 3)
    assert check_record_proof(proof, [Issuer("other").certificate]) is not None

    for seq in (1, 5):
        stream.replace(seq, sig="A" * 86)
        forged = replace(proof, open=stream.body(1), seal=stream.body(5))
        assert check_record_proof(forged, TRUST) == f"the signature of record {seq} does not verify"
        stream.replace(seq, sign=True)


@pytest.mark.parametrize(("first", "second"), [(5, 9), (5, 12), (9, 12)])
def test_a_later_seal_continues_an_earlier_one(stream: Stream, first: int, second: int) -> None:
    proof = prove_seals(stream.records, first, second)

    assert check_seal_proof(proof, TRUST) is None
    assert check_seal_proof(replace(proof, path=proof.path[:-1]), TRUST) is not None
    assert check_seal_proof(replace(proof, first=proof.second, second=proof.first), TRUST) is not None


def test_what_cannot_be_proved_is_an_error(stream: Stream) -> None:
    for wrong in (0, 13):
        with pytest.raises(ValueError, match=f"record {wrong}: not among the 12 records given"):
            prove_record(stream.records, wrong)
    with pytest.raises(ValueError, match="record 12: no seal after it among the 12 records given"):
        prove_record(stream.records, 12)
    for bodies in (stream.records[1:], [b"nonsense"], [b"{}"]):
        with pytest.raises(ValueError, match="expected record 1"):
            prove_record(bodies, 3)
    for first, second in ((4, 9), (9, 5), (5, 13)):
        with pytest.raises(ValueError, match=r"expected a seal|not both"):
            prove_seals(stream.records, first, second)


def test_what_is_in_the_place_of_an_open_or_a_seal_and_is_none_proves_nothing(stream: Stream) -> None:
    event = {name: value for name, value in stream.members(3).items() if name != "prev"}
    first = canonical({**event, "seq": 1})
    proof = prove_seals(stream.records, 5, 9)

    assert check_record_proof(replace(prove_record(stream.records, 3), open=first), TRUST) == "the open is none"
    assert check_seal_proof(replace(proof, open=first), TRUST) == "the open is none"
    assert check_seal_proof(replace(proof, first=stream.body(4)), TRUST) == "the seal is none"
    assert check_seal_proof(replace(proof, second=stream.body(8)), TRUST) == "the seal is none"


@pytest.mark.parametrize("none", [b"nonsense", b"{}"])
def test_what_is_no_record_proves_nothing(none: bytes, stream: Stream) -> None:
    proof = prove_record(stream.records, 3)

    assert check_record_proof(replace(proof, record=none), TRUST) == "the record is none"
    assert check_record_proof(replace(proof, seal=none), TRUST) == "the seal is none"
    assert check_record_proof(replace(proof, open=none), TRUST) == "the open is none"


def test_a_second_open_is_not_the_one_that_a_proof_takes_its_key_from(stream: Stream) -> None:
    """Whoever holds the stream's key could sign one, with a certificate for another key."""
    stream.lifecycle("audit.stream.open", stream.members(1)["context"])
    proof = prove_record(stream.records, 3)

    assert check_record_proof(replace(proof, open=stream.body(13)), TRUST) == "the open is none"


def test_a_seal_of_other_records_than_those_before_it_proves_nothing(stream: Stream) -> None:
    """The first seal's context once more, signed, in a record that comes later."""
    proof = prove_record(stream.records, 3)
    stream.lifecycle("audit.seal", stream.members(5)["context"])
    assert check_record_proof(proof, TRUST) is None

    said = check_record_proof(replace(proof, seal=stream.body(13)), TRUST)

    assert said == "the seal's size is not that of the records before it"


def test_a_stream_with_a_wrong_certificate_proves_nothing(archive: Archive) -> None:
    stream = archive.stream(
        certificates=lambda stream, _, key: [archive.issuer.issue(stream, "another service", key)]
    )
    stream.event()
    stream.close()

    said = check_record_proof(prove_record(stream.records, 2), TRUST)

    assert said == "the stream's certificate is wrong: the organization is not, or not only, service.name"


def test_a_key_of_small_order_proves_nothing(archive: Archive) -> None:
    """Anybody can make signatures that verify by it, of whatever he likes."""
    stream = archive.stream(
        certificates=lambda stream, service, key: [of_small_order(archive.issuer, stream, service, key)]
    )
    stream.event()
    stream.close()

    assert check_record_proof(prove_record(stream.records, 2), TRUST) == "the stream's key is of small order"
