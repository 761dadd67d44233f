"""`make bench`: what auditing costs, side by side with stock OpenTelemetry, in one run.

Every row is measured in a fresh process, the variants in turn, several rounds; the median of each is printed, with
its ratio to the stock one. Machines are noisy: ratios count. Nothing here is a timed test.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 5
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """One line of the budget: the variants that are compared, the first of them the yardstick."""

    what: str
    unit: str
    program: str
    variants: tuple[str, ...]


ROWS = (
    Row("emit: event to chained record in the page cache", "µs", "emit.py", ("stock", "otel-audit")),
    Row(
        "Flask request with one sqlite3 query, CPU",
        "µs",
        "flask_request.py",
        ("bare", "contrib, sampled away", "contrib, recording", "otel-audit"),
    ),
    Row("Flask request with 50 queries, CPU", "µs", "flask_request.py", ("bare/50", "otel-audit/50")),
    Row(
        "Django request with one sqlite3 query, CPU",
        "µs",
        "django_request.py",
        ("bare", "contrib, sampled away", "contrib, recording", "otel-audit"),
    ),
    Row("Django request with 50 queries, CPU", "µs", "django_request.py", ("bare/50", "otel-audit/50")),
    Row(
        "psycopg query, CPU of the client",
        "µs",
        "psycopg_query.py",
        ("bare", "contrib", "otel-audit", "otel-audit/capture"),
    ),
    Row("import and configure", "ms", "startup.py", ("stock", "otel-audit")),
)


def measure(row: Row, variant: str) -> float:
    """Run one variant in a process of its own; it prints one number."""
    with tempfile.TemporaryDirectory() as state:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OTEL_AUDIT_DIR": state,
            "OTEL_SERVICE_NAME": "bench",
        }
        printed = subprocess.run(
            [sys.executable, str(HERE / row.program), variant],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    return float(printed.stdout.split()[-1])


def main() -> None:
    """Measure every row and print it as Markdown, for `benchmarks/README.md`."""
    print("| what | variant | median | min to max | less the first |")
    print("|---|---|---|---|---|")
    for row in ROWS:
        figures: dict[str, list[float]] = {variant: [] for variant in row.variants}
        for _ in range(ROUNDS):
            for variant in row.variants:
                figures[variant].append(measure(row, variant))
        first = statistics.median(figures[row.variants[0]])
        for variant, values in figures.items():
            median = statistics.median(values)
            print(
                f"| {row.what} | {variant} | {median:.1f} {row.unit} | {min(values):.1f} to {max(values):.1f} "
                f"| {median - first:+.1f} ({median / first:.2f}x) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
