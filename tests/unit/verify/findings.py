"""What a verdict says, short enough to compare."""

from __future__ import annotations

from otel_audit.verify import Verdict
from tests.archives import Stream


def of(verdict: Verdict, stream: Stream | None = None) -> list[tuple[str, int | None]]:
    """Kind and seq of each finding that is no warning, of one stream or of none."""
    wanted = None if stream is None else stream.id
    return [(f.kind, f.seq) for f in verdict.findings if f.severity != "warning" and f.stream == wanted]


def warnings(verdict: Verdict, stream: Stream) -> list[tuple[str, int | None]]:
    """Kind and seq of each warning of a stream but `unpinned`."""
    return [
        (f.kind, f.seq)
        for f in verdict.findings
        if f.severity == "warning" and f.stream == stream.id and f.kind != "unpinned"
    ]


def everything(verdict: Verdict) -> list[tuple[str, str | None, int | None]]:
    """Kind, stream and seq of all findings that are no warnings."""
    return [(f.kind, f.stream, f.seq) for f in verdict.findings if f.severity != "warning"]
