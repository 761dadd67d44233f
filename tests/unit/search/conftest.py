"""Well-formed records of one's choice; nothing here is chained or signed, which searching does not ask."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from otel_audit.evidence.canonical import decode, encode
from otel_audit.evidence.record import problem

STREAM = "a" * 32
TRACE = "1" * 32
SPAN = "2" * 16


class MakeRecord(Protocol):
    """The factory's signature."""

    def __call__(self, seq: int, **members: Any) -> bytes: ...


@pytest.fixture
def record() -> MakeRecord:
    """Makes the body of a record: `record(7, actor="alice", trace_id=None)`."""

    def make(seq: int, **members: Any) -> bytes:
        time = f"2026-11-23T15:00:{seq:02d}.000000000Z"
        actor = members.pop("actor", "alice")
        whole: dict[str, Any] = {
            "schema": "otel-audit/1",
            "stream": STREAM,
            "seq": seq,
            "prev": "0" * 64,
            "time": time,
            "observed": members.get("time", time),
            "event": "db.query",
            "actor": {"id": actor, "type": "user"} if isinstance(actor, str) else actor,
            "action": "READ",
            "outcome": "success",
            "target": {"id": "customers", "type": "db.table"},
            "trace_id": TRACE,
            "span_id": SPAN,
            **members,
        }
        kept = {name: value for name, value in whole.items() if value is not None}
        body = encode(kept)
        parsed = decode(body)
        assert parsed is not None
        assert problem(parsed) is None
        return body

    return make
