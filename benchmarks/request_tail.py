"""Latency of a request under a real server, tail included, bare, traced and audited: a Markdown table.

    python benchmarks/request_tail.py [--quick]

Flask under gunicorn (one worker, four threads) and Django under uvicorn (ASGI), on loopback, one sqlite3 query a
request, four clients that each wait for their response; also while another process writes files of 64 MiB and syncs
them. Every measurement is a server of its own; the variants are taken in turn, several rounds; medians.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.emitting import environment
from benchmarks.losses import free_port
from benchmarks.sink import running_sink

HERE = Path(__file__).parent
ROUNDS, QUICK_ROUNDS = 3, 1
REQUESTS, QUICK_REQUESTS = 4000, 200
CONNECTIONS = 4
START_S = 60.0
"""How long a server may take to answer at all."""
COLUMNS = ("p50", "p99", "p999", "rate", "count")
VARIANTS = (
    "bare",
    "contrib, sampled away",
    "contrib, recording",
    "otel-audit, no export, fsync interval",
    "otel-audit, no export, fsync always",
    "otel-audit, export, fsync interval",
    "otel-audit, export, fsync always",
)
SERVERS = {
    "gunicorn gthread, Flask": (
        "gunicorn", "-w1", "-kgthread", "--threads=4", "--keep-alive=30", "-b127.0.0.1:{port}",
        "--log-level=critical", "benchmarks.served:flask_app",
    ),
    "uvicorn, Django": (
        "uvicorn", "--port={port}", "--log-level=critical", "--no-access-log", "--lifespan=off",
        "benchmarks.served:django_app",
    ),
}  # fmt: skip
_WRITER = """
import os, sys, time
chunk, ends = os.urandom(1 << 20), time.monotonic() + 300
while time.monotonic() < ends and os.getppid() == int(sys.argv[2]):
    with open(sys.argv[1], "wb") as file:
        for _ in range(64):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
"""
"""Ends with this process, and by itself after five minutes."""


@contextmanager
def writing(directory: Path, *, is_on: bool) -> Generator[None]:
    """Another process writes to the disk of *directory* meanwhile."""
    if not is_on:
        yield
        return
    command = [sys.executable, "-c", _WRITER, str(directory / "noise"), str(os.getpid())]
    writer = subprocess.Popen(command)
    try:
        yield
    finally:
        writer.kill()
        writer.wait()


def measure(server: str, variant: str, count: int, *, is_disk_busy: bool) -> dict[str, float]:
    """Start, load, stop."""
    with tempfile.TemporaryDirectory() as temporary, running_sink() as endpoint:
        directory = Path(temporary)
        variables = environment(directory / "state", endpoint if ", export" in variant else None)
        variables["BENCH_VARIANT"] = variant
        variables["OTEL_AUDIT_FSYNC"] = "always" if variant.endswith("always") else "interval"
        variables["PYTHONPATH"] = str(HERE.parent)
        port = free_port()
        command = [sys.executable, "-m", *(part.format(port=port) for part in SERVERS[server])]
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(command, env=variables, cwd=directory, stderr=log)
        try:
            _await(process, port, directory / "log")
            with writing(directory, is_on=is_disk_busy):
                load = [sys.executable, str(HERE / "load.py"), str(port), str(count), str(CONNECTIONS)]
                printed = subprocess.run(load, stdout=subprocess.PIPE, text=True, check=True).stdout
        finally:
            process.terminate()
            process.wait(60)
        figures: dict[str, float] = json.loads(printed)
        if variant.startswith("otel-audit"):
            _check_recorded(directory / "state", int(figures["count"]))
    return figures


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until the server answers.

    Raises:
        SystemExit: it does not, or not with a success.
    """
    deadline = time.monotonic() + START_S
    status = 0
    while time.monotonic() < deadline and process.poll() is None and not status:
        connection = HTTPConnection("127.0.0.1", port)
        try:
            connection.request("GET", "/customers/42")
            status = connection.getresponse().status
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    if status != 200:
        raise SystemExit(f"expected 200, got {status or 'nothing'}: {log.read_text()[-2000:]}")


def _check_recorded(state: Path, count: int) -> None:
    """A variant that recorded nothing would be quick.

    Raises:
        SystemExit: fewer records than requests and queries.
    """
    text = b"".join(path.read_bytes() for path in state.rglob("0*.jsonl"))
    for event in (b"http.server.request", b"db.query"):
        found = text.count(b'"event":"%s"' % event)
        if found < count:
            raise SystemExit(f"{count} requests made {found} records of {event.decode()}")


def main() -> None:
    """Measure all, print the table."""
    is_quick = "--quick" in sys.argv
    count = QUICK_REQUESTS if is_quick else REQUESTS
    places = [(server, is_disk_busy) for server in SERVERS for is_disk_busy in (False, True)]
    runs: dict[tuple[str, bool, str], list[dict[str, float]]] = {}
    for _ in range(QUICK_ROUNDS if is_quick else ROUNDS):
        for server, is_disk_busy in places:
            for variant in VARIANTS:
                figures = measure(server, variant, count, is_disk_busy=is_disk_busy)
                runs.setdefault((server, is_disk_busy, variant), []).append(figures)
    print("| server | disk | variant | p50 | p99 | p99.9 | requests/s | requests a round |")
    print("|---|---|---|---|---|---|---|---|")
    for (server, is_disk_busy, variant), several in runs.items():
        p50, p99, p999, rate, made = (statistics.median(run[column] for run in several) for column in COLUMNS)
        disk = "another writes" if is_disk_busy else "quiet"
        print(
            f"| {server} | {disk} | {variant} | {p50 / 1e3:.2f} ms | {p99 / 1e3:.2f} ms | {p999 / 1e3:.2f} ms "
            f"| {rate:,.0f} | {made:,.0f} |"
        )


if __name__ == "__main__":
    main()
