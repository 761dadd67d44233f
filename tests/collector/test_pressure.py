"""A Collector that has no room, or whose next hop refuses what it sends: what waits, what is lost, what to do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import yaml

from tests.collector.processes import (
    PATIENCE_S,
    Collector,
    World,
    grpc_environ,
    http_environ,
    wait_until,
)
from tests.collector.shops import bodies, spooled
from tests.export.sink import TAKE, GrpcSink, HttpSink, Reply

COUNT = 4_000
"""Events of some 5 MB as requests; one of them is at most some 600 kB."""
IMPATIENT = {"OTEL_AUDIT_EXPORTER_OTLP_TIMEOUT": "2s"}
"""How long an application waits for an answer: less than a Collector's client has to."""


def overridden(world: World, name: str, **settings: object) -> str:
    """A configuration to be laid over another one."""
    path = world.directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A volume of 4 MiB."""
    directory = tmp_path / "volume"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def address_of(agent: Collector, protocol: str) -> dict[str, str]:
    return http_environ(agent.http) if protocol == "http" else grpc_environ(agent.grpc)


def finish_through(world: World, agent: Collector, gateway: Collector, **environ: str) -> None:
    """An application records while there is no room behind *agent*, and ends after *gateway* has come back."""
    log = world.directory / "application.log"
    with world.emitting(COUNT, log, **environ, **IMPATIENT) as application:
        wait_until(lambda: "Nothing is lost" in log.read_text(), "the application is told to wait")
        assert application.poll() is None
        gateway.start()
        assert application.wait(PATIENCE_S) == 0, log.read_text()[-3000:] + agent.log.read_text()[-3000:]


def assert_all_arrived(world: World) -> None:
    """Every record of the spool, and no more, and what arrived verifies."""
    archive = world.archive("gateway")
    wait_until(lambda: spooled(world.spool) <= bodies(archive), "the whole spool in the archive")
    assert bodies(archive) == spooled(world.spool)
    assert sum('"event":"item.read"' in body for body in bodies(archive)) == COUNT
    ran = world.audit("verify", str(archive))
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_full_queue_has_the_application_wait_and_loses_nothing(world: World, protocol: str) -> None:
    gateway = world.collector("gateway")
    gateway.stop()
    queue = {"queue_size": 1_500_000}
    small = overridden(world, "small", exporters={"otlp_grpc/gateway": {"sending_queue": queue}})
    agent = world.collector("agent", "agent.yaml", small, AUDIT_GATEWAY=gateway.grpc)

    finish_through(world, agent, gateway, **address_of(agent, protocol))

    assert_all_arrived(world)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_full_disk_of_the_queue_has_the_application_wait_and_loses_nothing(
    world: World, small_disk: Path, protocol: str
) -> None:
    gateway = world.collector("gateway")
    gateway.stop()
    agent = world.collector("agent", AUDIT_GATEWAY=gateway.grpc, AUDIT_STATE=str(small_disk))

    finish_through(world, agent, gateway, **address_of(agent, protocol))

    assert "no space left on device" in agent.log.read_text()
    assert_all_arrived(world)
    agent.stop()


REFUSALS = {
    "401": Reply(status=401, is_taken=False),
    "403": Reply(status=403, is_taken=False),
    "404": Reply(status=404, is_taken=False),
    "UNAUTHENTICATED": Reply(code=grpc.StatusCode.UNAUTHENTICATED, is_taken=False),
    "PERMISSION_DENIED": Reply(code=grpc.StatusCode.PERMISSION_DENIED, is_taken=False),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_a_next_hop_refuses_is_dropped_by_the_agent_and_sent_again_from_the_spool(
    world: World, refusal: str
) -> None:
    """A known limit of the Collector; docs/collector.md says what to do, and this does it."""
    sink = HttpSink() if refusal.isdigit() else GrpcSink()
    sink.behaviour = lambda _: REFUSALS[refusal]
    agent = world.collector("agent", "agent.yaml", next_hop(world, sink), AUDIT_GATEWAY="unused:1")
    address = http_environ(agent.http)
    world.emit(300, **address)
    wait_until(lambda: "Dropping data" in agent.log.read_text(), "the agent gives up what was refused")
    refused = len(sink.requests)

    sink.behaviour = lambda _: TAKE
    again = world.audit("ship", "--once", **address)
    assert (again.returncode, again.stdout) == (0, "0 records delivered.\n"), "it was acknowledged"
    for cursor in world.spool.glob("shop/*/delivered"):
        cursor.unlink()
    again = world.audit("ship", "--once", **address)
    assert again.returncode == 0, again.stdout + again.stderr
    sink.wait_for(lambda: len({*sink.bodies}) == len(spooled(world.spool)))

    assert refused > 0
    assert {body.decode() for body in sink.bodies} == spooled(world.spool)
    sink.close()


def next_hop(world: World, sink: HttpSink | GrpcSink) -> str:
    """Have the agent send to *sink*, as it would to a gateway."""
    if isinstance(sink, GrpcSink):
        plain = {"insecure": True, "ca_file": "", "cert_file": "", "key_file": ""}
        hop = {"endpoint": f"127.0.0.1:{sink.port}", "tls": plain}
        return overridden(world, "next", exporters={"otlp_grpc/gateway": hop})
    queue = {"enabled": True, "storage": "file_storage/queue", "num_consumers": 1, "block_on_overflow": True}
    retry = {"enabled": True, "max_elapsed_time": 0}
    hop = {"endpoint": sink.endpoint, "sending_queue": queue, "retry_on_failure": retry}
    pipelines = {"logs/audit": {"exporters": ["otlp_http/next"]}}
    return overridden(world, "next", exporters={"otlp_http/next": hop}, service={"pipelines": pipelines})
