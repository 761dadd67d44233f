"""Bytes that auditing makes, in the spool, on the wire and at rest compressed, and in a day: Markdown tables.

    python benchmarks/volume.py [--quick]

Real requests to the Flask application of `flask_request.py`, each with one query, by some hundred users with a few
dozen browsers and addresses; a real stream that is idle and only seals; a process that never has an event.
The wire is the body of each OTLP/HTTP request as a sink took it, without HTTP's own headers.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zstandard
from werkzeug.test import EnvironBuilder, run_wsgi_app

import otel_audit
from benchmarks.emit import EVENT
from benchmarks.emitting import environment
from benchmarks.flask_request import application, instrument
from benchmarks.sink import kept_requests, running_sink

REQUESTS, QUICK_REQUESTS = 20_000, 1000
A_DAY_S = 86_400
REQUESTS_A_SECOND = 100
SEALS_A_DAY = A_DAY_S // 5
"""200 records a second fill no seal of 1,000 within the seal interval of 5 s, so that is what decides."""
IDLE_WORKERS = 32
HEARTBEATS_A_DAY = A_DAY_S // 60
IDLE_S = 4.0
_BROWSERS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/604.1",
    "curl/8.14.1",
)


@dataclass(frozen=True)
class Volume:
    """What one process left behind."""

    bodies: list[bytes]
    """Of the spool, lifecycle records included."""
    wire_bytes: int
    """Request bodies together; 0: nothing was sent."""

    def of(self, *events: str) -> list[bytes]:
        """The records of these events."""
        return [body for body in self.bodies if json.loads(body)["event"] in events]

    @property
    def spool_bytes(self) -> int:
        """With the newline that ends each line."""
        return sum(len(body) + 1 for body in self.bodies)


def run(what: str, *arguments: object, **variables: str) -> Volume:
    """Run a child of this script with a sink beside it."""
    with tempfile.TemporaryDirectory() as temporary:
        kept = Path(temporary) / "kept"
        state = Path(temporary) / "state"
        with running_sink(keep=kept) as endpoint:
            subprocess.run(
                [sys.executable, __file__, "child", what, *map(str, arguments)],
                env=environment(state, endpoint, **variables),
                check=True,
            )
        lines = [line for path in sorted(state.rglob("0*.jsonl")) for line in path.read_bytes().splitlines()]
        return Volume(lines, sum(map(len, kept_requests(kept))))


def requests(count: int) -> None:
    """Make *count* requests of the Flask application in this process."""
    instrument("otel-audit")
    app = application(1)
    for number in range(count):
        headers = [("User-Agent", _BROWSERS[number % len(_BROWSERS)])]
        environ = EnvironBuilder("/customers/42", headers=headers).get_environ()
        environ["REMOTE_ADDR"] = f"192.0.2.{number * 7 % 250}"
        with otel_audit.acting_as(otel_audit.Actor(f"user-{number * 13 % 500}", "user", "session")):
            run_wsgi_app(app.wsgi_app, environ)
    otel_audit.shutdown(300)


def idle() -> None:
    """One event, then nothing but heartbeats."""
    otel_audit.configure()
    otel_audit.get_audit_logger("bench").emit_event(EVENT)
    time.sleep(IDLE_S)
    otel_audit.shutdown(60)


def silent() -> None:
    """No event at all."""
    otel_audit.configure()
    time.sleep(1)
    otel_audit.shutdown()


CHILDREN: dict[str, Callable[[], None]] = {"idle": idle, "silent": silent}


def records_table(count: int) -> None:
    """Print bytes a record, and what they come to in a day."""
    whole = run("requests", count)
    packed = run("requests", count, OTEL_EXPORTER_OTLP_COMPRESSION="gzip")
    core = run("requests", count, OTEL_AUDIT_ATTRIBUTES="core")
    core_packed = run("requests", count, OTEL_AUDIT_ATTRIBUTES="core", OTEL_EXPORTER_OTLP_COMPRESSION="gzip")
    text = b"".join(body + b"\n" for body in whole.bodies)
    accesses, queries = whole.of("http.server.request"), whole.of("db.query")
    if len(accesses) != count or len(queries) < count:  # the table was made by statements, too
        raise SystemExit(f"{count} requests made {len(accesses)} records, their queries {len(queries)}")
    rows = (
        ("a request's record, in the spool", _mean(accesses)),
        ("a query's record, in the spool", _mean(queries)),
        ("a seal, in the spool", _mean(whole.of("audit.seal"))),
        ("a record, in the spool", whole.spool_bytes / len(whole.bodies)),
        ("on the wire", whole.wire_bytes / len(whole.bodies)),
        ("on the wire, gzip", packed.wire_bytes / len(packed.bodies)),
        ("on the wire, `core` attributes", core.wire_bytes / len(core.bodies)),
        ("on the wire, `core` attributes, gzip", core_packed.wire_bytes / len(core_packed.bodies)),
        ("at rest, gzip -6", len(gzip.compress(text, 6)) / len(whole.bodies)),
        ("at rest, zstd -3", len(zstandard.ZstdCompressor(3).compress(text)) / len(whole.bodies)),
    )
    print(f"| {len(whole.bodies):,} records | bytes a record | GB a day at {REQUESTS_A_SECOND} requests/s |")
    print("|---|---|---|")
    a_day = REQUESTS_A_SECOND * A_DAY_S * 2 + SEALS_A_DAY
    for number, (what, size) in enumerate(rows):
        print(f"| {what} | {size:.0f} | {'' if number < 3 else f'{size * a_day / 1e9:.1f}'} |")


def idle_table() -> None:
    """Print what processes cost that do nothing."""
    heartbeats = run("idle", OTEL_AUDIT_HEARTBEAT_INTERVAL="1s", OTEL_AUDIT_SEAL_INTERVAL="1s")
    seals = heartbeats.of("audit.seal")
    if not seals:
        raise SystemExit("the idle process made no seal")
    nothing = run("silent")
    day = IDLE_WORKERS * HEARTBEATS_A_DAY * _mean(seals)
    print(f"| {IDLE_WORKERS} idle workers, a seal every 60 s | bytes |")
    print("|---|---|")
    print(f"| a seal, in the spool | {_mean(seals):.0f} |")
    print(f"| a day, in the spool | {day / 1e6:.1f} million |")
    silence = nothing.spool_bytes + nothing.wire_bytes
    print(f"| a process that never had an event, in the spool and on the wire | {silence} |")


def _mean(bodies: list[bytes]) -> float:
    return sum(len(body) + 1 for body in bodies) / len(bodies) if bodies else 0.0


def main() -> None:
    """Print the tables."""
    records_table(QUICK_REQUESTS if "--quick" in sys.argv else REQUESTS)
    print()
    idle_table()


if __name__ == "__main__":
    if sys.argv[1:2] != ["child"]:
        main()
    elif sys.argv[2] == "requests":
        requests(int(sys.argv[3]))
    else:
        CHILDREN[sys.argv[2]]()
