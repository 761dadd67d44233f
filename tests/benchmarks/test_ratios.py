"""The budget's ratios, measured small: this code beside that of others, in turn, in processor time.

Times are the machine's, ratios are the code's. Each is the least of several rounds, and far from its margin,
because neighbours on the machine still disturb caches and clocks: what fails here has become several times slower.
`benchmarks/run.py` measures the figures themselves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

import otel_audit
from benchmarks import verify_throughput
from benchmarks.emit import CONTEXT, EVENT, Discarding
from otel_audit.settings import Settings
from otel_audit.sources import read_directory
from otel_audit.verify import verify

ROUNDS = 5
BENCHMARKS = Path(verify_throughput.__file__).parent


@pytest.fixture
def _audited(tmp_path: Path) -> Iterator[None]:
    """This process records into a spool on disk."""
    otel_audit.configure(
        Settings.from_environ({"OTEL_SERVICE_NAME": "bench", "OTEL_AUDIT_DIR": str(tmp_path / "state")})
    )
    yield
    otel_audit.shutdown()


def _least(*works: Callable[[], object]) -> list[float]:
    """Processor seconds of this thread for each of *works*, taken in turn, the least of `ROUNDS`."""
    least = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for number, work in enumerate(works):
            began = time.thread_time()
            work()
            least[number] = min(least[number], time.thread_time() - began)
    return least


@pytest.mark.usefixtures("_audited")
def test_a_durable_event_costs_no_more_than_two_and_a_half_queued_ones() -> None:
    """Found: about half of what the stock batch processor takes."""
    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(Discarding()))
    logger = provider.get_logger("bench")
    audit = otel_audit.get_audit_logger("bench")

    def stock() -> None:
        for _ in range(2000):
            logger.emit(LogRecord(timestamp=time.time_ns(), body="", attributes=CONTEXT, event_name="access"))

    def ours() -> None:
        for _ in range(2000):
            audit.emit_event(EVENT)

    stock_s, ours_s = _least(stock, ours)
    provider.shutdown()

    assert ours_s <= 2.5 * stock_s


def test_verifying_is_no_slower_than_a_quarter_of_the_bare_loop(tmp_path: Path) -> None:
    """Found: about two thirds of what parsing, writing again, hashing and the tree take by themselves."""
    archive, directory = verify_throughput.write(10_000, tmp_path)
    now = archive.clock.moment + timedelta(seconds=1)
    file = next(directory.rglob("*.jsonl"))

    def whole() -> None:
        verdict = verify([read_directory(directory)], trust=[archive.issuer.certificate], now=now)
        assert verdict.status == "verified"

    whole_s, floor_s = _least(whole, lambda: verify_throughput.floor(file))

    assert whole_s <= 4 * floor_s


def test_auditing_a_request_adds_less_than_tracing_it(tmp_path: Path) -> None:
    """Found: about a fifth of what contrib's Flask and sqlite3 instrumentation add, exporting nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment |= {"OTEL_AUDIT_DIR": str(tmp_path), "OTEL_SERVICE_NAME": "bench"}
    program = str(BENCHMARKS / "flask_request.py")
    least = dict.fromkeys(("bare", "contrib, recording", "otel-audit"), float("inf"))
    for _ in range(3):
        for variant in least:
            ran = subprocess.run(
                [sys.executable, program, variant, "1000"],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            least[variant] = min(least[variant], float(ran.stdout))

    traced = least["contrib, recording"] - least["bare"]
    assert least["otel-audit"] - least["bare"] <= 1.2 * traced
