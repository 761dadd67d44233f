"""An honest world to attack: two services, five streams, a crash, a rotation; and what the verifier says of it.

The streams are those of `tests/vectors/stream.py`, a writer made from the format's page and not from the
package, with keys that sign in this process instead of by openssl.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from otel_audit.sources import read_directory
from otel_audit.verify import Reference, Verdict, verify
from otel_audit.verify.verdict import INCOMPLETE_KINDS, TAMPERED_KINDS
from tests.vectors import x509 as certificates
from tests.vectors.openssl import Ed25519
from tests.vectors.stream import SECOND, T0, Members, Stream, encode

ORDER = (*TAMPERED_KINDS, *INCOMPLETE_KINDS)
DAY = 86_400 * SECOND
NOW = T0 + DAY
"""When the world is looked at: long after everything in it."""


EVERY_MEMBER: Members = {
    "actor": {
        "id": "root", "type": "user", "auth": "mtls", "name": "Root",
        "on_behalf_of": {"id": "alice", "type": "user"},
    },
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "context": {"http.request.method": "GET", "note": "x", "sizes": [1, 2], "cached": False},
}  # fmt: skip
"""Record 4 of `first` has every member that an event may have, but for `sig`."""


class LocalKey:
    """An Ed25519 key from a label, in this process: 60 times quicker than an openssl command."""

    algorithm = Ed25519.algorithm

    def __init__(self, label: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(label.encode()).digest())

    @property
    def spki(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


ISSUER, ISSUER_DER = certificates.root("World Issuer", LocalKey("world issuer"))
STRANGER, STRANGER_DER = certificates.root("Stranger", LocalKey("stranger"))


def stream(label: str, **options: Any) -> Stream:
    """A stream whose key is called after its label and whose certificate the world's issuer gave."""
    settings: dict[str, Any] = {"key": LocalKey(label), "trust": ISSUER}
    return Stream(label, **settings | options)


class World:
    """The archive, a list of lines a stream, for an attacker to do as he likes with.

    shop: `first` rotates to `second`; `second` crashes with two records unsealed; `third` ends it and closes;
    `newest` names `third` and closes. billing: `other`, closed. Open 1, policy 2, events 3 to 6, seal 7,
    events 8 to 10, then the end, but for what is said above.
    """

    def __init__(self, home: Path) -> None:
        first = stream("first").begin().events(1)
        first.event(**EVERY_MEMBER)
        first.events(2).seal().events(3)
        second = stream("second", start=first.at, predecessors=[first.reference(7)]).begin().events(4).seal()
        first.close({"audit.reason": "rotation", "audit.successor": second.id})
        second.events(2)
        found = [first.reference(), second.reference(7)]
        third = stream("third", start=second.at + 20 * SECOND, predecessors=found).begin()
        third.recover(second, sealed=7).events(3).seal().events(3).close()
        newest = stream("newest", start=third.at + 20 * SECOND, predecessors=[third.reference()])
        newest.begin().events(4).seal().events(3).close()
        other = stream("other", service="billing").begin().events(4).seal().events(3).close()
        self.home = home
        self.streams = {"first": first, "second": second, "third": third, "newest": newest, "other": other}
        self.honest = {label: tuple(one.lines) for label, one in self.streams.items()}
        self.lines = {label: list(one.lines) for label, one in self.streams.items()}
        self.head = newest.reference()
        """What a witness holds of the newest stream."""

    def id(self, label: str) -> str:
        return self.streams[label].id

    def record(self, label: str, seq: int) -> Members:
        members: Members = json.loads(self.lines[label][seq - 1])
        return members

    def edit(self, label: str, at: int, /, **changes: Any) -> None:
        """Change members of record *at*, written canonically again; `...` removes one."""
        members = self.record(label, at) | changes
        kept = {name: value for name, value in members.items() if value is not ...}
        self.lines[label][at - 1] = encode(kept)

    def drop(self, label: str, *seqs: int) -> None:
        gone = set(seqs)
        self.lines[label] = [line for at, line in enumerate(self.lines[label], 1) if at not in gone]

    def add(self, one: Stream, label: str = "added") -> None:
        """Put a stream of the attacker's own into the archive."""
        self.streams[label] = one
        self.lines[label] = list(one.lines)

    def file(self, label: str) -> Path:
        return self.home / self.streams[label].service / self.id(label) / "000000000001.jsonl"

    def write(self) -> Path:
        for label, lines in self.lines.items():
            path = self.file(label)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(line + b"\n" for line in lines))
        return self.home

    def verdict(
        self, *, witness: Sequence[str] = (), now: int = NOW, write: bool = True, **options: Any
    ) -> Verdict:
        """Write the archive as it now is, and ask; without *write*, of the files as they lie."""
        return verify(
            [read_directory(self.write() if write else self.home)],
            trust=[x509.load_der_x509_certificate(ISSUER_DER)],
            now=datetime.fromtimestamp(now / SECOND, UTC),
            grace=timedelta(0),
            witness=[Reference.parse(text) for text in witness],
            **options,
        )

    def finding(self, label: str, verdict: Verdict | None = None) -> tuple[str, int] | None:
        """The first finding of a stream: lowest `seq`, then the order of the table."""
        return first_finding(verdict or self.verdict(), self.id(label))


def first_finding(verdict: Verdict, stream_id: str) -> tuple[str, int] | None:
    found = [
        (one.seq, ORDER.index(one.kind))
        for one in verdict.findings
        if one.stream == stream_id and one.seq is not None and one.severity != "warning"
    ]
    return (ORDER[min(found)[1]], min(found)[0]) if found else None


def kinds(verdict: Verdict) -> set[str]:
    """Every kind of finding, warnings left out."""
    return {one.kind for one in verdict.findings if one.severity != "warning"}


def warnings(verdict: Verdict) -> set[str]:
    return {one.kind for one in verdict.findings if one.severity == "warning"}
