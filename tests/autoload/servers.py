"""Real processes for tests: started in a folder of their own, watched by what they print, stopped by their pid."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar
from urllib.error import HTTPError

import orjson

from otel_audit.evidence.identity import local_issuers
from otel_audit.sources import read_directory
from otel_audit.verify import Verdict, verify

T = TypeVar("T")
Record: TypeAlias = dict[str, Any]

PATIENCE_S = 60.0
"""A bound for a machine that has much else to do; conditions come true in a second or two."""

INSTRUMENT = (
    sys.executable,
    "-c",
    "from opentelemetry.instrumentation.auto_instrumentation import run; run()",
)
"""`opentelemetry-instrument`, of this interpreter's environment, whatever PATH says."""

APPLICATION = """
import logging
import os
import sqlite3

from flask import Flask

app = Flask(__name__)


@app.get("/items/<int:item>")
def item(item):
    connection = sqlite3.connect("shop.db")
    try:
        connection.execute("SELECT ?", (item,)).fetchone()
    finally:
        connection.close()
    return str(os.getpid())


if __name__ == "__main__":
    app.run(port=0)
"""

_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


def wait_for(condition: Callable[[], T | None], what: str) -> T:
    """The first value of *condition* that is true."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.02)):
        value = condition()
        if value:
            return value
        pause.wait(0.02)
    raise AssertionError(f"waited {PATIENCE_S} s in vain: {what}")


class Program:
    """One started process and all that it and its children print."""

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str], name: str) -> None:
        self.output = folder / f"{name}.log"
        self.folder = folder
        self.address: str | None = None
        """Where it listens, for a program that does not print it."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # signals of its group stay there
            )
        self.pid = self.process.pid

    @property
    def log(self) -> str:
        """What was printed so far."""
        return self.output.read_text("utf-8", "replace")

    def wait_for_line(self, pattern: str, count: int = 1) -> str:
        """What the *count*-th occurrence of *pattern* in the output says."""

        def found() -> str | None:
            matches = list(re.finditer(pattern, self.log))
            if len(matches) >= count:
                return matches[count - 1][0]
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
            return None

        try:
            return wait_for(found, pattern)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None

    @property
    def url(self) -> str:
        """Where it listens, once it says so."""
        return self.address or self.wait_for_line(_ADDRESS.pattern)

    def get(self, path: str, **headers: str) -> str:
        """The body of a GET, whatever its status, retried until a worker answers."""
        return self.status_and_body(path, **headers)[1]

    def status_and_body(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and body of a GET, retried until a worker answers."""
        request = urllib.request.Request(self.url + path, headers=headers)

        def answer() -> tuple[int, str] | None:
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                    return response.status, response.read().decode()
            except HTTPError as error:
                with error:
                    return error.code, error.read().decode()
            except OSError:
                assert self.process.poll() is None, self.log
                return None

        return wait_for(answer, f"an answer from {path}")

    def cut(self, path: str) -> None:
        """GET what ends whoever answers: there is no answer."""
        try:
            urllib.request.urlopen(self.url + path, timeout=PATIENCE_S).close()
        except (OSError, HTTPException):
            return
        raise AssertionError(f"an answer from {path}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this very process."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit status; negative for the signal that ended it."""
        return self.process.wait(PATIENCE_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop; its exit status."""
        self.send(number)
        return self.wait()

    def kill(self) -> None:
        """End it for certain."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Spool:
    """A spool as its readers see it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def streams(self) -> dict[str, list[Record]]:
        """Members of every whole record, by stream; where a stream has not one it is left out."""
        found: dict[str, list[Record]] = {}
        for path in sorted(self.directory.glob("*/*/*.jsonl")):
            records = [orjson.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
            if records:
                found[path.parent.name] = records
        return found

    def records(self, event: str | None = None) -> list[Record]:
        """Every record that is an event, or those of one kind."""
        return [
            record
            for records in self.streams().values()
            for record in records
            if (record["event"] == event if event else not record["event"].startswith("audit."))
        ]

    def paths(self) -> list[str]:
        """Targets of all requests recorded, sorted."""
        return sorted(record["target"]["id"] for record in self.records("http.server.request"))

    def by_pid(self) -> dict[int, list[Record]]:
        """Records of each process; a process with two streams counts as a failure of the test."""
        found: dict[int, list[Record]] = {}
        for records in self.streams().values():
            pid = records[0]["context"]["process.pid"]
            assert pid not in found, "a process with two streams"
            found[pid] = records
        return found

    def ends(self) -> list[str]:
        """The reason of each stream's close, sorted; `open` where it has none."""
        return sorted(
            last["context"]["audit.reason"] if last["event"] == "audit.stream.close" else "open"
            for last in (records[-1] for records in self.streams().values())
        )

    def verdict(self, now: datetime | None = None) -> Verdict:
        """What the verifier says of it, a moment from now."""
        return verify(
            [read_directory(self.directory)],
            trust=local_issuers(self.directory),
            now=now or datetime.now(UTC) + timedelta(seconds=1),
        )

    def assert_verified(self, *, later: timedelta = timedelta(seconds=1)) -> None:
        """Nothing but `verified`, with no finding but warnings; a day *later* no stream may owe a seal."""
        verdict = self.verdict(datetime.now(UTC) + later)
        assert [finding for finding in verdict.findings if finding.severity != "warning"] == []
        assert verdict.status == "verified"


def clean_environment(spool: Path) -> dict[str, str]:
    """What a process under test inherits: nothing of OpenTelemetry's from outside, and no exporters."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON", "PYTEST"))
    }
    return {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "OTEL_AUDIT_DIR": str(spool),
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        # contrib's takes the root logger, after which Werkzeug's development server does not print its address
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "logging",
    }


class Start(Protocol):
    """Start a command; `environment` are variables, None to take one away."""

    def __call__(self, *command: str, **environment: str | None) -> Program: ...


@contextmanager
def starting(folder: Path, spool: Spool) -> Generator[Start]:
    """Start programs in a new *folder* that holds `app.py`; what still runs at the end is killed, by its pid."""
    folder.mkdir()
    (folder / "app.py").write_text(APPLICATION)
    started: list[Program] = []

    def run(*command: str, **environment: str | None) -> Program:
        variables = {**clean_environment(spool.directory), **environment}
        given = {name: value for name, value in variables.items() if value is not None}
        started.append(Program(command, folder, given, f"program-{len(started)}"))
        return started[-1]

    try:
        yield run
    finally:
        for program in started:
            program.kill()


def instrumented(start: Start) -> Start:
    """Start programs under `opentelemetry-instrument`."""

    def run(*command: str, **environment: str | None) -> Program:
        return start(*INSTRUMENT, *command, **environment)

    return run
