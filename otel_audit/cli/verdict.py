"""A verdict on paper: the answer first, then each stream, each finding explained, and whose word it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_audit.cli.explanations import FINDINGS, WARNINGS, Explanation
from otel_audit.cli.printed import json_line, printable, shortened
from otel_audit.cli.reading import Reading
from otel_audit.cli.terminal import say
from otel_audit.verify.verdict import Finding, Issuer, Status, StreamVerdict, Verdict

STYLES: dict[Status, str] = {
    "verified": "bold green",
    "tampered": "bold red",
    "incomplete": "bold yellow",
    "empty": "bold",
}
SHOWN_STREAMS = 20
"""Rows of verified streams, the newest; `--json` lists them all."""
SHOWN_UNSOUND = 100
"""Rows of streams with another verdict, the oldest."""
SHOWN_FINDINGS = 10
"""Places listed for each kind of finding; `--json` lists them all."""


_KEY_IS_HERE = (
    "Its private key lies on this machine: whoever controls the machine can sign in its name. "
    "What others hold (a second copy, a witness) is what such a one cannot rewrite."
)


def json_parts(verdict: Verdict, reading: Reading) -> Iterator[str]:
    """The document that `verify --json` prints, piece by piece: of a million streams it has 250 MB."""
    head = {
        "verdict": verdict.status,
        "scope": verdict.scope,
        "checked_at": verdict.checked_at,
        "records": verdict.records,
        "pending": verdict.pending,
        "adopted": verdict.adopted,
    }
    yield json_line(head)[:-1]
    yield from _array("streams", map(_stream_json, verdict.streams))
    yield from _array("findings", map(_finding_json, verdict.findings))
    yield from _array("trust", (_issuer_json(issuer, reading) for issuer in verdict.trust))
    yield "}\n"


def _array(name: str, elements: Iterable[dict[str, Any]]) -> Iterator[str]:
    between = f',"{name}":['
    for element in elements:
        yield between + json_line(element)
        between = ","
    yield "]" if between == "," else between + "]"


def _stream_json(stream: StreamVerdict) -> dict[str, Any]:
    return {
        "stream": stream.stream,
        "service": stream.service,
        "first_seq": stream.first_seq,
        "last_seq": stream.last_seq,
        "records": stream.records,
        "sealed": stream.sealed,
        "closed": stream.closed,
        "opened": stream.opened,
        "last_observed": stream.last_observed,
        "verdict": stream.verdict,
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "stream": finding.stream,
        "seq": finding.seq,
        "count": finding.count,
        "message": finding.message,
    }


def _issuer_json(issuer: Issuer, reading: Reading) -> dict[str, Any]:
    document: dict[str, Any] = {"subject": issuer.subject, "sha256": issuer.sha256}
    return {**document, "private_key_here": True} if _is_held_here(issuer, reading) else document


def _is_held_here(issuer: Issuer, reading: Reading) -> bool:
    return any(held.fingerprint(hashes.SHA256()).hex() == issuer.sha256 for held in reading.private_keys_here)


def print_verdict(console: Console, verdict: Verdict, reading: Reading) -> None:
    """Write *verdict* for people."""
    print_headline(console, verdict)
    for line in _remarks(verdict, reading):
        say(console, Text(line))
    if verdict.streams:
        console.print(_streams(verdict, console.width))
    services = {stream.stream: stream.service for stream in verdict.streams}
    for severity, title in (
        ("error", "Tampered with"),
        ("incomplete", "Cannot be shown"),
        ("warning", "Worth knowing"),
    ):
        findings = [finding for finding in verdict.findings if finding.severity == severity]
        if findings:
            console.print(Text(f"\n{title}", style="bold"))
            _print_findings(console, findings, services)
    if verdict.status != "empty":
        _print_trust(console, verdict, reading)


def print_headline(console: Console, verdict: Verdict) -> None:
    """Write the answer in one sentence, in words that need no knowledge of the format; in a pipe it is one line."""
    said = Text().append(verdict.status.upper(), style=STYLES[verdict.status]).append(f": {_answer(verdict)}")
    if console.is_terminal:
        say(console, said)
    else:
        console.print(said, soft_wrap=True)


def _answer(verdict: Verdict) -> str:
    match verdict.status:
        case "verified":
            whole = (
                "whole and unaltered" if verdict.scope == "whole" else "unaltered and without gaps in this period"
            )
            return f"{_records(verdict)}, {whole}"
        case "empty":
            return "no record at all"
        case "tampered":
            return _first(verdict, "error")
        case "incomplete":
            is_vouched_for = all(finding.kind != "no-trust" for finding in verdict.findings)
            return _first(verdict, "incomplete") + ("; what is here shows no change" if is_vouched_for else "")


def _records(verdict: Verdict) -> str:
    checked = verdict.records - verdict.pending - verdict.adopted
    return f"{_count(checked, 'record')} in {_count(len(verdict.streams), 'stream')}"


def _first(verdict: Verdict, severity: str) -> str:
    findings = [finding for finding in verdict.findings if finding.severity == severity]
    if not findings:
        return "no finding is given"
    rest = len(findings) - 1
    more = f" (and {_count(rest, 'more finding')})" if rest else ""
    return printable(_sentence(findings[0])) + more


def _sentence(finding: Finding) -> str:
    where = f"stream {finding.stream[:8]}: " if finding.stream else ""
    return f"{where}{finding.message or finding.kind}"


def _remarks(verdict: Verdict, reading: Reading) -> Iterable[str]:
    if not verdict.streams:
        read = ", ".join(reading.names) or "the local spool, which does not exist yet"
        yield f"Nothing was found in {printable(read)}."
        return
    if verdict.status != "verified":
        yield f"Read: {_count(verdict.records, 'record')} in {_count(len(verdict.streams), 'stream')}."
    if verdict.pending:
        yield (
            f"{_count(verdict.pending, 'record')} pending: not vouched for yet, as no seal covers them so far, or "
            f"they say to be of later than {_second(verdict.checked_at)} (a clock that is ahead)."
        )
    if verdict.adopted:
        yield f"{_count(verdict.adopted, 'record')} adopted after a crash: kept by the machine alone until then."
    if verdict.scope == "window":
        yield "This is the verdict on the period asked for, not on the whole log."


def _streams(verdict: Verdict, width: int) -> Table:
    unsound = [stream for stream in verdict.streams if stream.verdict != "verified"]
    sound = [stream for stream in verdict.streams if stream.verdict == "verified"]
    shown = unsound[:SHOWN_UNSOUND] + sound[-SHOWN_STREAMS:]
    is_wide = width >= 140  # the columns below with their longest words; squeezed, the verdict is cut off first
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("stream", "service"):
        table.add_column(name, no_wrap=True)
    table.add_column("records", justify="right", no_wrap=True)
    if is_wide:
        table.add_column("sealed to", justify="right", no_wrap=True)
        table.add_column("first record (UTC)", no_wrap=True)
    for name in ("last record (UTC)", "end", "verdict"):
        table.add_column(name, no_wrap=True)
    for stream in shown:
        table.add_row(*_row(stream, is_wide=is_wide))
    if len(shown) < len(verdict.streams):
        table.caption = f"… and {_count(len(verdict.streams) - len(shown), 'more stream')}; --json lists them"
        table.caption_justify = "left"
    return table


def _row(stream: StreamVerdict, *, is_wide: bool) -> list[Text]:
    cells = [
        Text(stream.stream if is_wide else stream.stream[:8]),
        Text(shortened(printable(stream.service or "?"), 24 if is_wide else 12)),
        Text(f"{stream.records:,}"),
    ]
    if is_wide:
        cells += [Text(f"{stream.sealed:,}"), Text(_second(stream.opened))]
    return [
        *cells,
        Text(_second(stream.last_observed)),
        Text("closed" if stream.closed else "recovered" if stream.recovered else "open"),
        Text(stream.verdict, style=STYLES[stream.verdict]),
    ]


def _second(time: str | None) -> str:
    return printable(time[:19].replace("T", " ")) if time else "?"


def _print_findings(console: Console, findings: Sequence[Finding], services: dict[str, str | None]) -> None:
    by_kind: dict[str, list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    for kind, alike in by_kind.items():
        severity = alike[0].severity
        style = {"error": "bold red", "incomplete": "bold yellow", "warning": "bold"}[severity]
        explanation = (WARNINGS if severity == "warning" else FINDINGS).get(kind, Explanation("", ""))
        say(console, Text(printable(kind), style=style), 2)
        for finding in alike[:SHOWN_FINDINGS]:
            say(console, Text(_place(finding, services)), 4)
        if len(alike) > SHOWN_FINDINGS:
            say(console, Text(f"… and {len(alike) - SHOWN_FINDINGS:,} more; --json lists them"), 4)
        for label, text in (("means", explanation.means), ("do", explanation.do)):
            if text:
                say(console, Text(f"{label}: {text}", style="dim"), 4)


def _place(finding: Finding, services: dict[str, str | None]) -> str:
    place = ""
    if finding.stream is not None:
        service = services.get(finding.stream)
        place = f"stream {finding.stream}" + (f" of {service}" if service else "")
        says_seq = finding.seq is None or finding.message.startswith(f"record {finding.seq} ")
        place += ": " if says_seq else f", record {finding.seq}: "
    times = f" ({_count(finding.count, 'record')})" if finding.count > 1 else ""
    return printable(f"{place}{finding.message or finding.kind}") + times


def _print_trust(console: Console, verdict: Verdict, reading: Reading) -> None:
    console.print()
    if not verdict.trust:
        say(console, Text("Rests on nobody's word: no trusted issuer stands behind these records."))
    for issuer in verdict.trust:
        say(console, Text(f"Rests on the word of {printable(issuer.subject)}"))
        say(console, Text(f"SHA-256 {issuer.sha256}", style="dim"), 2)
        if _is_held_here(issuer, reading):
            say(console, Text(_KEY_IS_HERE, style="yellow"), 2)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
