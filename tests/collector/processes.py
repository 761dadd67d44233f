"""Real Collectors with the configurations that operators get, and applications that deliver to them."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGURATIONS = ROOT / "collector-config"
PATIENCE_S = 60.0
"""How long a test waits for what must happen; far more than it takes on a busy machine."""


def built_collector() -> Path | None:
    """What `make collector` has built of the manifest as it is now."""
    cache = Path(os.environ.get("COLLECTOR_CACHE", ROOT / ".cache" / "collector"))
    digest = hashlib.sha256((CONFIGURATIONS / "builder.yaml").read_bytes()).hexdigest()
    binary = cache / digest[:16] / "otelcol-audit"
    return binary if binary.exists() else None


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return once *condition* holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


class TlsFiles:
    """A directory as the configurations want it: an authority, a server's and a client's certificate, tokens."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self._openssl("req", "-x509", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")
        self.issue("server", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        self.issue("client", "extendedKeyUsage=clientAuth")
        (directory / "tokens").write_text("a-good-token # the shop's\n")

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def issue(self, name: str, extension: str) -> None:
        """Have the authority issue a certificate."""
        of_ca = ("-CA", "ca.pem", "-CAkey", "ca.key")
        self._openssl(
            "req", "-x509", "-subj", f"/CN={name}", "-addext", extension, *of_ca,
            "-keyout", f"{name}.key", "-out", f"{name}.pem",
        )  # fmt: skip

    def forge_client(self) -> None:
        """Exchange the client's certificate for one that nobody has issued."""
        self._openssl("req", "-x509", "-subj", "/CN=mallory", "-keyout", "client.key", "-out", "client.pem")

    def _openssl(self, *arguments: str) -> None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
        command = ["openssl", arguments[0], *key, *arguments[1:]]
        subprocess.run(command, cwd=self.directory, check=True, capture_output=True)


@dataclass
class Collector:
    """One Collector process; its ports stay the same over restarts."""

    binary: Path
    configurations: Sequence[str]
    log: Path
    environ: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def http(self) -> str:
        return self.environ["AUDIT_HTTP"]

    @property
    def grpc(self) -> str:
        return self.environ["AUDIT_GRPC"]

    @property
    def token_http(self) -> str:
        return self.environ["AUDIT_TOKEN_HTTP"]

    def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        arguments = [f"--config={CONFIGURATIONS / name}" for name in self.configurations]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([self.binary, *arguments], env=self.environ, stdout=log, stderr=log)
        wait_until(self.is_ready, f"{self.configurations} ready: {self.log.read_text()[-2000:]}")

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.configurations} ended: {self.log.read_text()[-3000:]}"
        try:
            with urllib.request.urlopen(f"http://{self.environ['AUDIT_HEALTH']}/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, by its own id; harmless if it does not run."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_S)
            self.process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)


@dataclass
class World:
    """What one test runs: Collectors, applications, directories."""

    directory: Path
    binary: Path
    tls: TlsFiles
    collectors: list[Collector] = field(default_factory=list[Collector])

    @property
    def spool(self) -> Path:
        return self.directory / "state"

    def collector(self, name: str, *configurations: str, **variables: str) -> Collector:
        """Start a Collector; it keeps its files in directories named after *name*."""
        names = ("AUDIT_GRPC", "AUDIT_HTTP", "AUDIT_TOKEN_HTTP", "AUDIT_HEALTH")
        *ports, metrics = free_ports(len(names) + 1)
        environ = {
            "PATH": os.environ["PATH"],
            "AUDIT_TLS": str(self.tls.directory),
            "AUDIT_ARCHIVE": str(self.archive(name)),
            "AUDIT_STATE": str(self.directory / name),
            "AUDIT_METRICS_PORT": str(metrics),
            **{variable: f"127.0.0.1:{port}" for variable, port in zip(names, ports, strict=True)},
            **variables,
        }
        log = self.directory / f"{name}.log"
        made = Collector(self.binary, configurations or [f"{name}.yaml"], log, environ)
        self.collectors.append(made)
        made.start()
        return made

    def archive(self, name: str) -> Path:
        return self.directory / f"archive-{name}"

    def environ(self, **variables: str) -> dict[str, str]:
        """What an application is given: the spool, and nothing of OpenTelemetry's from outside."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        return {
            **inherited,
            "OTEL_AUDIT_DIR": str(self.spool),
            "OTEL_AUDIT_SPOOL_RESERVE": "1MiB",
            "OTEL_AUDIT_SEAL_INTERVAL": "200ms",
            "OTEL_SERVICE_NAME": "shop",
            **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
            "PYTHONUNBUFFERED": "1",
            **variables,
        }

    def emit(self, count: int, **variables: str) -> None:
        """Run an application that records *count* events, has them delivered, and ends."""
        log = self.directory / "application.log"
        with self.emitting(count, log, **variables) as application:
            assert application.wait(PATIENCE_S) == 0, log.read_text()[-3000:]

    @contextmanager
    def emitting(self, count: int, log: Path, **variables: str) -> Generator[subprocess.Popen[bytes]]:
        """Run that application meanwhile."""
        command = [sys.executable, "-c", _APPLICATION, str(count), str(PATIENCE_S)]
        with log.open("ab") as output:
            process = subprocess.Popen(command, env=self.environ(**variables), stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def audit(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `otel-audit`, trusting the application's issuer."""
        program = shutil.which("otel-audit", path=Path(sys.executable).parent)
        assert program is not None
        return subprocess.run(
            [program, *arguments], env=self.environ(**variables), capture_output=True, text=True, check=False
        )

    def close(self) -> None:
        for collector in self.collectors:
            collector.kill()


_APPLICATION = """
import sys
import otel_audit
from otel_audit import Actor, Target

otel_audit.configure()
audit, alice = otel_audit.get_audit_logger("test"), Actor("alice", "user")
for number in range(int(sys.argv[1])):
    receipt = audit.emit("item.read", action="READ", actor=alice, target=Target(str(number), "item"))
    assert receipt.recorded
    if number % 300 == 299:
        assert receipt.wait_delivered(float(sys.argv[2]))
otel_audit.shutdown(float(sys.argv[2]))
"""


def http_environ(address: str, scheme: str = "http", **variables: str) -> dict[str, str]:
    """Settings of an application that delivers to *address* by HTTP.

    The protocol is said, because opentelemetry-distro 0.66 sets OTEL_EXPORTER_OTLP_PROTOCOL=grpc where nobody has
    set it, and these ports are not 4318, which tells otel-audit better.
    """
    protocol = {"OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    return {"OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": f"{scheme}://{address}", **protocol, **variables}


def grpc_environ(address: str, scheme: str = "http", **variables: str) -> dict[str, str]:
    """Settings of an application that delivers to *address* by gRPC."""
    return {**http_environ(address, scheme), "OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL": "grpc", **variables}


def client_environ(tls: TlsFiles) -> Mapping[str, str]:
    """Settings of an application that shows a client certificate."""
    return {
        "OTEL_AUDIT_EXPORTER_OTLP_CERTIFICATE": str(tls.ca),
        "OTEL_AUDIT_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(tls.directory / "client.pem"),
        "OTEL_AUDIT_EXPORTER_OTLP_CLIENT_KEY": str(tls.directory / "client.key"),
    }
