"""An archive taken apart, so that it can be changed and put together again by someone who holds every key.

A stream taken over gets a key of ours and a certificate of ours with the same names; chain, roots, signatures and
references are made again from what stands there then, but for what a mutation has set on purpose (`fixed`).
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.issuers import Issuer, der64, seed
from tests.second_verifier.verifier import OBJECT, SECOND, Json, fits, jcs, moment, parse, root

ISSUER = Issuer("second verifier")
STRANGER = Issuer("stranger")


@cache
def key_of(stream: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed(f"taken over {stream}"))


@dataclass(eq=False)
class Entry:
    """One record: its members, which of them are left as they are, and whom it refers to."""

    members: Json
    key: str
    """The stream whose key signs it."""
    fixed: set[str] = field(default_factory=set[str])
    named: dict[str, list[Entry | None]] = field(default_factory=dict[str, "list[Entry | None]"])
    """By member of `context`: the records that its references name, where this archive has them."""
    body: bytes = b""


def members_of(entry: Entry) -> Json:
    """What stands in `context`; nothing where a mutation has put something else there."""
    context: Any = entry.members.get("context")
    return context if isinstance(context, OBJECT) else {}


class Model:
    """Streams as lists of entries; lines that are no records beside them."""

    def __init__(self, bodies: Iterable[bytes]) -> None:
        self.streams: dict[str, list[Entry]] = {}
        self.others: list[bytes] = []
        by_reference: dict[str, Entry] = {}
        for body in dict.fromkeys(bodies):
            record = parse(body)
            if isinstance(record, str):
                self.others.append(body)
                continue
            entry = Entry(json.loads(body), record["stream"])
            self.streams.setdefault(record["stream"], []).append(entry)
            by_reference[f"{record['stream']}:{record['seq']}:{hashlib.sha256(body).hexdigest()}"] = entry
        for entries in self.streams.values():
            entries.sort(key=lambda one: int(one.members["seq"]))
        for entry in self.entries():
            said = members_of(entry)
            if "audit.predecessors" in said:
                entry.named["audit.predecessors"] = [by_reference.get(one) for one in said["audit.predecessors"]]
            if "audit.recovered.hash" in said:
                where = ":".join(str(said[f"audit.recovered.{part}"]) for part in ("stream", "seq", "hash"))
                entry.named["audit.recovered.hash"] = [by_reference.get(where)]
            if entry.members["event"] == "audit.stream.open":
                own = [certificate_for(entry.members)]
                said["audit.certificate"] = der64(own)

    def entries(self) -> list[Entry]:
        return [entry for entries in self.streams.values() for entry in entries]

    def clone(self) -> Model:
        return copy.deepcopy(self)

    def build(self) -> dict[str, list[bytes]]:
        """Put it together: the bodies of each stream."""
        built: dict[int, str] = {}
        for name in self.streams:
            self._build(name, len(self.streams[name]), built)
        return {name: [entry.body for entry in entries] for name, entries in self.streams.items()}

    def _build(self, name: str, upto: int, built: dict[int, str]) -> None:
        entries = self.streams[name]
        for at, entry in enumerate(entries[:upto]):
            if id(entry) in built:
                continue
            built[id(entry)] = ""  # a circle of references ends here
            before = entries[at - 1] if at else None
            self._link(entry, before, built)
            if "root" not in entry.fixed and "audit.seal.root" in members_of(entry):
                leaves = [hashlib.sha256(one.body).digest() for one in entries[:at]]
                members_of(entry)["audit.seal.root"] = root(leaves).hex()
                members_of(entry)["audit.seal.size"] = at
            if "sig" not in entry.fixed and "sig" in entry.members:
                entry.members["sig"] = sign(entry.members, key_of(entry.key))
            entry.body = spelt(entry.members)
            built[id(entry)] = hashlib.sha256(entry.body).hexdigest()

    def _link(self, entry: Entry, before: Entry | None, built: dict[int, str]) -> None:
        if "prev" not in entry.fixed:
            entry.members.pop("prev", None)
            if before:
                entry.members["prev"] = built[id(before)]
        for member, named in entry.named.items():
            for at, target in enumerate(named):
                if target is None or "named" in entry.fixed:
                    continue
                home = self.streams.get(str(target.members.get("stream")), [])
                if target in home:
                    self._build(str(target.members.get("stream")), home.index(target) + 1, built)
                said, digest = members_of(entry), built.get(id(target)) or "ab" * 32
                if member == "audit.recovered.hash":
                    said |= {"audit.recovered.seq": target.members.get("seq"), "audit.recovered.hash": digest}
                elif isinstance(said.get(member), list) and at < len(said[member]):
                    said[member][at] = f"{target.members.get('stream')}:{target.members.get('seq')}:{digest}"


def spelt(members: Json) -> bytes:
    try:
        return jcs(members)
    except UnicodeEncodeError:
        return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()


def sign(members: Json, key: Ed25519PrivateKey) -> str:
    raw = key.sign(b"otel-audit/1\n" + spelt({name: one for name, one in members.items() if name != "sig"}))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def certificate_for(opening: Json, issuer: Issuer = ISSUER, **options: Any) -> x509.Certificate:
    """A good certificate of this stream for our key of it, unless *options* say otherwise."""
    stream, service = str(opening["stream"]), str(opening["context"].get("service.name", ""))
    when = datetime.fromisoformat(opening["observed"][:19]).replace(tzinfo=UTC)
    options.setdefault("not_before", when - timedelta(hours=1))
    options.setdefault("not_after", when + timedelta(hours=26))
    return issuer.issue(stream, service or "-", options.pop("key", key_of(stream)), **options)


def renumber(entries: Sequence[Entry]) -> None:
    """Give every entry the number of its place."""
    for at, entry in enumerate(entries):
        entry.members["seq"] = at + 1


def later(text: Any, nanos: int) -> str:
    """A time moved; what is none stays what it is."""
    if not fits(text, "time"):
        return str(text)
    at = moment(text) + nanos
    try:
        when = datetime.min.replace(tzinfo=UTC) + timedelta(seconds=at // SECOND)
    except OverflowError:
        return str(text)
    return f"{when.year:04}-{when:%m-%dT%H:%M:%S}.{at % SECOND:09d}Z"
