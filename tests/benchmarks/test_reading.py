"""How many instructions a record costs that is read back, counted as in `test_opcodes.py`, with the same margin.

Found: 332 a record of a spool; 1,865 of OTLP-JSON, whose first mebibyte, and so all of it here, is read twice;
1,695 where it had to be sorted, and what differs from a record is looked for before that.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.verify_throughput import append, write_otlp_json
from otel_audit.sources import open_source
from otel_audit.verify import verify
from tests.archives import Archive
from tests.benchmarks.opcodes import executed

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or sys.implementation.name != "cpython",
    reason="the counts are those of CPython 3.11: every version compiles to other instructions",
)

FEW, MANY = 200, 600
"""The difference of the two is divided: what a stream costs is not what a record does."""


def executed_a_record(directory: Path, *, streams: int, is_otlp: bool) -> float:
    counts: dict[int, float] = {}
    for records in (FEW, MANY):
        archive = Archive()
        where = directory / str(records)
        written = [append(archive, records, where) for _ in range(streams)]
        path = where
        if is_otlp:
            bodies = zip(*(file.read_bytes().splitlines() for file in written), strict=True)
            path = directory / f"{records}.otlp.jsonl"
            write_otlp_json([body for in_turn in bodies for body in in_turn], path)
        now = archive.clock.moment + timedelta(seconds=1)

        def work(path: Path = path, archive: Archive = archive) -> None:
            verdict = verify([open_source(str(path))], trust=[archive.issuer.certificate], now=now)  # noqa: B023 - called at once
            assert verdict.status == "verified"

        work()
        counts[records] = executed(work, 1)
    return (counts[MANY] - counts[FEW]) / (MANY - FEW) / streams


@pytest.mark.parametrize(
    ("streams", "is_otlp", "most"),
    [(1, False, 382), (1, True, 2145), (2, True, 1950)],
    ids=["of a spool", "of OTLP-JSON", "of OTLP-JSON that is sorted"],
)
def test_a_record_is_verified_in_so_many_instructions(
    tmp_path: Path, streams: int, is_otlp: bool, most: float
) -> None:
    assert executed_a_record(tmp_path, streams=streams, is_otlp=is_otlp) <= most
