"""A small independent writer of archives, for tests: real keys, real certificates, a clock that is told.

    archive = Archive(service="shop")
    web = archive.stream()
    web.event(action="READ")
    web.seal()
    web.close()
    verdict = archive.verify()                      # now: a second after the last record
    archive.write(tmp_path)                         # <dir>/<service>/<stream>/000000000001.jsonl, <dir>/place

Every record method takes overrides of top-level members (None removes one) and `context={...}` to add to
or remove from `context`; `sign=False` leaves the signature out. `stream.records` are the bodies: change,
remove, reorder them at will. Written from the format's page with json, hashlib and cryptography, without
otel_audit's own encoder, chain or tree, so that a mistake in those shows.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otel_audit.verify import Reference, Verdict, verify
from tests.issuers import START, Issuer, certificate, der64, name, seed
from tests.memory_source import MemoryLane, MemorySource

__all__ = [
    "START",
    "Archive",
    "Clock",
    "Issuer",
    "MemoryLane",
    "MemorySource",
    "Stream",
    "canonical",
    "certificate",
    "der64",
    "merged",
    "name",
    "record_hash",
    "rfc3339",
    "seed",
    "tree_root",
]

SECOND = 1_000_000_000


def canonical(members: Mapping[str, Any]) -> bytes:
    """JCS of the record profile, by the standard library: names are ASCII, so code-point order is UTF-16 order."""
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def record_hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, as written there: recursive."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()


def rfc3339(unix_nanos: int) -> str:
    seconds, nanos = divmod(unix_nanos, SECOND)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


@dataclass
class Clock:
    """Nanoseconds since 1970, moved by hand; every record moves it on by a millisecond."""

    now: int = int(START.timestamp()) * SECOND

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    def tick(self) -> int:
        self.now += SECOND // 1000
        return self.now

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now // SECOND, UTC) + timedelta(microseconds=self.now % SECOND // 1000)


class Stream:
    """One stream being written."""

    def __init__(
        self,
        archive: Archive,
        stream_id: str,
        key: Ed25519PrivateKey,
        *,
        service: str,
        sign_records: bool = False,
        seal_interval_ms: int = 5_000,
        heartbeat_interval_ms: int = 60_000,
    ) -> None:
        self.archive = archive
        self.id = stream_id
        self.key = key
        self.service = service
        self.sign_records = sign_records
        self.seal_interval_ms = seal_interval_ms
        self.heartbeat_interval_ms = heartbeat_interval_ms
        self.records: list[bytes] = []
        self.dropped = 0
        self.skipped = 0

    @property
    def seq(self) -> int:
        """Of the last record."""
        return json.loads(self.records[-1])["seq"] if self.records else 0

    @property
    def directory(self) -> str:
        return f"{quote(self.service, safe='')}/{self.id}"

    def members(self, seq: int) -> dict[str, Any]:
        """Members of the first record with *seq*."""
        return next(m for m in map(json.loads, self.records) if m["seq"] == seq)

    def body(self, seq: int) -> bytes:
        return next(body for body in self.records if json.loads(body)["seq"] == seq)

    def reference(self, seq: int | None = None) -> str:
        """`<stream>:<seq>:<hash>` of record *seq*, by default of the last signed one."""
        body = next(b for b in reversed(self.records) if b'"sig":' in b) if seq is None else self.body(seq)
        return f"{self.id}:{json.loads(body)['seq']}:{record_hash(body)}"

    def signed(self, members: Mapping[str, Any]) -> bytes:
        """The record's bytes with a good signature of this stream's key."""
        unsigned = {member: value for member, value in members.items() if member != "sig"}
        raw = self.key.sign(b"otel-audit/1\n" + canonical(unsigned))
        return canonical({**unsigned, "sig": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()})

    def replace(self, number: int, /, *, sign: bool = False, **overrides: Any) -> None:
        """Change a record where it stands, as an intruder would; *sign* with the stream's own key."""
        old = self.body(number)
        members = merged(json.loads(old), overrides)
        self.records[self.records.index(old)] = self.signed(members) if sign else canonical(members)

    def remove(self, first: int, last: int | None = None) -> None:
        """Delete records *first* to *last*."""
        gone = range(first, (last or first) + 1)
        self.records = [body for body in self.records if json.loads(body)["seq"] not in gone]

    def truncate(self, after: int) -> None:
        """Delete every record above *after*."""
        self.records = [body for body in self.records if json.loads(body)["seq"] <= after]

    def append(self, members: Mapping[str, Any], *, sign: bool) -> bytes:
        """Append a record: `stream`, `seq`, `prev`, times and schema are given unless *members* has them."""
        observed = rfc3339(self.archive.clock.tick())
        chained: dict[str, Any] = {
            "schema": "otel-audit/1",
            "stream": self.id,
            "seq": self.seq + 1,
            "time": observed,
            "observed": observed,
        }
        if self.records:
            chained["prev"] = record_hash(self.records[-1])
        whole = merged(chained, members)
        body = self.signed(whole) if sign else canonical(whole)
        self.records.append(body)
        return body

    def event(self, event: str = "http.server.request", *, sign: bool | None = None, **overrides: Any) -> bytes:
        """An ordinary record."""
        members: dict[str, Any] = {
            "event": event,
            "actor": {"id": "alice", "type": "user", "auth": "session"},
            "action": "READ",
            "target": {"id": f"/customers/{self.seq + 1}", "type": "http.endpoint"},
            "outcome": "success",
            "source": {"id": "198.51.100.7", "type": "ipv4"},
            "trace_id": seed(f"{self.id} trace {self.seq}").hex()[:32],
            "span_id": seed(f"{self.id} span {self.seq}").hex()[:16],
            "context": {"http.request.method": "GET", "http.response.status_code": 200},
        }
        return self.append(merged(members, overrides), sign=self.sign_records if sign is None else sign)

    def events(self, count: int) -> None:
        for _ in range(count):
            self.event()

    def lifecycle(self, event: str, says: Mapping[str, Any], /, *, sign: bool = True, **overrides: Any) -> bytes:
        """A record about the log itself."""
        members: dict[str, Any] = {
            "event": event,
            "actor": {"id": "otel-audit", "type": "system"},
            "action": "EXECUTE",
            "outcome": "success",
            "context": dict(says),
        }
        return self.append(merged(members, overrides), sign=sign)

    def open(
        self, certificates: Sequence[x509.Certificate], predecessors: Sequence[str] = (), **overrides: Any
    ) -> bytes:
        context = {
            "audit.certificate": der64(certificates),
            "audit.predecessors": list(predecessors),
            "audit.sign": "record" if self.sign_records else "seal",
            "audit.seal.interval_ms": self.seal_interval_ms,
            "audit.heartbeat.interval_ms": self.heartbeat_interval_ms,
            "audit.seal.next_by": self.promise(),
            "audit.policy.digest": hashlib.sha256(b"").hexdigest(),
            "audit.fail_mode": "open",
            "audit.durability": "disk",
            "service.name": self.service,
            "service.version": "1.0",
            "service.instance.id": "one",
            "host.name": "host",
            "process.pid": 42,
        }
        return self.lifecycle("audit.stream.open", context, **overrides)

    def promise(self) -> str:
        """The latest `next_by` that is not out of bounds for a record made now."""
        longest = max(self.seal_interval_ms, self.heartbeat_interval_ms)
        return rfc3339(self.archive.clock.now + longest * 2_000_000 + SECOND)

    def seal_context(self) -> dict[str, Any]:
        leaves = [hashlib.sha256(body).digest() for body in self.records]
        return {
            "audit.seal.size": len(leaves),
            "audit.seal.root": tree_root(leaves).hex(),
            "audit.seal.dropped": self.dropped,
            "audit.seal.skipped": self.skipped,
        }

    def seal(self, **overrides: Any) -> bytes:
        return self.lifecycle(
            "audit.seal", {**self.seal_context(), "audit.seal.next_by": self.promise()}, **overrides
        )

    def close(self, reason: str = "shutdown", successor: Stream | None = None, **overrides: Any) -> bytes:
        context = {**self.seal_context(), "audit.reason": reason}
        if successor is not None:
            context["audit.successor"] = successor.id
        return self.lifecycle("audit.stream.close", context, **overrides)

    def policy(self, text: str = "record everything\n", **overrides: Any) -> bytes:
        digest = hashlib.sha256(text.encode()).hexdigest()
        return self.lifecycle(
            "audit.policy", {"audit.policy.text": text, "audit.policy.digest": digest}, **overrides
        )

    def linked(self, predecessors: Sequence[str], **overrides: Any) -> bytes:
        return self.lifecycle("audit.stream.linked", {"audit.predecessors": list(predecessors)}, **overrides)

    def recover(self, crashed: Stream, **overrides: Any) -> bytes:
        """End *crashed* where it stands now."""
        last = crashed.records[-1]
        signed = [json.loads(body)["seq"] for body in crashed.records if b'"sig":' in body]
        context = {
            "audit.recovered.stream": crashed.id,
            "audit.recovered.seq": crashed.seq,
            "audit.recovered.hash": record_hash(last),
            "audit.recovered.sealed": max(signed, default=0),
            "audit.recovered.torn_bytes": 0,
        }
        return self.lifecycle("audit.stream.recovered", context, **overrides)

    def gap(self, count: int = 1, reason: str = "disk-full", **overrides: Any) -> bytes:
        moment = rfc3339(self.archive.clock.now)
        context = {
            "audit.gap.count": count,
            "audit.gap.from": moment,
            "audit.gap.to": moment,
            "audit.reason": reason,
        }
        return self.lifecycle("audit.gap", context, **overrides)

    def retire(
        self, streams: Sequence[Stream], *, place: str | None = None, delivered: bool = False, **overrides: Any
    ) -> bytes:
        """Say that *streams* are gone from *place*, by default the archive's own; removes nothing."""
        observed = [json.loads(body)["observed"] for stream in streams for body in stream.records]
        context = {
            "audit.retired.place": self.archive.place if place is None else place,
            "audit.retired.streams": [stream.id for stream in streams],
            "audit.retired.records": len(observed),
            "audit.retired.ended": max(observed, default=rfc3339(self.archive.clock.now)),
            "audit.retired.delivered": delivered,
            "audit.policy.digest": hashlib.sha256(b"").hexdigest(),
        }
        return self.lifecycle("audit.retired", context, **overrides)


def merged(members: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """*members* with *overrides*; None removes a member, a mapping under `context` is merged likewise."""
    result = dict(members)
    for member, value in overrides.items():
        if value is None:
            result.pop(member, None)
        elif member == "context" and isinstance(result.get("context"), dict) and isinstance(value, dict):
            result["context"] = merged(result["context"], cast("dict[str, Any]", value))
        else:
            result[member] = value
    return result


@dataclass
class Archive:
    """Streams of a service, under one issuer, with one clock."""

    service: str = "shop"
    issuer: Issuer = field(default_factory=Issuer)
    place: str = "place-1"
    clock: Clock = field(default_factory=Clock)
    streams: list[Stream] = field(default_factory=list[Stream])

    def stream(
        self,
        *,
        service: str | None = None,
        predecessors: Sequence[str] = (),
        certificates: Callable[[str, str, Ed25519PrivateKey], Sequence[x509.Certificate]] | None = None,
        is_opened: bool = True,
        open_overrides: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Stream:
        """A new stream, opened; *certificates* makes its path from (stream id, service, key)."""
        number = len(self.streams) + 1
        owner = self.service if service is None else service
        stream_id = seed(f"{owner} stream {number}").hex()[:32]
        key = Ed25519PrivateKey.from_private_bytes(seed(f"{owner} key {number}"))
        stream = Stream(self, stream_id, key, service=owner, **kwargs)
        self.streams.append(stream)
        if is_opened:
            path = (
                [self.issuer.issue(stream_id, owner, key)]
                if certificates is None
                else certificates(stream_id, owner, key)
            )
            stream.open(path, predecessors, **(open_overrides or {}))
        return stream

    @property
    def bodies(self) -> list[bytes]:
        """Every record, stream by stream."""
        return [body for stream in self.streams for body in stream.records]

    def source(self, **kwargs: Any) -> MemorySource:
        """All streams as a source, one lane each."""
        lanes = [
            MemoryLane(stream.id, stream.id, tuple(stream.records)) for stream in self.streams if stream.records
        ]
        source = MemorySource(given=lanes, place=self.place)
        for attribute, value in kwargs.items():
            setattr(source, attribute, value)
        return source

    def verify(self, *more: Any, **kwargs: Any) -> Verdict:
        """Verify as it stands; *now* is a second after the last record, *trust* the issuer, unless given."""
        kwargs.setdefault("now", self.clock.moment + timedelta(seconds=1))
        kwargs.setdefault("trust", [self.issuer.certificate])
        source = kwargs.pop("source", None) or self.source()
        witness = [Reference.parse(w) if isinstance(w, str) else w for w in kwargs.pop("witness", ())]
        return verify([source, *more], witness=witness, **kwargs)

    def write(self, directory: Path) -> Path:
        """Write a spool directory: every stream in one segment, and the place."""
        for stream in self.streams:
            if stream.records:
                where = directory / stream.directory
                where.mkdir(parents=True, exist_ok=True)
                (where / "000000000001.jsonl").write_bytes(b"".join(body + b"\n" for body in stream.records))
        (directory / "place").write_text(self.place)
        return directory
