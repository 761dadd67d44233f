"""One vector: an archive as a directory, and what a verifier has to say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.vectors import x509
from tests.vectors.stream import SECOND, T0, Stream, root_der, stamp

NEXT_DAY = T0 + 86_400 * SECOND

TAMPERED = (
    "malformed", "forked", "missing", "altered", "bad-signature", "wrong-root", "untrusted-key",
    "wrong-certificate", "misplaced", "truncated", "rolled-back", "index-mismatch", "retired-early",
)  # fmt: skip
INCOMPLETE = (
    "no-trust", "overdue-seal", "unwitnessed-end", "missing-stream", "declared-gap", "declared-drops",
    "clock-outside-certificate", "retired", "unsupported",
)  # fmt: skip

First = tuple[str, int]


@dataclass(frozen=True)
class Vector:
    """An archive and its verdict."""

    name: str
    why: str
    """One sentence: what was done, and the rule that answers it."""
    archive: Sequence[Stream]
    first: Mapping[str, First] = field(default_factory=dict[str, First])
    """The first finding of each stream that has one."""
    others: Sequence[str] = ()
    """Kinds of findings that carry no `seq`, sorted."""
    verdicts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of a stream, where its first finding does not tell."""
    verdict: str = ""
    """Over all, where the findings given do not tell."""
    silent: Sequence[str] = ()
    """Streams of which the page does not say clearly enough which verdict or finding they get."""
    unclear_kind: bool = False
    """The verdicts are clear, the first finding is not: compare its `seq` alone."""
    trust: Sequence[bytes] | None = None
    """DER certificates; None: that of the issuer of all honest streams."""
    now: int = NEXT_DAY
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """`grace_s`, `keep_s`, `place`, `witness`, `since`, `until`."""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    """`adopted` and `pending`, where the vector is about them."""
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Further files, by path."""
    segments: int = 0
    """Split each stream's file after so many records; 0: one file."""

    def expected(self) -> dict[str, Any]:
        """What `expected.json` says."""
        streams = {one.id: self._verdict_of(one.id) for one in self.archive if one.id not in self.silent}
        options: dict[str, Any] = {"grace_s": 0, "keep_s": None, "place": None, "witness": []}
        options |= self.options
        return {
            **options,
            "now": stamp(self.now),
            "verdict": self.verdict or self._overall(streams),
            "streams": dict(sorted(streams.items())),
            "first_findings": {
                stream: [None if self.unclear_kind else kind, seq]
                for stream, (kind, seq) in sorted(self.first.items())
            },
            "global_findings": sorted(self.others),
            "counts": dict(self.counts),
            "why": self.why,
        }

    def _verdict_of(self, stream: str) -> str:
        if stream in self.verdicts:
            return self.verdicts[stream]
        return severity(self.first[stream][0]) if stream in self.first else "verified"

    def _overall(self, streams: Mapping[str, str]) -> str:
        kinds = [kind for kind, _ in self.first.values()]
        said = {severity(kind) for kind in (*kinds, *self.others)} | set(streams.values())
        if not self.archive and not said:
            return "empty"
        return next(word for word in ("tampered", "incomplete", "verified") if word in said | {"verified"})

    def write(self, parent: Path) -> None:
        """Write the archive below *parent*, in the layout of "On disk"."""
        home = parent / self.name
        home.mkdir(parents=True)
        for one in self.archive:
            folder = home / one.service / one.id
            folder.mkdir(parents=True, exist_ok=True)
            size = self.segments or len(one.lines) or 1
            for at in range(0, max(len(one.lines), 1), size):
                part = b"".join(line + b"\n" for line in one.lines[at : at + size])
                last = at + size >= len(one.lines)
                (folder / f"{at + 1:012d}.jsonl").write_bytes(part + (one.tail if last else b""))
        for path, content in self.files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_bytes(content)
        (home / "trust.pem").write_text(
            "".join(x509.pem(one) for one in ((root_der(),) if self.trust is None else self.trust))
        )
        text = json.dumps(self.expected(), indent=1, ensure_ascii=True)
        (home / "expected.json").write_text(text + "\n")


def severity(kind: str) -> str:
    if kind in TAMPERED:
        return "tampered"
    assert kind in INCOMPLETE, kind
    return "incomplete"
