"""One stream: the unbroken sequence of records of one process under one key.

Evidence stage, no I/O: it makes the bytes of the next record, and takes note of them once they were written.
"Stream" and "Keys" in the evidence format say what stands in each record.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from otel_audit.evidence.canonical import MAX_RECORD_BYTES, SCHEMA, encode
from otel_audit.evidence.members import Members, conformed, fit, timestamp
from otel_audit.evidence.merkle import Tree

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CloseReason = Literal["shutdown", "rotation", "clock"]
MAX_PREDECESSORS = 200

_LIFECYCLE_ACTOR = {"id": "otel-audit", "type": "system"}
_SIG_ROOM = 95
"""Bytes that `,"sig":"…"` adds to a record."""

_FOLD_RECORDS = 16
"""Leaves taken into the tree at once: a seventh cheaper than one by one, and 15 µs for one emit in sixteen. More
would be hardly cheaper, and be felt in the tail: 64 are 50 µs for one in sixty-four, more than one in a hundred."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a stream says of itself in its open record and its policy record."""

    service: str
    resource: Mapping[str, str | int]
    """Resource attributes by name, `service.name` among them."""
    policy_text: str
    sign: Literal["seal", "record"] = "seal"
    seal_interval_ms: int = 5_000
    heartbeat_interval_ms: int = 60_000
    fail_mode: Literal["open", "closed"] = "open"
    durability: Literal["disk", "memory"] = "disk"
    coverage_digest: str | None = None
    """Lower-case hex SHA-256 of the manifest of what is audited, where there is one."""

    @property
    def policy_digest(self) -> str:
        """Lower-case hex SHA-256 of the policy's text."""
        return sha256(self.policy_text.encode()).hexdigest()

    @property
    def promise_ns(self) -> int:
        """How long after a signed record the next one is promised, in nanoseconds.

        One and a half times the longer interval: half of it is what a loaded machine may be late. The
        format allows up to twice it and a second.
        """
        return max(self.seal_interval_ms, self.heartbeat_interval_ms) * 1_500_000


class Draft(NamedTuple):
    """The next record of a stream, made and not yet written."""

    body: bytes
    hash: bytes
    """SHA-256 of the body, 32 bytes."""
    is_signed: bool


_as_draft = cast("Callable[[tuple[bytes, bytes, bool]], Draft]", partial(tuple.__new__, Draft))  # pyright: ignore[reportUnknownMemberType] - of an unknown tuple
"""Past the Python function that makes a named tuple: 0.3 µs an event."""


class StreamClosed(Exception):  # noqa: N818 - a state of the stream, not a fault
    """The stream has written its close, or was found unfit to go on; nothing may follow."""


class Stream:
    """State of one stream; not thread-safe, its writer holds a lock.

    Each `draft_*` method makes the next record from the present state; `advance` takes note that those bytes
    were written whole. A draft that is not advanced leaves no trace, and the next one takes its place. Only
    whoever failed to write part of one must never advance again.
    """

    def __init__(self, stream: str, key: Ed25519PrivateKey, declaration: Declaration) -> None:
        self.id = stream
        self.declaration = declaration
        self.seq = 0
        """Of the last record written."""
        self.signed_seq = 0
        """Of the last signed record written."""
        self.size_bytes = 0
        self.dropped = 0
        """Events lost since open; every seal says it."""
        self.skipped = 0
        """Events left out by policy since open; every seal says it."""
        self.is_closed = False
        self.head: str | None = None
        """Record hash of the last record written, lower-case hex."""
        self.reference = ""
        """`<stream>:<seq>:<record hash>` of the last signed record written."""
        self._signs_all = declaration.sign == "record"
        self._key: Ed25519PrivateKey | None = key
        self._tree = Tree()
        self._unfolded: list[bytes] = []
        self._folded = 0

    @property
    def unsealed(self) -> int:
        """Records written since the last signed one."""
        return self.seq - self.signed_seq

    def draft_event(self, members: Members, observed_unix_nano: int, happened: int | None = None) -> Draft | None:
        """The next record, with the *members* that an event gives; None when it cannot be made to fit.

        Raises:
            InvalidEvent: a context value that a record cannot carry; no record was made.

        *happened* (None: just now) is never later than it was observed: a clock that was set back in between
        makes it so.
        """
        members["observed"] = observed = timestamp(observed_unix_nano)
        members["time"] = observed if happened is None or happened >= observed_unix_nano else timestamp(happened)
        members["stream"] = self.id
        members["seq"] = self.seq + 1
        members["prev"] = self.head
        try:
            body = encode(members)
        except TypeError:  # orjson's answer to lone surrogates and large integers
            members = conformed(members)
            body = encode(members)
        if self._signs_all:
            fitting = fit(members, _SIG_ROOM)
            return None if fitting is None else self._signed(fitting)
        if len(body) > MAX_RECORD_BYTES:
            fitting = fit(members)
            if fitting is None:
                return None
            body = encode(fitting)
        return _as_draft((body, sha256(body).digest(), False))

    def draft_open(
        self, observed_unix_nano: int, certificates: Sequence[bytes], predecessors: Sequence[str]
    ) -> Draft:
        """Record 1. *certificates* in DER form; *predecessors* are references, at most 200."""
        declaration = self.declaration
        context: Members = {
            **declaration.resource,
            "audit.certificate": [base64.b64encode(der).decode() for der in certificates],
            "audit.predecessors": list(predecessors[:MAX_PREDECESSORS]),
            "audit.sign": declaration.sign,
            "audit.seal.interval_ms": declaration.seal_interval_ms,
            "audit.heartbeat.interval_ms": declaration.heartbeat_interval_ms,
            "audit.seal.next_by": timestamp(observed_unix_nano + declaration.promise_ns),
            "audit.policy.digest": declaration.policy_digest,
            "audit.fail_mode": declaration.fail_mode,
            "audit.durability": declaration.durability,
        }
        if declaration.coverage_digest is not None:
            context["audit.coverage.digest"] = declaration.coverage_digest
        return self.draft_lifecycle("audit.stream.open", observed_unix_nano, context)

    def draft_policy(self, observed_unix_nano: int) -> Draft:
        """The policy's text, so that an auditor can read what was left out."""
        declaration = self.declaration
        context = {"audit.policy.text": declaration.policy_text, "audit.policy.digest": declaration.policy_digest}
        return self.draft_lifecycle("audit.policy", observed_unix_nano, context)

    def draft_seal(self, observed_unix_nano: int) -> Draft:
        """A seal over every record so far."""
        context = self._seal_context()
        context["audit.seal.next_by"] = timestamp(observed_unix_nano + self.declaration.promise_ns)
        return self.draft_lifecycle("audit.seal", observed_unix_nano, context)

    def draft_close(self, observed_unix_nano: int, reason: CloseReason, successor: str | None = None) -> Draft:
        """The last record. *successor* is the stream that goes on, on rotation."""
        context = self._seal_context()
        context["audit.reason"] = reason
        if successor is not None:
            context["audit.successor"] = successor
        return self.draft_lifecycle("audit.stream.close", observed_unix_nano, context)

    def draft_lifecycle(self, event: str, observed_unix_nano: int, context: Mapping[str, Any]) -> Draft:
        """A signed record about the log itself."""
        observed = timestamp(observed_unix_nano)
        members: Members = {
            "schema": SCHEMA,
            "stream": self.id,
            "seq": self.seq + 1,
            "time": observed,
            "observed": observed,
            "event": event,
            "actor": _LIFECYCLE_ACTOR,
            "action": "EXECUTE",
            "outcome": "success",
            "context": context,
        }
        if self.head is not None:
            members["prev"] = self.head
        return self._signed(members)

    def advance(self, draft: Draft, *, closes: bool = False) -> None:
        """Take note that *draft* was written. *closes*: it is the close; the key is forgotten.

        All or nothing but for folding: CPython lets signal handlers, which may raise, in after calls and not
        between assignments. `is_whole` tells afterwards.
        """
        body, digest, is_signed = draft
        head = digest.hex()
        size_bytes = len(body) + 1
        self.size_bytes += size_bytes
        self.seq = seq = self.seq + 1
        self.head = head
        self._unfolded += (digest,)
        if is_signed:
            self.signed_seq = seq
            self.reference = f"{self.id}:{seq}:{head}"
        if closes:
            self.is_closed = True
            self._key = None
        if not seq % _FOLD_RECORDS:
            self._fold()

    @property
    def is_whole(self) -> bool:
        """False after an exception of a signal handler that left records out of the tree: nothing may follow."""
        return self._folded + len(self._unfolded) == self.seq

    def _fold(self) -> None:
        unfolded, self._unfolded = self._unfolded, []
        self._tree.extend(unfolded)
        self._folded = self._tree.size

    def _seal_context(self) -> Members:
        self._fold()
        return {
            "audit.seal.size": self.seq,
            "audit.seal.root": self._tree.root().hex(),
            "audit.seal.dropped": self.dropped,
            "audit.seal.skipped": self.skipped,
        }

    def _signed(self, members: Members) -> Draft:
        """*members* with their signature; `configure` bounds what is declared, so that it fits."""
        from otel_audit.evidence.signatures import sign  # cryptography: 50 ms that most processes never need

        if self._key is None:
            raise StreamClosed(f"stream {self.id} is closed: nothing may follow its close")
        body = encode({**members, "sig": sign(self._key, encode(members))})
        return Draft(body, sha256(body).digest(), is_signed=True)
