"""What is altered between a crash and the next start: ending the stream hides none of it from the verifier.

No key is needed for it, and nothing else holds the end of the stream. What the page concedes is pinned too: whoever
can write there can take from the end, or add to it, and that is said as torn or adopted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from otel_audit.event import Actor, AuditEvent, Target
from otel_audit.evidence.identity import local_issuers
from otel_audit.sources import read_directory
from otel_audit.spool.ends import read_end
from otel_audit.spool.layout import segments
from otel_audit.testing import FixedClock
from otel_audit.verify import Verdict, verify
from tests.crashed import crash

from .conftest import Process

NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""What `FixedClock` says."""

Lines = list[bytes]
Edit = Callable[[Lines], Lines]


def event(number: int) -> AuditEvent:
    return AuditEvent(
        "invoice.read",
        "READ",
        "success",
        Actor("mallory", "user", "session"),
        Target(f"invoice/{number}", "invoice"),
    )


def changed(line: bytes, **members: object) -> bytes:
    return orjson.dumps({**orjson.loads(line), **members}, option=orjson.OPT_SORT_KEYS)


def without(number: int) -> Edit:
    return lambda lines: lines[:number] + lines[number + 1 :]


def put(number: int, line: Callable[[bytes], bytes]) -> Edit:
    return lambda lines: [*lines[:number], line(lines[number]), *lines[number + 1 :]]


def innocent(line: bytes) -> bytes:
    return line.replace(b"mallory", b"nobody1")


ALTERED: dict[str, tuple[Edit, str]] = {
    "the open removed": (without(0), "missing"),
    "the policy removed": (without(1), "missing"),
    "an event removed": (without(3), "missing"),
    "events removed": (lambda lines: lines[:3] + lines[6:], "missing"),
    "all but the last removed": (lambda lines: lines[-1:], "missing"),
    "the open edited": (put(0, lambda line: line.replace(b'"shop"', b'"shoq"', 1)), "bad-signature"),
    "the policy edited": (put(1, lambda line: line.replace(b"rules", b"ruels", 1)), "malformed"),
    "an event edited": (put(3, innocent), "altered"),
    "an event edited and numbered anew": (put(3, lambda line: changed(line, seq=99)), "missing"),
    "an event no JSON": (put(3, lambda line: line[:-1]), "malformed"),
    "an event of another stream": (put(3, lambda line: changed(line, stream="cd" * 16)), "missing"),
    "an event copied with other content": (lambda lines: [*lines, innocent(lines[3])], "forked"),
    "a signature of nobody's": (lambda lines: [*lines, changed(lines[-1], sig="A" * 86)], "forked"),
    "a line that is none": (lambda lines: [*lines, b"{}"], "malformed"),
    "a line of nonsense in front": (lambda lines: [b"nonsense", *lines], "malformed"),
    "a line far above": (lambda lines: [*lines, changed(lines[-1], seq=1000)], "missing"),
    "begun again behind": (lambda lines: [*without(3)(lines), lines[0], lines[1]], "missing"),
    "the last one again, others gone": (lambda lines: [*without(3)(lines), lines[-1]], "missing"),
}
UNALTERED: dict[str, Edit] = {
    "nothing": lambda lines: lines,
    "begun again behind": lambda lines: [*lines, lines[0], lines[1]],
    "an early one again": lambda lines: [*lines, lines[3]],
    "the other way round": lambda lines: lines[::-1],
}
"""Byte-identical duplicates are harmless, and a verifier orders by number."""


def ended_after(edit: Edit, process: Process, spool: Path) -> tuple[str, Verdict]:
    """A process of seven events is killed, its records are altered, and the next one starts."""
    crashed = process()
    for number in range(7):
        crashed.record(event(number))
    stream = crash(crashed)
    (path,) = segments(spool / "shop" / stream)
    path.write_bytes(b"".join(line + b"\n" for line in edit(path.read_bytes().splitlines())))
    later = process()
    later.keeper.recover()
    later.record(event(100))
    later.keeper.tick()
    later.shutdown(1)
    return stream, verify([read_directory(spool)], trust=local_issuers(spool), now=NOW)


def adopted(verdict: Verdict, stream: str) -> int:
    """Records of the stream that no signature of its own covers."""
    (found,) = (one for one in verdict.streams if one.stream == stream)
    return found.records - found.sealed


@pytest.mark.parametrize("name", ALTERED)
def test_what_was_altered_between_a_crash_and_the_next_start_is_named(
    name: str, process: Process, spool: Path
) -> None:
    edit, finding = ALTERED[name]

    _, verdict = ended_after(edit, process, spool)

    assert verdict.status == "tampered"
    assert finding in [found.kind for found in verdict.findings]


@pytest.mark.parametrize("name", UNALTERED)
def test_what_holds_every_record_once_more_or_in_another_order_is_whole(
    name: str, process: Process, spool: Path
) -> None:
    stream, verdict = ended_after(UNALTERED[name], process, spool)

    assert verdict.status == "verified"
    assert adopted(verdict, stream) == 7


def test_an_alteration_is_said_aloud_and_stays_as_it_is(
    process: Process, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stream, _ = ended_after(without(3), process, spool)

    (said,) = (record for record in caplog.records if "altered" in record.getMessage())
    assert said.levelno == logging.ERROR
    assert str(spool / "shop" / stream) in said.getMessage()
    assert list((spool / "shop" / stream).glob("*.torn")) == []
    end = read_end(spool / "shop" / stream)
    assert end is not None
    assert (end.how, end.seq) == ("altered", 9)


def test_a_stream_of_which_no_line_is_a_record_is_kept_for_ever(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    stream, verdict = ended_after(lambda _: [b"not", b"a record"], process, spool)
    assert [found.kind for found in verdict.findings if found.severity != "warning"][:1] == ["malformed"]

    clock.advance(90 * 86_400)
    keeping = process(OTEL_AUDIT_LOCAL_RETENTION="1d")
    keeping.record(event(0))
    keeping.keeper.tick()

    assert (spool / "shop" / stream / "000000000001.jsonl").read_bytes() == b"not\na record\n"


@pytest.mark.parametrize("kept", [2, 3, 8])
def test_a_cut_at_the_end_of_a_crashed_stream_is_what_the_page_concedes(
    kept: int, process: Process, spool: Path
) -> None:
    """Known limit: nothing else holds the end of a stream whose process died; a witness or an export would."""
    stream, verdict = ended_after(lambda lines: lines[:kept], process, spool)

    assert verdict.status == "verified"
    assert adopted(verdict, stream) == kept - 2
