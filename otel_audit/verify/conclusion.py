"""From findings to the verdict: order, severity, counts, one status a stream and one over all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otel_audit.verify.reading import Tally
from otel_audit.verify.resolve import Streams
from otel_audit.verify.standing import Terms
from otel_audit.verify.stream import StreamCheck
from otel_audit.verify.verdict import (
    INCOMPLETE_KINDS,
    TAMPERED_KINDS,
    WARNING_KINDS,
    Finding,
    Issuer,
    Severity,
    Status,
    StreamVerdict,
    Verdict,
)

_RETIRED_DELIVERED = "retired-delivered"
"""How `retired` travels here where it is a warning; no kind of the format."""
_KINDS: tuple[tuple[Severity, tuple[str, ...]], ...] = (
    ("error", TAMPERED_KINDS),
    ("incomplete", INCOMPLETE_KINDS),
    ("warning", WARNING_KINDS),
)
_ORDER: tuple[tuple[str, Severity], ...] = tuple((kind, severity) for severity, kinds in _KINDS for kind in kinds)
_RANK: dict[tuple[str, str], int] = {entry: rank for rank, entry in enumerate(_ORDER)}


class Conclusion:
    """Collects findings and counts, and puts them in order."""

    def __init__(
        self, checks: Mapping[str, StreamCheck], streams: Streams, terms: Terms, service: str | None
    ) -> None:
        self._terms = terms
        self._streams = streams
        self._service = service
        self._findings: dict[tuple[str, Severity, str | None, int | None], Finding] = {}
        self._checks = {
            stream: check
            for stream, check in checks.items()
            if not streams.is_excluded(check) and (service is None or not _is_of_another(check, service))
        }
        self._others = checks.keys() - self._checks.keys()
        for check in self._checks.values():
            self._take_notes(check)
        streams.judge(self._checks, self.report)

    def take_tallies(self, tallies: Iterable[Tally]) -> None:
        """Report bodies that are no records."""
        malformed = [tally for tally in tallies if tally.malformed]
        if malformed:
            count = sum(tally.malformed for tally in malformed)
            self.report("malformed", None, None, malformed[0].first, count)
        unsupported = sum(tally.unsupported for tally in tallies)
        if unsupported:
            self.report("unsupported", None, None, "records of a later schema; use a newer version", unsupported)

    def report(self, kind: str, stream: str | None, seq: int | None, message: str, count: int) -> None:
        """Take a finding; one of the same kind at the same place adds to its count."""
        if stream in self._others:
            return
        severity = _severity(kind)
        if kind == _RETIRED_DELIVERED:
            kind = "retired"
        key = (kind, severity, stream, seq)
        known = self._findings.get(key)
        if known is not None:
            message, count = known.message, known.count + count
        self._findings[key] = Finding(kind, stream, seq, severity, count, message)

    def verdict(self, trust: tuple[Issuer, ...]) -> Verdict:
        """Put everything in order."""
        checks = sorted(self._checks.values(), key=lambda check: (_opened(check), check.stream))
        place = {check.stream: at for at, check in enumerate(checks, 1)}

        def order(finding: Finding) -> tuple[bool, int, str, int, int]:
            stream = finding.stream
            at = 0 if stream is None else place.get(stream, len(checks) + 1)
            rank = _RANK[finding.kind, finding.severity]
            return finding.severity == "warning", at, stream or "", finding.seq or 0, rank

        findings = sorted(self._findings.values(), key=order)
        tampered = {finding.stream for finding in findings if finding.severity == "error"}
        incomplete = {finding.stream for finding in findings if finding.severity == "incomplete"}
        status: Status = "verified"
        if tampered:
            status = "tampered"
        elif incomplete:
            status = "incomplete"
        elif not checks:
            status = "empty"
        pending = adopted = 0
        for check in checks:
            is_recovered = self._streams.is_recovered(check)
            pending += check.future + (check.tail.future if check.closed_at else 0)
            if is_recovered:
                adopted += check.tail.records
            elif check.closed_at is None:
                pending += check.tail.records
        return Verdict(
            status=status,
            scope="window" if self._terms.is_window else "whole",
            checked_at=self._terms.now,
            records=sum(check.records for check in checks),
            pending=pending,
            adopted=adopted,
            streams=tuple(self._stream_verdict(check, tampered, incomplete) for check in checks),
            findings=tuple(findings),
            trust=trust,
        )

    def _take_notes(self, check: StreamCheck) -> None:
        path = None if check.opening is None else check.opening.path
        if path is not None:
            if path.anchor is None and self._terms.anchors:
                message = "the stream's certificate leads to no issuer that is trusted"
                self.report("untrusted-key", check.stream, 1, message, 1)
            if path.fault is not None:
                self.report("wrong-certificate", check.stream, 1, path.fault, 1)
        for kind, notes in check.notes.by_kind.items():
            if kind in ("clock-outside-certificate", "late-seal", "clock-step"):
                first, count = notes[0], sum(note.count for note in notes)
                self.report(kind, check.stream, first.seq, first.message, count)
            else:
                for note in notes:
                    self.report(kind, check.stream, note.seq, note.message, note.count)

    def _stream_verdict(
        self, check: StreamCheck, tampered: set[str | None], incomplete: set[str | None]
    ) -> StreamVerdict:
        verdict: Status = "verified"
        if check.stream in tampered:
            verdict = "tampered"
        elif check.stream in incomplete:
            verdict = "incomplete"
        return StreamVerdict(
            stream=check.stream,
            service=check.service,
            first_seq=check.first_seq,
            last_seq=check.last_seq,
            records=check.records,
            sealed=check.signed_seq,
            closed=check.closed_at is not None,
            recovered=self._streams.is_recovered(check),
            opened=None if check.opening is None else check.opening.opened,
            last_observed=check.last_observed or None,
            verdict=verdict,
        )


def _severity(kind: str) -> Severity:
    if kind in TAMPERED_KINDS:
        return "error"
    return "incomplete" if kind in INCOMPLETE_KINDS else "warning"


def _is_of_another(check: StreamCheck, service: str) -> bool:
    """Whether *check* is of another service by an issuer's word; what an open merely says anybody can write."""
    return check.is_good and check.is_open_signed and check.service != service


def _opened(check: StreamCheck) -> str:
    return "" if check.opening is None else check.opening.opened
