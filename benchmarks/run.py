"""`make bench`: every row of the budget, side by side with stock OpenTelemetry, in one run; Markdown on stdout.

    python benchmarks/run.py [--quick] [--write]

`--quick` tries everything in a smaller size, for whoever changes a script: its figures say nothing. `--write` puts
the figures into `benchmarks/README.md`, too, between its markers. Rows of one number are measured in fresh
processes, the variants in turn, several rounds; the other scripts print tables of their own. Machines are noisy:
ratios count. Nothing here is a timed test; `tests/benchmarks` guards what can be guarded on a busy machine.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.emitting import environment
from tests.postgresql_cluster import find_programs

ROUNDS, QUICK_ROUNDS = 5, 1
HERE = Path(__file__).parent
README = HERE / "README.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(frozen=True)
class Row:
    """One line of the budget: the variants that are compared, the first of them the yardstick."""

    what: str
    unit: str
    program: str
    variants: tuple[str, ...]


FOUR = ("bare", "contrib, sampled away", "contrib, recording", "otel-audit")
ROWS = (
    Row("emit: event to chained record in the page cache", "µs", "emit.py", ("stock", "otel-audit")),
    Row("Flask request with one sqlite3 query, CPU", "µs", "flask_request.py", FOUR),
    Row("Flask request with 50 queries, CPU", "µs", "flask_request.py", ("bare/50", "otel-audit/50")),
    Row("Django request with one sqlite3 query, CPU", "µs", "django_request.py", FOUR),
    Row("Django request with 50 queries, CPU", "µs", "django_request.py", ("bare/50", "otel-audit/50")),
    Row(
        "psycopg query, CPU of the client",
        "µs",
        "psycopg_query.py",
        ("bare", "contrib", "otel-audit", "otel-audit/capture"),
    ),
    Row("import and configure", "ms", "startup.py", ("stock", "otel-audit")),
)


@dataclass(frozen=True)
class Script:
    """One that prints a report of its own, and its arguments: as a whole, and when quick."""

    title: str
    program: str
    whole: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--quick",)
    is_table: bool = True


SCRIPTS = (
    Script("Beside a busy thread", "beside_a_busy_thread.py"),
    Script("Sustained", "sustained.py"),
    Script("Export", "export_backlog.py", ("200000",), ("5000",), is_table=False),
    Script("Verification", "verify_throughput.py", ("200000",), ("10000",), is_table=False),
    Script("Lost", "losses.py"),
    Script("Volume", "volume.py"),
    Script("The tail of a request", "request_tail.py"),
)


def measure(row: Row, variant: str) -> float:
    """Run one variant in a process of its own; it prints one number."""
    with tempfile.TemporaryDirectory() as state:
        return float(_printed(row.program, variant, state=Path(state)).split()[-1])


def _printed(program: str, *arguments: str, state: Path) -> str:
    command = [sys.executable, str(HERE / program), *arguments]
    ran = subprocess.run(command, env=environment(state), stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{program} {' '.join(arguments)}: exit status {ran.returncode}")
    return ran.stdout


def machine() -> Iterator[str]:
    """Where and when, and with what."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    yield f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {models[0] if models else platform.machine()}, "
    yield f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} when it began, "
    yield f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
    yield f"opentelemetry-sdk {version('opentelemetry-sdk')}, contrib {version('opentelemetry-instrumentation')}."


def rows(rounds: int) -> Iterator[str]:
    """The rows of one number, as a table."""
    yield "| what | variant | median | min to max | less the first |"
    yield "|---|---|---|---|---|"
    for row in ROWS:
        if row.program == "psycopg_query.py" and find_programs() is None:
            yield f"| {row.what} | no PostgreSQL here | | | |"
            continue
        figures: dict[str, list[float]] = {variant: [] for variant in row.variants}
        for _ in range(rounds):
            for variant in row.variants:
                figures[variant].append(measure(row, variant))
        first = statistics.median(figures[row.variants[0]])
        for variant, values in figures.items():
            median = statistics.median(values)
            yield (
                f"| {row.what} | {variant} | {median:.1f} {row.unit} | {min(values):.1f} to {max(values):.1f} "
                f"| {median - first:+.1f} ({median / first:.2f}x) |"
            )


def report(*, is_quick: bool) -> Iterator[str]:
    """The whole report, line by line as it is measured."""
    yield "".join(machine())
    yield ""
    yield from rows(QUICK_ROUNDS if is_quick else ROUNDS)
    for script in SCRIPTS:
        with tempfile.TemporaryDirectory() as state:
            printed = _printed(script.program, *(script.quick if is_quick else script.whole), state=Path(state))
        yield ""
        yield f"### {script.title}"
        yield ""
        yield printed.rstrip() if script.is_table else f"```\n{printed.rstrip()}\n```"


def main() -> None:
    """Measure, print, and write where that is asked for."""
    lines: list[str] = []
    for line in report(is_quick="--quick" in sys.argv):
        print(line, flush=True)
        lines.append(line)
    if "--write" in sys.argv:
        before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        figures = "\n".join(lines)
        README.write_text(f"{before}{BEGIN}\n{figures}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
