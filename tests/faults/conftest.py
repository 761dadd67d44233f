"""Processes that emit, to be killed: real ones, with a real spool."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.autoload import servers
from tests.export.sink import HttpSink
from tests.faults.wall_clock import WallClock, find_library

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """An empty state directory."""
    return tmp_path / "state"


@pytest.fixture
def environment(spool: Path) -> dict[str, str]:
    """What a process under test inherits: the spool, a service, and nothing of OpenTelemetry's from outside."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**inherited, "OTEL_AUDIT_DIR": str(spool), "OTEL_SERVICE_NAME": "shop", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Start a Python program given as text; whatever still runs at the end is killed, by its own pid."""
    started: list[subprocess.Popen[bytes]] = []

    def run(program: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


def bodies(spool: Path) -> dict[str, list[dict[str, Any]]]:
    """Members of every whole record in the spool, by stream."""
    return {
        path.parent.name: [orjson.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
        for path in sorted(spool.glob("*/*/*.jsonl"))
    }


@pytest.fixture
def read(spool: Path) -> Callable[[], dict[str, list[dict[str, Any]]]]:
    """Read the spool as any JSON Lines reader would."""
    return lambda: bodies(spool)


@pytest.fixture
def state(spool: Path) -> servers.Spool:
    """The same directory, with what readers and the verifier say of it."""
    return servers.Spool(spool)


@pytest.fixture
def launch(tmp_path: Path, state: servers.Spool) -> Iterator[servers.Start]:
    """Start any command, its output in a file, in a folder that holds `app.py`."""
    with servers.starting(tmp_path / "folder", state) as run:
        yield run


@pytest.fixture
def instrument(launch: servers.Start) -> servers.Start:
    """Start programs under `opentelemetry-instrument`."""
    return servers.instrumented(launch)


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    library = find_library()
    if library is None:
        pytest.skip("the Python package libfaketime is not installed")
    clock = WallClock(tmp_path / "clock", library)
    if not clock.is_believed():
        pytest.skip("libfaketime does not step the clock of this Python: it is built for x86-64 and glibc")
    return clock


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    sink = HttpSink()
    yield sink
    sink.close()
