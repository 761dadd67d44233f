"""A writer of `otel-audit/1` streams, made from the format's page alone: no code of ours below it.

Times are integer nanoseconds since the Unix epoch. Every value is fixed, so two runs give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from tests.vectors import x509
from tests.vectors.openssl import Ed25519, Key

SECOND = 10**9
T0 = int(datetime(2026, 3, 1, 8, 0, tzinfo=UTC).timestamp()) * SECOND
"""When the first stream of every vector opens."""

ROOT = x509.Issuer([(x509.CN, "Vector Issuer")], Ed25519("root"))
POLICY = 'rules:\n  - match: {path: "/health"}\n    record: false\n'
POLICY_DIGEST = hashlib.sha256(POLICY.encode()).hexdigest()
SYSTEM = {"id": "otel-audit", "type": "system"}

Members = dict[str, Any]
Spell = Callable[[bytes], bytes]


def stamp(at: int) -> str:
    """Nanoseconds as the format writes a time."""
    moment = datetime.fromtimestamp(at // SECOND, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % SECOND:09d}Z"


def encode(members: Mapping[str, Any]) -> bytes:
    """RFC 8785 of a record: names are ASCII, so code points sort as UTF-16 units do (§3.2.3)."""
    text = json.dumps(members, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, leaf data being the 32 bytes of a record hash."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signature(key: Key, members: Mapping[str, Any]) -> str:
    unsigned = {name: value for name, value in members.items() if name != "sig"}
    return base64url(key.sign(b"otel-audit/1\n" + encode(unsigned)))


@cache
def root_der() -> bytes:
    """The certificate of `ROOT`, which every verifier of these archives is given."""
    return x509.root("Vector Issuer", ROOT.key)[1]


class Stream:
    """One stream: `lines` are its bodies in order of `seq`; whatever a vector does to them, it does itself."""

    def __init__(
        self,
        label: str = "a",
        *,
        start: int = T0,
        service: str = "shop",
        sign: str = "seal",
        key: Key | None = None,
        path: Sequence[bytes] | None = None,
        trust: x509.Issuer = ROOT,
        predecessors: Sequence[str] = (),
        open_changes: Mapping[str, Any] | None = None,
    ) -> None:
        self.id = stream_id(label)
        self.service = service
        self.sign = sign
        self.key: Key = key or Ed25519(f"stream {label}")
        self.at = start
        self.interval_ms, self.heartbeat_ms = 5_000, 60_000
        self.lines: list[bytes] = []
        self.hashes: list[bytes] = []
        self.tail = b""
        self.skipped = 0
        """Numbers that no record has: only for a chain that leaves some out."""
        certificates = path or self.issue(trust)
        context: Members = {
            "audit.certificate": [base64.b64encode(one).decode() for one in certificates],
            "audit.durability": "disk",
            "audit.fail_mode": "open",
            "audit.heartbeat.interval_ms": self.heartbeat_ms,
            "audit.policy.digest": POLICY_DIGEST,
            "audit.predecessors": list(predecessors),
            "audit.seal.interval_ms": self.interval_ms,
            "audit.seal.next_by": self.due(),
            "audit.sign": sign,
            "host.name": "web-1",
            "process.pid": 4711,
            "service.instance.id": f"{service}-{label}",
            "service.name": service,
            "service.version": "1.0",
        }
        self.opening = context | dict(open_changes or {})

    def issue(
        self,
        issuer: x509.Issuer,
        *,
        subject: x509.Name | None = None,
        extensions: Sequence[bytes] = x509.LEAF,
        valid: tuple[int, int] | None = None,
    ) -> list[bytes]:
        """The path of certificates for this stream's key: its own, then those that its issuer brings."""
        first, last = valid or (self.at - 3600 * SECOND, self.at + 26 * 3600 * SECOND)
        own = x509.certificate(
            subject or [(x509.CN, self.id), (x509.O, self.service)],
            self.key,
            issuer,
            extensions=extensions,
            valid=(datetime.fromtimestamp(first // SECOND, UTC), datetime.fromtimestamp(last // SECOND, UTC)),
        )
        return [own, *issuer.path]

    def certify(self, path: Sequence[bytes]) -> Stream:
        """Bring *path* in the open record instead."""
        self.opening["audit.certificate"] = [base64.b64encode(one).decode() for one in path]
        return self

    @property
    def seq(self) -> int:
        return len(self.lines) + self.skipped

    def due(self, after_s: int = 65) -> str:
        """A `next_by` that an honest process gives."""
        return stamp(self.at + after_s * SECOND)

    def reference(self, seq: int = 0) -> str:
        """`<stream>:<seq>:<hash>` of a record, of the newest by default."""
        seq = seq or self.seq
        return f"{self.id}:{seq}:{self.hashes[seq - 1].hex()}"

    def put(self, members: Mapping[str, Any], *, signed: bool, spell: Spell | None = None) -> int:
        """Append one record; members given win over those of the stream, `...` removes one.

        With *spell* the bytes that stand on the line, and are hashed, are spelt otherwise than those signed.
        """
        record: Members = {
            "schema": "otel-audit/1",
            "stream": self.id,
            "seq": self.seq + 1,
            "time": stamp(self.at),
            "observed": stamp(self.at),
        }
        if self.hashes:
            record["prev"] = self.hashes[-1].hex()
        record.update(members)
        unsigned = "sig" in record or not (signed or self.sign == "record")
        record = {name: value for name, value in record.items() if value is not ...}
        if not unsigned:
            record["sig"] = signature(self.key, record)
        line = spell(encode(record)) if spell else encode(record)
        self.lines.append(line)
        self.hashes.append(hashlib.sha256(line).digest())
        self.at += SECOND // 10
        return self.seq

    def event(self, *, spell: Spell | None = None, signed: bool = False, **changes: Any) -> int:
        """An ordinary event."""
        number = self.seq + 1
        members: Members = {
            "event": "http.server.request",
            "actor": {"id": "alice", "type": "user", "auth": "session"},
            "action": "READ",
            "target": {"id": f"/notes/{number}", "type": "http.endpoint"},
            "outcome": "success",
            "source": {"id": "203.0.113.9", "type": "ipv4"},
            "context": {"http.request.method": "GET", "http.response.status_code": 200},
        }
        return self.put(members | changes, signed=signed, spell=spell)

    def lifecycle(
        self, event: str, context: Mapping[str, Any], *, spell: Spell | None = None, signed: bool = True,
        **changes: Any,
    ) -> int:  # fmt: skip
        """A record of the stream about itself; a context value of `...` removes the member."""
        kept = {name: value for name, value in context.items() if value is not ...}
        members: Members = {
            "event": event,
            "actor": SYSTEM,
            "action": "EXECUTE",
            "outcome": "success",
            "context": kept,
        }
        return self.put(members | changes, signed=signed, spell=spell)

    def begin(self, **changes: Any) -> Stream:
        """The open and the policy: records 1 and 2."""
        self.lifecycle("audit.stream.open", self.opening, **changes)
        self.lifecycle("audit.policy", {"audit.policy.text": POLICY, "audit.policy.digest": POLICY_DIGEST})
        return self

    def events(self, count: int) -> Stream:
        for _ in range(count):
            self.event()
        return self

    def _sealing(self) -> Members:
        return {
            "audit.seal.size": self.seq,
            "audit.seal.root": merkle_root(self.hashes).hex(),
            "audit.seal.dropped": 0,
            "audit.seal.skipped": 0,
        }

    def seal(self, changes: Mapping[str, Any] | None = None, **others: Any) -> Stream:
        context = self._sealing() | {"audit.seal.next_by": self.due()} | dict(changes or {})
        self.lifecycle("audit.seal", context, **others)
        return self

    def close(self, changes: Mapping[str, Any] | None = None, **others: Any) -> Stream:
        context = self._sealing() | {"audit.reason": "shutdown"} | dict(changes or {})
        self.lifecycle("audit.stream.close", context, **others)
        return self

    def recover(
        self, other: Stream, *, seq: int = 0, sealed: int = 0, changes: Mapping[str, Any] | None = None
    ) -> Stream:
        """End the crashed stream *other* at *seq* (its newest record by default), last signed at *sealed*."""
        seq = seq or other.seq
        context: Members = {
            "audit.recovered.stream": other.id,
            "audit.recovered.seq": seq,
            "audit.recovered.hash": other.hashes[seq - 1].hex(),
            "audit.recovered.sealed": sealed or seq,
            "audit.recovered.torn_bytes": 0,
        }
        self.lifecycle("audit.stream.recovered", context | dict(changes or {}))
        return self

    def retire(self, streams: Sequence[str], *, changes: Mapping[str, Any] | None = None) -> Stream:
        """Say that *streams*, which ended a minute after `T0`, were removed from the place `P`."""
        context: Members = {
            "audit.retired.place": PLACE,
            "audit.retired.streams": list(streams),
            "audit.retired.records": 11,
            "audit.retired.ended": stamp(T0 + 60 * SECOND),
            "audit.retired.delivered": True,
            "audit.policy.digest": POLICY_DIGEST,
        }
        self.lifecycle("audit.retired", context | dict(changes or {}))
        return self

    def wait(self, seconds: float) -> Stream:
        self.at += int(seconds * SECOND)
        return self


PLACE = "9a7c0e5d41b84f62a1d3c5e7f9081726"
"""The name that the spool directory of a vector gives itself, where it has one."""


def stream_id(label: str) -> str:
    return hashlib.sha256(f"otel-audit vector stream: {label}".encode()).hexdigest()[:32]


def whole(label: str = "a", **options: Any) -> Stream:
    """An honest stream of 11 records: 1 open, 2 policy, 3-6 events, 7 seal, 8-10 events, 11 close."""
    return Stream(label, **options).begin().events(4).seal().events(3).close()


def crashed(label: str = "a", *, unsealed: int = 2, **options: Any) -> Stream:
    """A stream that ends in the middle: 1 open, 2 policy, 3-6 events, 7 seal, then *unsealed* events."""
    return Stream(label, **options).begin().events(4).seal().events(unsealed)
