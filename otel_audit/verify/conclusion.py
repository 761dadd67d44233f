"""From findings to the verdict: order, severity, counts, one status a stream and one over all."""

from __future__ import annotations

from collections.abc import Iterable

from otel_audit.verify.ended import ReadStream
from otel_audit.verify.reading import Tally
from otel_audit.verify.resolve import Streams
from otel_audit.verify.standing import Terms
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

    def __init__(self, checks: dict[str, ReadStream], streams: Streams, terms: Terms, service: str | None) -> None:
        """Judge *checks*, which this takes over: `verdict` empties it, so that no stream is kept twice."""
        self._terms = terms
        self._streams = streams
        self._service = service
        self._findings: dict[tuple[str, Severity, str | None, int | None], Finding] = {}
        self._others = {
            stream
            for stream, check in checks.items()
            if streams.is_excluded(check) or (service is not None and _is_of_another(check, service))
        }
        self._all = checks
        self._checks = (
            {stream: check for stream, check in checks.items() if stream not in self._others}
            if self._others
            else checks
        )
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
        """Put everything in order; once."""
        checks = sorted(self._checks.values(), key=lambda check: check.stream)
        checks.sort(key=_opened)
        concerned = {finding.stream for finding in self._findings.values()}
        place = {check.stream: at for at, check in enumerate(checks, 1) if check.stream in concerned}
        count = len(checks)

        def order(finding: Finding) -> tuple[bool, int, str, int, int]:
            stream = finding.stream
            at = 0 if stream is None else place.get(stream, count + 1)
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
        recovered = {check.stream for check in checks if self._streams.is_recovered(check)}
        self._all.clear()
        self._checks.clear()
        self._findings.clear()
        pending = adopted = records = 0
        streams: list[StreamVerdict] = []
        checks.reverse()
        while checks:
            check = checks.pop()
            records += check.records
            tail_records, tail_future = (check.tail.records, check.tail.future) if check.tail else (0, 0)
            pending += check.future + (tail_future if check.closed_at else 0)
            if check.stream in recovered:
                adopted += tail_records
            elif check.closed_at is None:
                pending += tail_records
            verdict: Status = "verified"
            if check.stream in tampered:
                verdict = "tampered"
            elif check.stream in incomplete:
                verdict = "incomplete"
            streams.append(_stream_verdict(check, verdict, is_recovered=check.stream in recovered))
        return Verdict(
            status=status,
            scope="window" if self._terms.is_window else "whole",
            checked_at=self._terms.now,
            records=records,
            pending=pending,
            adopted=adopted,
            streams=tuple(streams),
            findings=tuple(findings),
            trust=trust,
        )

    def _take_notes(self, check: ReadStream) -> None:
        if check.opened is not None:
            if check.anchor is None and self._terms.anchors:
                message = "the stream's certificate leads to no issuer that is trusted"
                self.report("untrusted-key", check.stream, 1, message, 1)
            if check.fault is not None:
                self.report("wrong-certificate", check.stream, 1, check.fault, 1)
        for note in check.notes:
            self.report(note.kind, check.stream, note.seq, note.message, note.times)


def _severity(kind: str) -> Severity:
    if kind in TAMPERED_KINDS:
        return "error"
    return "incomplete" if kind in INCOMPLETE_KINDS else "warning"


def _is_of_another(check: ReadStream, service: str) -> bool:
    """Whether *check* is of another service by an issuer's word; what an open merely says anybody can write."""
    return check.is_good and check.is_open_signed and check.service != service


def _opened(check: ReadStream) -> str:
    return check.opened or ""


def _stream_verdict(check: ReadStream, verdict: Status, *, is_recovered: bool) -> StreamVerdict:
    return StreamVerdict(
        stream=check.stream,
        service=check.service,
        first_seq=check.first_seq,
        last_seq=check.last_seq,
        records=check.records,
        sealed=check.signed_seq,
        closed=check.closed_at is not None,
        recovered=is_recovered,
        opened=check.opened,
        last_observed=check.last_observed or None,
        verdict=verdict,
    )
