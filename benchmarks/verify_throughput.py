"""How many 800-byte records a second the verifier reads from a spool, a seal every 1,000: one core, then two.

    python benchmarks/verify_throughput.py [records]

Beside it the floor: the least that any Python verifier does with a record (parse, write again, hash, tree). Then a
tenth of the records as the Collector's file exporter leaves them, their attributes compared: of one stream, and of
two in turn, which are sorted first; and what parsing such files takes by itself.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import orjson
from cryptography.x509 import Certificate

from otel_audit.evidence.canonical import encode
from otel_audit.evidence.merkle import Tree
from otel_audit.sources import open_source
from otel_audit.verify import verify
from tests.archives import Archive, Stream, rfc3339
from tests.otlp_json_files import log_record, request

RECORDS = 200_000
SEAL_EVERY = 1_000
ROUNDS = 3
PROCESSES = 2


def write(records: int, directory: Path) -> tuple[Archive, Path]:
    """Write one closed stream below *directory*; chain and tree by our own code: the tests' writer is slow."""
    archive = Archive()
    append(archive, records, directory)
    return archive, directory


def append(archive: Archive, records: int, directory: Path) -> Path:
    """Write another closed stream of *archive* below *directory*; returns its file."""
    stream = archive.stream()
    path = directory / stream.directory / "000000000001.jsonl"
    path.parent.mkdir(parents=True)
    tree = Tree()
    prev = sha256(stream.records[0])
    tree.append(prev.digest())
    with path.open("wb") as file:
        file.write(stream.records[0] + b"\n")
        for seq in range(2, records + 1):
            body = next_record(stream, seq, prev.hexdigest(), tree, is_last=seq == records)
            file.write(body + b"\n")
            prev = sha256(body)
            tree.append(prev.digest())
    return path


def next_record(stream: Stream, seq: int, prev: str, tree: Tree, *, is_last: bool) -> bytes:
    """An event, or a seal or close where one is due."""
    clock = stream.archive.clock
    observed = rfc3339(clock.tick())
    common = {"schema": "otel-audit/1", "stream": stream.id, "seq": seq, "prev": prev, "observed": observed}
    if not is_last and seq % SEAL_EVERY:
        event = {
            "event": "http.server.request",
            "time": rfc3339(clock.now - 3_141_592),
            "actor": {"id": f"user-{seq % 97}", "type": "user", "auth": "session"},
            "action": "READ",
            "target": {"id": f"/customers/{seq % 5000}", "type": "http.endpoint"},
            "outcome": "success",
            "source": {"id": f"198.51.100.{seq % 250}", "type": "ipv4"},
            "trace_id": f"{seq + 1:032x}",
            "span_id": f"{seq + 1:016x}",
            "context": {
                "http.request.method": "GET",
                "http.route": "/customers/<int:number>",
                "http.response.status_code": 200,
                "http.response.body.size": 1234,
                "url.path": f"/customers/{seq % 5000}",
                "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "server.address": "shop.example",
                "network.protocol.version": "1.1",
            },
        }
        return encode({**common, **event})
    seal = {
        "audit.seal.size": seq - 1,
        "audit.seal.root": tree.root().hex(),
        "audit.seal.dropped": 0,
        "audit.seal.skipped": 0,
    }
    ending = {"audit.reason": "shutdown"} if is_last else {"audit.seal.next_by": stream.promise()}
    return stream.signed(
        {
            **common,
            "event": "audit.stream.close" if is_last else "audit.seal",
            "time": observed,
            "actor": {"id": "otel-audit", "type": "system"},
            "action": "EXECUTE",
            "outcome": "success",
            "context": {**seal, **ending},
        }
    )


def write_otlp_json(bodies: Sequence[bytes], file: Path) -> None:
    """Write *bodies* as requests of 500, as a Collector's file exporter does."""
    with file.open("wb") as written:
        for at in range(0, len(bodies), 500):
            records = [log_record(body) for body in bodies[at : at + 500]]
            written.write(orjson.dumps(request(records)) + b"\n")


def floor(file: Path) -> None:
    """Parse, write again, hash, tree."""
    leaves: list[bytes] = []
    for body in file.read_bytes().splitlines():
        members = orjson.loads(body)
        if orjson.dumps(members, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER) != body:
            raise SystemExit("not canonical")
        leaves.append(sha256(body).digest())
    tree = Tree()
    tree.extend(leaves)
    tree.root()


def best(work: Callable[[], object]) -> float:
    """Least processor seconds of a few rounds: the machine may be shared."""
    taken: list[float] = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


@dataclass(frozen=True)
class Whole:
    """Verifies an archive that is whole; a value, so that another process can be given it."""

    path: Path
    issuer: Certificate
    now: datetime
    records: int

    def __call__(self) -> None:
        """Once.

        Raises:
            SystemExit: the verdict is another than `verified`.
        """
        verdict = verify([open_source(str(self.path))], trust=[self.issuer], now=self.now)
        if verdict.status != "verified" or verdict.records != self.records:
            raise SystemExit(f"expected verified: {verdict}")


def side_by_side(work: Callable[[], None]) -> float:
    """Least wall seconds in which `PROCESSES` processes do *work* once each, of a few rounds."""
    taken: list[float] = []
    for _ in range(ROUNDS):
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=work) for _ in range(PROCESSES)]
        began = time.perf_counter()
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            if process.exitcode:
                raise SystemExit(f"a verifier exited with {process.exitcode}")
        taken.append(time.perf_counter() - began)
    return min(taken)


def over_otlp(records: int, directory: Path) -> str:
    """The figures of OTLP-JSON; writes below *directory*."""
    file = directory / "audit.otlp.jsonl"
    lines: list[str] = []
    for streams in (1, 2):
        archive = Archive()
        written = [append(archive, records // streams, directory / str(streams)) for _ in range(streams)]
        bodies = [path.read_bytes().splitlines() for path in written]
        write_otlp_json([body for bodies_in_turn in zip(*bodies, strict=True) for body in bodies_in_turn], file)
        now = archive.clock.moment + timedelta(seconds=1)
        taken = best(Whole(file, archive.issuer.certificate, now, records))
        lines.append(f"OTLP-JSON, streams: {streams}: {records / taken:10,.0f} records/s")
    bare = best(lambda: [orjson.loads(line) for line in file.read_bytes().splitlines()])
    return "\n".join([*lines, f"OTLP-JSON, parsing alone: {records / bare:10,.0f} records/s"])


def main() -> None:
    """Write, measure, print."""
    records = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    with tempfile.TemporaryDirectory() as temporary:
        archive, directory = write(records, Path(temporary))
        file = next(directory.rglob("*.jsonl"))
        whole = Whole(directory, archive.issuer.certificate, archive.clock.moment + timedelta(seconds=1), records)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ours = best(whole)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        together = side_by_side(whole)
        bare = best(lambda: floor(file))
        size = file.stat().st_size // records
        otlp_json = over_otlp(records // 10, Path(temporary))
    print(f"{records} records of {size} bytes")
    print(f"verify: {records / ours:10,.0f} records/s   memory grew by {grown / 1024:.1f} MiB")
    print(f"{PROCESSES} processes: {PROCESSES * records / together:,.0f} records/s")
    print(f"floor:  {records / bare:10,.0f} records/s")
    print(otlp_json)


if __name__ == "__main__":
    main()
