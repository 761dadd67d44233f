"""One stream of an archive, held whole; words in quotes are the page's own."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509 import Certificate

from tests.second_verifier.keys import judge_path, verifies
from tests.second_verifier.records import CLOSE, OPEN, RECOVERED, Json


class Stream:
    """The records of one stream, by `seq`: more than one at a `seq` that is forked."""

    def __init__(self, anchors: Sequence[Certificate]) -> None:
        self.records: dict[int, dict[bytes, Json]] = defaultdict(dict)
        self.holders: dict[bytes, set[int]] = defaultdict(set)
        self.contradicted: set[bytes] = set()
        """Bodies beside which an attribute says something else."""
        self.anchors = anchors

    def settle(self) -> None:
        """Read the open: what the rest is judged by."""
        opens = [(body, one) for body, one in self.records.get(1, {}).items() if one["event"] == OPEN]
        judged = [(judge_path(one, self.anchors), hashlib.sha256(body).digest(), one) for body, one in opens]
        best = min(judged, key=lambda one: (one[0][1] != "", one[1]), default=None)
        self.open = best[2] if best else None
        self.certificate, self.path_finding = best[0] if best else (None, "")
        self.is_good = bool(best and self.anchors and not self.path_finding)
        key = self.certificate and self.certificate.public_key()
        raw = key.public_bytes_raw() if isinstance(key, ed25519.Ed25519PublicKey) else b""
        self.has_key = bool(raw)
        self.signed = {body for _, body, one in self.all() if verifies(raw, one)}

    def all(self) -> list[tuple[int, bytes, Json]]:
        return [(seq, body, one) for seq, two in sorted(self.records.items()) for body, one in two.items()]

    def closes(self) -> list[int]:
        return [seq for seq, body, one in self.all() if one["event"] == CLOSE and body in self.signed]

    def tear(self, last: int) -> None:
        """ "In a recovered stream unsigned lines after the recovered record are torn too"."""
        last = max([last, *(seq for seq, body, _ in self.all() if body in self.signed)])
        for seq, body, _ in self.all():
            if seq > last:
                del self.records[seq][body]
        self.records = defaultdict(dict, {seq: here for seq, here in self.records.items() if here})


def root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + root(leaves[:half]) + root(leaves[half:])).digest()


def end_of(recovery: Json) -> int:
    seq: int = recovery["context"]["audit.recovered.seq"]
    return seq


def references_of(record: Json) -> list[str]:
    """Whom a record names: `<stream>:<seq>:<hash>`."""
    said = record["context"]
    if record["event"] == RECOVERED:
        return [":".join(str(said[f"audit.recovered.{part}"]) for part in ("stream", "seq", "hash"))]
    if record["event"] == CLOSE:
        return [f"{said['audit.successor']}:0:"] if "audit.successor" in said else []
    named: list[str] = said["audit.predecessors"]
    return named


def certificate_of(opening: Json) -> str:
    """The stream's own, as it is written there."""
    return next(iter(opening["context"]["audit.certificate"]), "")


def intervals(opened: Json) -> tuple[int, int]:
    return opened["audit.seal.interval_ms"], opened["audit.heartbeat.interval_ms"]
