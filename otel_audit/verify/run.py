"""The hot loop: a run of plain records of one stream, one lane, each the next of the last.

Plain is an ordinary unsigned record with nothing to remark on: next in `seq`, following by hash, observed
no earlier than the last and before any bound. Whatever else comes up goes through `StreamCheck.take`, which
knows every rule; this loop only knows when none applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from otel_audit.evidence.canonical import MAX_RECORD_BYTES
from otel_audit.evidence.record import problem


@dataclass(slots=True)
class Run:
    """Where a run of plain records began, how far it may go, and what it has gathered."""

    stream: str
    seq: int
    """Of the last record."""
    record_hash: str
    """Of the last record."""
    observed: str
    """Of the last record."""
    latest: str
    """What is observed later is not plain: it is pending, or outside of the certificate."""
    before: int
    """What has this `seq` or a higher one is not plain: somebody names it."""
    first_observed: str = ""
    leaves: list[bytes] = field(default_factory=list[bytes])
    """Hashes of the run's records."""


def follow(run: Run, bodies: Sequence[bytes], start: int) -> int:
    """Take plain records from `bodies[start:]`; returns the index of the first that is not plain."""
    loads, dumps, strict = orjson.loads, orjson.dumps, orjson.OPT_STRICT_INTEGER
    stream, seq, record_hash, observed, latest = run.stream, run.seq, run.record_hash, run.observed, run.latest
    append = run.leaves.append
    at = start
    for at in range(start, len(bodies)):
        body = bodies[at]
        try:
            m: dict[str, Any] = loads(body)
            # Unsorted: that members are in order is seen by `problem`.
            if m.__class__ is not dict or dumps(m, option=strict) != body or len(body) > MAX_RECORD_BYTES:
                break
        except (orjson.JSONDecodeError, TypeError):
            break
        if problem(m, record_hash) is not None:
            break
        now_observed: str = m["observed"]
        if (
            "sig" in m
            or m["seq"] != seq + 1
            or m["prev"] != record_hash
            or m["stream"] != stream
            or not observed <= now_observed <= latest
            or m["event"][:6] == "audit."
        ):
            break
        seq += 1
        if seq >= run.before:
            seq -= 1
            break
        digest = sha256(body)
        append(digest.digest())
        record_hash = digest.hexdigest()
        observed = now_observed
        if not run.first_observed:
            run.first_observed = observed
    else:
        at = len(bodies)
    run.seq, run.record_hash, run.observed = seq, record_hash, observed
    return at
