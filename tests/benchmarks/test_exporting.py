"""How many instructions a record costs that is encoded for OTLP, counted as in `test_opcodes.py`, same margin."""

from __future__ import annotations

import sys
from typing import Any

import orjson
import pytest

from benchmarks.emit import CONTEXT
from otel_audit.export.encoding import Encoder
from tests.archives import Archive
from tests.benchmarks.opcodes import executed

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or sys.implementation.name != "cpython",
    reason="the counts are those of CPython 3.11: every version compiles to other instructions",
)

RECORDS = 64


def test_a_record_is_encoded_in_so_many_instructions() -> None:
    """Found: 644, of an access whose path and user are new and whose other attributes are known."""
    stream = Archive().stream()
    for number in range(RECORDS):
        stream.event(context={**CONTEXT, "url.path": f"/customers/{number}"})
    bodies = stream.records[1:]
    members: list[dict[str, Any]] = [orjson.loads(body) for body in bodies]
    encoder = Encoder()
    encoder.log_record(bodies[0], members[0])

    def encode() -> None:
        for body, m in zip(bodies[1:], members[1:], strict=True):
            encoder.log_record(body, m)

    assert executed(encode, 1) / (RECORDS - 1) <= 740
