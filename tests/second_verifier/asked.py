"""What a verifier is asked in these tests, and what it answers: the first one's answers are put into it as well."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.x509 import Certificate

TAMPERED = (
    "malformed", "forked", "missing", "altered", "bad-signature", "wrong-root", "untrusted-key",
    "wrong-certificate", "misplaced", "truncated", "rolled-back", "index-mismatch", "retired-early",
)  # fmt: skip
INCOMPLETE = (
    "no-trust", "overdue-seal", "unwitnessed-end", "missing-stream", "declared-gap", "declared-drops",
    "clock-outside-certificate", "retired", "unsupported",
)  # fmt: skip
ORDER = {kind: place for place, kind in enumerate(TAMPERED + INCOMPLETE)}


@dataclass(frozen=True)
class Body:
    """One body as a source returns it; *attributes* where the source has an index."""

    text: bytes
    attributes: Mapping[str, object] | None = None
    source: int = 0


@dataclass(frozen=True)
class Question:
    """What is given beside the bodies; times are nanoseconds as `moment` counts them."""

    anchors: Sequence[Certificate]
    now: int
    grace: int = 0
    keep: int | None = None
    places: Mapping[int, str | None] = field(default_factory=dict[int, "str | None"])
    witnesses: Sequence[str] = ()
    since: int | None = None
    until: int | None = None
    """The period, where there is one: from *since* on, until before *until*."""

    @property
    def is_window(self) -> bool:
        return self.since is not None or self.until is not None


@dataclass
class Answer:
    """The verdict, that of each stream, each stream's first finding, and the kinds that carry no `seq`."""

    verdict: str
    streams: dict[str, str] = field(default_factory=dict[str, str])
    first: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    loose: set[str] = field(default_factory=set[str])
    pending: int = 0
    adopted: int = 0

    @classmethod
    def of(
        cls, found: Collection[tuple[str, int, str]], streams: Iterable[str], pending: int, adopted: int
    ) -> Answer:
        """From findings as (stream, seq, kind); those of no stream or no `seq` are of stream "" and 0."""
        by = {name: sorted((seq, ORDER[kind], kind) for of, seq, kind in found if of == name) for name in streams}
        answer = cls(
            verdict({kind for _, _, kind in found}) if by or found else "empty", pending=pending, adopted=adopted
        )
        answer.streams = {name: verdict({kind for _, _, kind in mine}) for name, mine in by.items()}
        answer.first = {name: (mine[0][2], mine[0][0]) for name, mine in by.items() if mine}
        answer.loose = {kind for of, _, kind in found if not of}
        return answer


def verdict(kinds: set[str]) -> str:
    return "tampered" if kinds & {*TAMPERED} else "incomplete" if kinds else "verified"
