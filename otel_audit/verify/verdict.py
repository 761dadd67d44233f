"""What the verifier answers: findings, one verdict a stream, one verdict over all.

Kinds and their order are those of the table "Verdicts" in the evidence format.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["verified", "tampered", "incomplete", "empty"]
Severity: TypeAlias = Literal["error", "incomplete", "warning"]

EXIT_STATUS: dict[Status, int] = {"verified": 0, "tampered": 1, "incomplete": 3, "empty": 4}

TAMPERED_KINDS = (
    "malformed",
    "forked",
    "missing",
    "altered",
    "bad-signature",
    "wrong-root",
    "untrusted-key",
    "wrong-certificate",
    "misplaced",
    "truncated",
    "rolled-back",
    "index-mismatch",
    "retired-early",
)
INCOMPLETE_KINDS = (
    "no-trust",
    "overdue-seal",
    "unwitnessed-end",
    "missing-stream",
    "declared-gap",
    "declared-drops",
    "clock-outside-certificate",
    "retired",
    "unsupported",
)
WARNING_KINDS = ("adopted", "clock-step", "clock-skew", "late-seal", "index-cut", "retired", "unpinned")
"""`retired` is a warning where what was removed had been delivered, else a finding."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the verifier has to say; equal when kind, stream and seq are."""

    kind: str
    stream: str | None = None
    """None where the finding belongs to no stream (`malformed`, `no-trust`, `unsupported`)."""
    seq: int | None = None
    severity: Severity = field(default="error", compare=False)
    count: int = field(default=1, compare=False)
    """How many records, or like findings, this one stands for."""
    message: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class StreamVerdict:
    """What is known of one stream; times are RFC 3339 text as the records carry them."""

    stream: str
    service: str | None
    first_seq: int
    last_seq: int
    records: int
    """Distinct records held, pending and adopted ones included."""
    sealed: int
    """Highest `seq` covered by a signature."""
    closed: bool
    recovered: bool
    """Ended by a later stream, because its process did not close it."""
    opened: str | None
    last_observed: str | None
    verdict: Status


@dataclass(frozen=True, slots=True)
class Issuer:
    """A trusted issuer on whose word the verdict rests."""

    subject: str
    sha256: str
    """Lower-case hex SHA-256 of the certificate's DER form."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to whether it is whole and unaltered."""

    status: Status
    scope: Literal["whole", "window"]
    checked_at: str
    """RFC 3339; the *now* that promises were held against."""
    records: int
    pending: int
    adopted: int
    streams: tuple[StreamVerdict, ...]
    findings: tuple[Finding, ...]
    """Findings first, in the order of the table within a stream; then warnings."""
    trust: tuple[Issuer, ...]

    @property
    def exit_status(self) -> int:
        """0 verified, 1 tampered, 3 incomplete, 4 empty."""
        return EXIT_STATUS[self.status]
