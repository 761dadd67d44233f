"""The hot loop: a run of plain records of one stream, one lane, each the next of the last.

Plain is an ordinary unsigned record with nothing to remark on: next in `seq`, following by hash, observed
no earlier than the last and before any bound. Whatever else comes up goes through `StreamCheck.take`, which
knows every rule; this loop only knows when none applies.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from otel_audit.evidence.plain import read_plain


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
    stream, latest = run.stream.encode("ascii"), run.latest.encode("ascii")
    last, record_hash, observed = run.seq, run.record_hash.encode("ascii"), run.observed.encode("ascii")
    before, append = run.before, run.leaves.append
    at = start
    for at in range(start, len(bodies)):
        body = bodies[at]
        plain = read_plain(body, record_hash, stream)
        if plain is None:
            break
        seq, now_observed = plain
        if seq != last + 1 or seq >= before or not observed <= now_observed <= latest:
            break
        last = seq
        digest = sha256(body).digest()
        append(digest)
        record_hash = hexlify(digest)
        observed = now_observed
        if not run.first_observed:
            run.first_observed = observed.decode("ascii")
    else:
        at = len(bodies)
    run.seq, run.record_hash, run.observed = last, record_hash.decode("ascii"), observed.decode("ascii")
    return at
