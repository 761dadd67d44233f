"""What `emit` costs a thread whose neighbour never lets go of the processor: a Markdown table.

    python benchmarks/beside_a_busy_thread.py [--quick]

One thread computes without end; the measured one does some work (writes an event as JSON), and the same work with
an event emitted after it. Whoever gives up the interpreter lock here waits up to 5 ms, the switch interval, to have
it back, so the tail says whether `emit` does: p99 over the same work without it.
Each variant runs in a process of its own, in turn, several rounds; medians.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.emit import CONTEXT
from benchmarks.emitting import emitter, environment
from benchmarks.sink import running_sink

ROUNDS, QUICK_ROUNDS = 5, 1
EVENTS = 50_000
ALONE = "the work alone"
VARIANTS = (ALONE, "stock", "otel-audit, no export", "otel-audit, export")
PERCENTILES = (50.0, 99.0, 99.9)


def measure(variant: str) -> list[float]:
    """Microseconds at each of `PERCENTILES`, in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary, running_sink() as endpoint:
        ran = subprocess.run(
            [sys.executable, __file__, "child", variant],
            env=environment(Path(temporary), None if "no export" in variant else endpoint),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    figures: list[float] = json.loads(ran.stdout)
    return figures


def child(variant: str) -> None:
    """Measure in this process, and print."""
    emit, end = (_nothing, threading.Event) if variant == ALONE else emitter(variant.split(",", maxsplit=1)[0])
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(100))

    busy = threading.Thread(target=compute)
    busy.start()
    taken: list[int] = []
    for number in range(EVENTS):
        began = time.perf_counter_ns()
        json.dumps(CONTEXT)
        emit(number)
        taken.append(time.perf_counter_ns() - began)
    stop.set()
    busy.join()
    end()
    print(json.dumps(percentiles(taken)))


def _nothing(number: int) -> None:
    """What comes after the work when it is alone."""


def percentiles(taken_ns: list[int]) -> list[float]:
    """Microseconds below which each share of *taken_ns* lies."""
    ordered = sorted(taken_ns)
    return [ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] / 1e3 for share in PERCENTILES]


def main() -> None:
    """Print the table."""
    rounds = QUICK_ROUNDS if "--quick" in sys.argv else ROUNDS
    figures: dict[str, list[list[float]]] = {variant: [] for variant in VARIANTS}
    for _ in range(rounds):
        for variant in VARIANTS:
            figures[variant].append(measure(variant))
    medians = {
        variant: [statistics.median(column) for column in zip(*rows, strict=True)]
        for variant, rows in figures.items()
    }
    print("| beside a busy thread | p50 | p99 | p99.9 | p99 over the work alone |")
    print("|---|---|---|---|---|")
    for variant, (p50, p99, p999) in medians.items():
        over = p99 - medians[ALONE][1]
        print(f"| {variant} | {p50:.1f} µs | {p99:.1f} µs | {p999:,.0f} µs | {over:+.1f} µs |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2])
    else:
        main()
