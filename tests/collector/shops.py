"""A Flask application under gunicorn that delivers to an agent, and what of it lies in an archive."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.collector.processes import PATIENCE_S, World, wait_until

SHOP = Path(__file__).with_name("shop.py")
Record = dict[str, Any]


class Shop:
    """gunicorn with two workers behind `opentelemetry-instrument`, on a port that stays the same over restarts."""

    def __init__(self, world: World, **variables: str) -> None:
        self._world = world
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._directory = world.directory / "shop"
        self._directory.mkdir()
        shutil.copy(SHOP, self._directory)
        bind = f'bind = "fd://{self._listener.fileno()}"\ncontrol_socket_disable = True\n'
        (self._directory / "gunicorn.conf.py").write_text(bind)
        self._environ = world.environ(**variables)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def log(self) -> Path:
        return self._world.directory / "shop.log"

    def start(self) -> None:
        programs = Path(sys.executable).parent
        command = [str(programs / name) for name in ("opentelemetry-instrument", "gunicorn")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--workers", "2", "shop:app"],
                cwd=self._directory,
                env=self._environ,
                pass_fds=[self._listener.fileno()],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def get(self, number: int) -> None:
        """Send one request.

        Raises:
            OSError: it was not answered, or not with success.
        """
        address = f"http://127.0.0.1:{self._listener.getsockname()[1]}/customers/{number}"
        with urllib.request.urlopen(address, timeout=20) as answer:
            answer.read()

    def stop(self) -> None:
        """As an operator would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE_S)
            self._process = None

    def kill(self) -> None:
        """`kill -9`, the master and all workers, by the group that this started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE_S)
            self._process = None

    def close(self) -> None:
        self.kill()
        self._listener.close()


def log_records(archive: Path) -> Iterator[Record]:
    """The log records in an archive, read without otel_audit; torn lines are passed over."""
    for file in sorted(archive.glob("audit.otlp*.jsonl")):
        for line in file.read_bytes().splitlines():
            for part in line.replace(b'{"resourceLogs":', b'\n{"resourceLogs":').split(b"\n"):
                try:
                    document = json.loads(part)
                except ValueError:
                    continue
                for resource in document["resourceLogs"]:
                    for scope in resource["scopeLogs"]:
                        yield from scope["logRecords"]


def bodies(archive: Path) -> set[str]:
    return {record["body"]["stringValue"] for record in log_records(archive)}


def paths(archive: Path) -> set[str]:
    """Of every request that the archive holds the record of."""
    records = (json.loads(body) for body in bodies(archive))
    return {record["target"]["id"] for record in records if record["event"] == "http.server.request"}


def spooled(spool: Path) -> set[str]:
    """Every body in the spool up to the last whole line of each segment."""
    segments = [path.read_bytes().rpartition(b"\n")[0] for path in spool.glob("*/*/*.jsonl")]
    return {line.decode() for segment in segments for line in segment.split(b"\n") if line}


def deliver_all(world: World, archive: Path, **address: str) -> None:
    """Have the spool delivered from outside, what crashed processes left too, and wait until it is archived."""
    shipped = world.audit("ship", "--once", **address)
    assert shipped.returncode == 0, shipped.stdout + shipped.stderr
    wait_until(lambda: spooled(world.spool) <= bodies(archive), "the whole spool in the archive")
