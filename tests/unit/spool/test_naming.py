"""Which streams a new one names, where one of them cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_audit.event import AuditEvent
from tests.crashed import crash

from .conftest import Process, records

EVENT = AuditEvent("invoice.read", "READ", "success")


def crashed(process: Process) -> str:
    """The stream of one more process, which another one still has to end."""
    pipeline = process()
    pipeline.record(EVENT)
    return crash(pipeline)


def test_a_stream_that_cannot_be_read_keeps_no_other_from_being_named(
    process: Process, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    siblings = {crashed(process) for _ in range(3)}
    unreadable = sorted(siblings)[1]
    segment = spool / "shop" / unreadable / "000000000001.jsonl"
    held = segment.rename(segment.with_name("held"))
    segment.symlink_to(segment.name)  # ELOOP, also to root
    newest = process()
    stream = newest.record(EVENT).stream

    newest.keeper.tick()

    assert named(spool, stream) == siblings - {unreadable}
    assert "cannot be named" in caplog.text
    assert "no event is lost" in caplog.text

    held.replace(segment)
    newest.keeper.tick()

    assert named(spool, stream) == siblings
    assert "every stream of this service can be named" in caplog.text


def named(spool: Path, stream: str) -> set[str]:
    references = [
        reference
        for record in records(spool, stream)
        if record["event"] == "audit.stream.linked"
        for reference in record["context"]["audit.predecessors"]
    ]
    assert len(set(references)) == len(references)
    return {reference.split(":")[0] for reference in references}
