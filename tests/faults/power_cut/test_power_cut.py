"""A power cut at any moment of a real run: every prefix of what it did, and what POSIX lets be lost of it.

`OTEL_AUDIT_TEST_POWER_CUTS` is how many states of each run are tried, 60 unless it is set. `all` takes every
prefix, each with every extreme of loss and with some by chance.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.autoload.servers import clean_environment
from tests.faults.power_cut.aftermath import Promise, broken
from tests.faults.power_cut.disk import EXTREMES, Chance, Contents, Disk, Loss, Tree
from tests.faults.power_cut.recording import Operation, is_available, record

pytestmark = pytest.mark.skipif(bool(is_available()), reason=is_available())

_ASKED = os.environ.get("OTEL_AUDIT_TEST_POWER_CUTS", "60")
STATES = None if _ASKED == "all" else int(_ASKED)

PRELUDE = """
import os, sys
import otel_audit
from otel_audit.logger import installed
acks = os.open(os.environ["ACKS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
otel_audit.configure()
audit = otel_audit.get_audit_logger("test")
def emit(count, size=700):
    for _ in range(count):
        receipt = audit.emit("item.read", action="READ", context={"text": "x" * size})
        assert receipt.recorded
        # what else could tell the order in which the two happened?
        os.write(acks, f"{receipt.stream} {receipt.seq} {receipt.record_hash}\\n".encode())
def tick():
    installed().keeper.tick()
otel_audit.login_failed("mallory")
"""

SETTINGS = {
    "OTEL_AUDIT_SEAL_RECORDS": "8",
    "OTEL_AUDIT_HEARTBEAT_INTERVAL": "300s",  # so that no promise of a next seal falls due while states are tried
    "OTEL_AUDIT_SPOOL_RESERVE": "1MiB",
}


PLAIN = "emit(30)\notel_audit.shutdown()\n"
CRASHED = "emit(21)\nos._exit(0)\n"
ROTATING = """
for _ in range(4):
    emit(10)
    tick()
otel_audit.shutdown()
"""
TWO_PROCESSES = """
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        emit(12)
        otel_audit.shutdown()
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
otel_audit.shutdown()
"""
RECOVERING = """
emit(3)
tick()
installed().keeper.recover()
emit(3)
otel_audit.shutdown()
"""
EXPORTING = """
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
sunk = os.open(os.environ["SUNK"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        message = ExportLogsServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        bodies = [r.body.string_value for l in message.resource_logs for s in l.scope_logs for r in s.log_records]
        is_refused = any('"refused"' in body for body in bodies)
        if not is_refused:
            os.write(sunk, "".join(body + "\\n" for body in bodies).encode())
        self.send_response(400 if is_refused else 200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
sink = HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Sink)
threading.Thread(target=sink.serve_forever, daemon=True).start()
for number in range(3):
    audit.emit("item.read", action="READ", context={"text": "refused" if number == 1 else "taken"})
    emit(9)
    assert audit.emit("item.read", action="READ").wait_delivered(60.0)
otel_audit.shutdown(30.0)
"""


@dataclass
class Run:
    """One recorded run."""

    operations: list[Operation]
    disk: Disk
    root: Path
    before: frozenset[bytes]
    """Lines that must be there even where no operation of this run made them durable."""

    def promises(self, *, always: bool, **settings: str) -> Iterator[Promise]:
        """One for each state that is to be tried."""
        whole = {
            hashlib.sha256(line).hexdigest(): line
            for line in self.disk.written_lines(len(self.operations), ".jsonl")
        }
        given = tuple({**SETTINGS, **settings}.items())
        seen: set[tuple[Tree, frozenset[bytes]]] = set()
        for cut, loss, what in self._losses():
            kept = self.disk.durable_lines(cut, ".jsonl") | self.before
            if always:
                kept |= {whole[ack.split()[2].decode()] for ack in self._lines("acks", cut)}
            tree = self.disk.after(cut, loss)
            if (tree, frozenset(kept)) not in seen:
                seen.add((tree, frozenset(kept)))
                yield Promise(tree, frozenset(kept), tuple(self._lines("sunk", cut)), given, what)

    def _losses(self) -> Iterator[tuple[int, Loss, str]]:
        cuts = range(len(self.operations) + 1)
        every = [(cut, loss, f"{loss!r} after {cut}") for cut in cuts for loss in EXTREMES]
        every += [
            (cut, Chance(seed), f"Chance({seed}) after {cut}") for cut in cuts for seed in range(cut, cut + 8)
        ]
        yield from every if STATES is None else random.Random(len(every)).sample(every, min(len(every), STATES))

    def _lines(self, name: str, cut: int) -> list[bytes]:
        path = str(self.root.parent / name)
        written = b"".join(
            operation.data
            for operation in self.operations[:cut]
            if operation.kind == "write" and operation.path == path
        )
        return written.split(b"\n")[:-1]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What the recorded disk holds; the state directory is made in it."""
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def environment(root: Path, **variables: str) -> dict[str, str]:
    beside = {"ACKS": str(root.parent / "acks"), "SUNK": str(root.parent / "sunk")}
    return {**clean_environment(root / "state"), **SETTINGS, **beside, **variables}


def run(root: Path, program: str, before: frozenset[bytes] = frozenset(), **variables: str) -> Run:
    """Record *program* on whatever *root* holds."""
    disk = Disk(root)
    operations = record(
        [sys.executable, "-c", PRELUDE + program],
        environment(root, **variables),
        root.parent,
        below=[root, root.parent / "acks", root.parent / "sunk"],
    )
    for operation in operations:
        disk.apply(operation)
    return Run(operations, disk, root, before)


def prepare(root: Path, program: str, **variables: str) -> None:
    """Run *program* on *root* to its end, unrecorded."""
    subprocess.run([sys.executable, "-c", PRELUDE + program], env=environment(root, **variables), check=True)


def lines(root: Path) -> frozenset[bytes]:
    """Every record that lies on the disk."""
    return frozenset(line for path in root.glob("*/*/*/*.jsonl") for line in path.read_bytes().split(b"\n")[:-1])


@pytest.fixture(scope="module")
def power() -> Iterator[ProcessPoolExecutor]:
    """Processes in which the product starts, again and again."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


def try_all(power: ProcessPoolExecutor, promises: Iterable[Promise]) -> None:
    """Every promise is kept."""
    results = list(power.map(broken, promises, chunksize=16))
    wrong = [result for result in results if result]
    assert not wrong, f"{len(wrong)} of {len(results)}:\n" + "\n".join(wrong[:20])
    assert len(results) > 20  # many a loss comes to the same


@pytest.mark.parametrize("fsync", ["always", "interval"])
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(PLAIN, id="an orderly end"),
        pytest.param(CRASHED, id="a crash"),
        pytest.param(ROTATING, id="rotation"),
        pytest.param(TWO_PROCESSES, id="two processes"),
    ],
)
def test_what_was_promised_outlives_a_power_cut(
    program: str, fsync: str, root: Path, power: ProcessPoolExecutor
) -> None:
    recorded = run(root, program, OTEL_AUDIT_FSYNC=fsync, OTEL_AUDIT_STREAM_MAX_RECORDS="15")
    try_all(power, recorded.promises(always=fsync == "always"))


def test_a_power_cut_while_a_crashed_stream_is_ended_leaves_one_end_of_it(
    root: Path, power: ProcessPoolExecutor
) -> None:
    for _ in range(2):
        prepare(root, CRASHED)
    recorded = run(root, RECOVERING, before=lines(root))
    try_all(power, recorded.promises(always=False))


def test_a_power_cut_while_what_an_earlier_one_left_is_put_in_order(root: Path, power: ProcessPoolExecutor) -> None:
    """The first one left a hole in the records, and whole lines behind it."""
    first = run(root, CRASHED)
    tree = first.disk.after(len(first.operations), Contents("last"))
    shutil.rmtree(root / "state")
    tree.write(root)
    recorded = run(root, RECOVERING, before=frozenset(first.disk.durable_lines(len(first.operations), ".jsonl")))
    assert any(
        operation.path.endswith(".torn") or operation.to.endswith(".torn") for operation in recorded.operations
    )
    try_all(power, recorded.promises(always=False))


def test_a_power_cut_while_streams_are_retired(root: Path, power: ProcessPoolExecutor) -> None:
    for _ in range(3):
        prepare(root, "emit(3)\notel_audit.shutdown()\n")
    recorded = run(root, "emit(3)\ntick()\notel_audit.shutdown()\n", OTEL_AUDIT_LOCAL_RETENTION="1ms")
    assert any("/retiring-" in operation.to for operation in recorded.operations)
    promises = recorded.promises(always=False, OTEL_AUDIT_LOCAL_RETENTION="1ms")
    try_all(power, (replace(promise, kept=frozenset()) for promise in promises))


def test_what_had_left_the_machine_is_known_to_what_a_power_cut_leaves_and_nothing_else_counts_as_delivered(
    root: Path, power: ProcessPoolExecutor
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    recorded = run(
        root,
        EXPORTING,
        PORT=str(port),
        OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        OTEL_AUDIT_FSYNC="never",
    )
    assert any("/quarantine/" in operation.path for operation in recorded.operations)
    try_all(power, recorded.promises(always=False))
