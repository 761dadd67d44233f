"""`kill -9` at any moment: what `emit` accepted is there, and the next process says where the stream ended."""

from __future__ import annotations

import mmap
import random
import struct
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from otel_audit.evidence.identity import local_issuers
from otel_audit.sources import read_directory
from otel_audit.verify import verify

Start = Callable[..., subprocess.Popen[bytes]]
Read = Callable[[], dict[str, list[dict[str, Any]]]]

# The count stands in shared memory, which a killed process cannot take back.
EMITTER = """
import mmap, struct, sys
import otel_audit
with open(sys.argv[1], "r+b") as file:
    counter = mmap.mmap(file.fileno(), 8)
otel_audit.configure()
audit = otel_audit.get_audit_logger("test")
accepted = 0
while True:
    audit.emit("item.update", action="UPDATE", target=otel_audit.Target(str(accepted + 1), "item"))
    accepted += 1
    struct.pack_into("q", counter, 0, accepted)
"""

SUCCESSOR = """
import otel_audit
otel_audit.configure()
otel_audit.get_audit_logger("test").emit("item.read", action="READ")
otel_audit.shutdown()
"""


@pytest.mark.parametrize("attempt", range(5))
def test_kill_at_full_rate_loses_nothing_that_was_accepted(
    attempt: int, start: Start, spool: Path, read: Read, tmp_path: Path
) -> None:
    counter_file = tmp_path / "counter"
    counter_file.write_bytes(bytes(8))
    with counter_file.open("r+b") as file:
        counter = mmap.mmap(file.fileno(), 8)
    enough = random.Random(attempt).randint(1000, 20000)

    process = start(EMITTER, str(counter_file))
    while struct.unpack_from("q", counter)[0] < enough:
        assert process.poll() is None, process.communicate()[1].decode()
    process.kill()
    process.wait()
    accepted: int = struct.unpack_from("q", counter)[0]

    (records,) = read().values()
    items = [record["target"]["id"] for record in records if record["event"] == "item.update"]
    assert items[:accepted] == [str(number) for number in range(1, accepted + 1)]
    assert len(items) <= accepted + 1

    successor = start(SUCCESSOR)
    _, errors = successor.communicate()
    assert (successor.returncode, errors) == (0, b"")
    verdict = verify(
        [read_directory(spool)], trust=local_issuers(spool), now=datetime.now(UTC) + timedelta(seconds=1)
    )
    assert [f for f in verdict.findings if f.severity != "warning"] == []
    assert verdict.status == "verified"
    assert verdict.records == len(records) + len(read()[next(s for s in read() if s != records[0]["stream"])])


RESTARTS = """
import os, sys
import otel_audit
from otel_audit.logger import installed
rounds = int(sys.argv[1])
for _ in range(rounds):
    ready, go = os.pipe()
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(ready, 1)  # both are let go at once
            otel_audit.configure()
            otel_audit.get_audit_logger("test").emit("item.read", action="READ")
            pipeline = installed()
            pipeline.keeper.recover()
            os._exit(0)  # a crash, as far as the stream knows
        children.append(child)
    os.close(ready)
    os.close(go)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
"""


def test_two_processes_at_once_through_a_thousand_restarts_recover_each_stream_once(
    start: Start, spool: Path, read: Read
) -> None:
    """Each round starts two processes at the same moment, which find the two streams of the round before."""
    process = start(RESTARTS, "500")
    _, errors = process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")

    streams = read()
    recovered = [
        record["context"]["audit.recovered.stream"]
        for records in streams.values()
        for record in records
        if record["event"] == "audit.stream.recovered"
    ]
    assert len(streams) == 1000
    assert len(recovered) == len(set(recovered))
    assert len(recovered) >= 998
    verdict = verify([read_directory(spool)], trust=local_issuers(spool))
    assert [f for f in verdict.findings if f.severity != "warning"] == []
