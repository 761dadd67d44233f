"""How many records a second one process emits without losing any, its threads running: a Markdown table.

    python benchmarks/sustained.py [--quick]

A process emits as fast as it can for some seconds, with seals and the keeper running, without export and with
export to a sink in another process, then ends in order. Lost is what was emitted and is neither in the spool nor at
the sink when it has ended. `delivered` is what arrived, over the time from the first event to the end of the last
delivery.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.emitting import emitter, environment
from benchmarks.sink import kept_bodies, running_sink

ROUNDS, QUICK_ROUNDS = 3, 1
LASTS_S, LASTS_QUICK_S = 5.0, 2.0
VARIANTS = ("stock", "otel-audit, no export", "otel-audit, export")


@dataclass(frozen=True)
class Figures:
    """Of one run; rates a second."""

    emitted_a_second: float
    delivered_a_second: float
    """0: nothing was to be delivered."""
    emitted: int
    lost: int


def measure(variant: str, lasts_s: float) -> Figures:
    """Run one variant in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        kept = directory / "kept"
        state = directory / "state"
        with running_sink(keep=kept) as sink:
            ran = subprocess.run(
                [sys.executable, __file__, "child", variant.split(",", maxsplit=1)[0], str(lasts_s)],
                env=environment(state, None if "no export" in variant else sink),
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        emitted, emitting_s, in_all_s = json.loads(ran.stdout)
        if variant == "stock":
            stored = delivered = sum(1 for _ in kept_bodies(kept))
        else:
            delivered = sum('"target":{' in body for body in kept_bodies(kept))
            stored = sum(path.read_bytes().count(b'"target":{') for path in state.rglob("*.jsonl"))
    return Figures(emitted / emitting_s, delivered / in_all_s, emitted, emitted - max(stored, delivered))


def child(variant: str, lasts_s: float) -> None:
    """Emit for a while, end, and print how many, in how long, and how long with the end."""
    emit, end = emitter(variant)
    emit(0)
    count = 1
    began = time.perf_counter()
    while time.perf_counter() - began < lasts_s:
        for _ in range(100):
            emit(count)
            count += 1
    emitting_s = time.perf_counter() - began
    end()
    print(json.dumps([count, emitting_s, time.perf_counter() - began]))


def main() -> None:
    """Print the table."""
    is_quick = "--quick" in sys.argv
    figures: dict[str, list[Figures]] = {variant: [] for variant in VARIANTS}
    for _ in range(QUICK_ROUNDS if is_quick else ROUNDS):
        for variant in VARIANTS:
            figures[variant].append(measure(variant, LASTS_QUICK_S if is_quick else LASTS_S))
    print("| sustained, one process | emitted | delivered | lost |")
    print("|---|---|---|---|")
    for variant, runs in figures.items():
        emitted = statistics.median(run.emitted_a_second for run in runs)
        delivered = statistics.median(run.delivered_a_second for run in runs)
        lost = sum(run.lost for run in runs)
        share = f" ({lost / sum(run.emitted for run in runs):.0%})" if lost else ""
        print(
            f"| {variant} | {emitted:,.0f} records/s | {f'{delivered:,.0f} records/s' if delivered else 'none'} "
            f"| {lost:,}{share} |"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], float(sys.argv[3]))
    else:
        main()
