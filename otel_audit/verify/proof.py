"""Proofs: one record without the others, and one seal as the continuation of another.

"Proofs" in the evidence format. A record is proved by itself, its path to a seal's root, that seal, and the
stream's open; whoever checks that needs a trusted issuer and nothing else of the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography import x509

from otel_audit.evidence.canonical import decode, encode
from otel_audit.evidence.merkle import (
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from otel_audit.evidence.record import CLOSE, OPEN, SEAL, problem
from otel_audit.evidence.signatures import is_sound_key, verify
from otel_audit.verify.certificates import anchors, check_path


@dataclass(frozen=True, slots=True)
class RecordProof:
    """That a record stood in its stream when a seal was made."""

    record: bytes
    path: tuple[bytes, ...]
    """RFC 6962 audit path to the seal's root, nearest sibling first, 32 bytes each."""
    seal: bytes
    """The seal or close, as a record."""
    open: bytes
    """Record 1, whose certificate the seal's signature is checked by."""


@dataclass(frozen=True, slots=True)
class SealProof:
    """That what the first seal covers is the beginning of what the second one does."""

    first: bytes
    second: bytes
    path: tuple[bytes, ...]
    """RFC 6962 consistency proof between the two roots."""
    open: bytes


def prove_record(bodies: Iterable[bytes], seq: int) -> RecordProof:
    """Prove record *seq* by the first seal after it; *bodies* is the stream in order from record 1.

    Raises:
        ValueError: there is no such record, or no seal after it, or *bodies* is not a stream from record 1.
    """
    leaves: list[bytes] = []
    opening = record = b""
    for number, body in enumerate(bodies, 1):
        members = _members(body, number)
        opening = opening or body
        if number == seq:
            record = body
        elif record and members["event"] in (SEAL, CLOSE):
            return RecordProof(record, tuple(inclusion_proof(leaves, seq - 1)), body, opening)
        leaves.append(sha256(body).digest())
    if not record:
        raise ValueError(f"record {seq}: not among the {len(leaves)} records given")
    raise ValueError(f"record {seq}: no seal after it among the {len(leaves)} records given")


def prove_seals(bodies: Iterable[bytes], first: int, second: int) -> SealProof:
    """Relate the seals at *first* and *second*; *bodies* is the stream in order from record 1.

    Raises:
        ValueError: one is no seal or not there, they are not in order, or *bodies* is not a stream from record 1.
    """
    leaves: list[bytes] = []
    opening = first_seal = b""
    for number, body in enumerate(bodies, 1):
        members = _members(body, number)
        opening = opening or body
        if number in (first, second) and members["event"] not in (SEAL, CLOSE):
            raise ValueError(f"record {number}: expected a seal, found {members['event']}")
        if number == first:
            first_seal = body
        if number == second and first_seal:
            return SealProof(first_seal, body, tuple(consistency_proof(leaves, first - 1)), opening)
        leaves.append(sha256(body).digest())
    raise ValueError(f"seals {first} and {second}: not both, in order, among the {len(leaves)} records given")


def check_record_proof(proof: RecordProof, trust: Sequence[x509.Certificate]) -> str | None:
    """Say why *proof* does not prove its record to who trusts *trust*; None when it does."""
    record = _parsed(proof.record)
    if record is None:
        return "the record is none"
    seal, fault = _checked_seal(proof.seal, proof.open, trust)
    if seal is None:
        return fault
    if record["stream"] != seal["stream"]:
        return "the seal is of another stream"
    size, root = seal["context"]["audit.seal.size"], bytes.fromhex(seal["context"]["audit.seal.root"])
    if not verify_inclusion(sha256(proof.record).digest(), record["seq"] - 1, size, proof.path, root):
        return "the path does not lead from the record to the seal's root"
    return None


def check_seal_proof(proof: SealProof, trust: Sequence[x509.Certificate]) -> str | None:
    """Say why *proof* does not relate its seals for who trusts *trust*; None when it does."""
    first, fault = _checked_seal(proof.first, proof.open, trust)
    if first is None:
        return fault
    second, fault = _checked_seal(proof.second, proof.open, trust)
    if second is None:
        return fault
    sizes = [seal["context"]["audit.seal.size"] for seal in (first, second)]
    roots = [bytes.fromhex(seal["context"]["audit.seal.root"]) for seal in (first, second)]
    if not verify_consistency(sizes[0], roots[0], sizes[1], roots[1], proof.path):
        return "the path does not lead from the first seal's root to the second's"
    return None


def _members(body: bytes, seq: int) -> dict[str, Any]:
    members = _parsed(body)
    if members is None or members["seq"] != seq:
        raise ValueError(f"body {seq}: expected record {seq} of the stream")
    return members


def _parsed(body: bytes) -> dict[str, Any] | None:
    members = decode(body)
    return None if members is None or problem(members) is not None else members


def _checked_seal(
    body: bytes, opening: bytes, trust: Sequence[x509.Certificate]
) -> tuple[dict[str, Any] | None, str]:
    """The members of a seal that is well signed under a good path; or None, and why it is not."""
    seal, first = _parsed(body), _parsed(opening)
    if first is None or first["event"] != OPEN or first["seq"] != 1:
        return None, "the open is none"
    if seal is None or seal["event"] not in (SEAL, CLOSE):
        return None, "the seal is none"
    if seal["stream"] != first["stream"]:
        return None, "the open is of another stream"
    context = first["context"]
    path = check_path(
        context["audit.certificate"],
        stream=first["stream"],
        service=context["service.name"],
        opened=first["observed"],
        trust=anchors(trust),
    )
    if path.anchor is None:
        return None, "the stream's certificate leads to no issuer that is trusted"
    if path.fault is not None or path.key is None:
        return None, f"the stream's certificate is wrong: {path.fault}"
    if not is_sound_key(path.key):
        return None, "the stream's key is of small order"
    for record in (first, seal):
        unsigned = encode({name: value for name, value in record.items() if name != "sig"})
        if not verify(path.key, unsigned, record.get("sig", "")):
            return None, f"the signature of record {record['seq']} does not verify"
    if seal["context"]["audit.seal.size"] != seal["seq"] - 1:
        return None, "the seal's size is not that of the records before it"
    return seal, ""
