"""Every configuration that operators get, started and used: what goes in comes out, and verifies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests

from tests.collector.processes import (
    PATIENCE_S,
    TlsFiles,
    World,
    client_environ,
    grpc_environ,
    http_environ,
    wait_until,
)


def targets(archive: Path) -> list[str]:
    """Of every event in the archive, in order of the lines: read without otel_audit."""
    files = [*sorted(archive.glob("audit.otlp-*.jsonl")), archive / "audit.otlp.jsonl"]
    lines = [line for file in files if file.exists() for line in file.read_bytes().splitlines()]
    records: list[dict[str, Any]] = [
        json.loads(record["body"]["stringValue"])
        for line in lines
        for resource in json.loads(line)["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]
    return [record["target"]["id"] for record in records if record["event"] == "item.read"]


def verified(world: World, *sources: Path) -> dict[str, Any]:
    """The verdict over *sources*, which must be `verified`."""
    ran = world.audit("verify", "--json", *map(str, sources))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    verdict: dict[str, Any] = json.loads(ran.stdout)
    return verdict


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_archive_file_keeps_what_an_application_delivers(world: World, protocol: str, compression: str) -> None:
    collector = world.collector("archive-file")
    address = http_environ(collector.http) if protocol == "http" else grpc_environ(collector.grpc)

    world.emit(300, **address, OTEL_AUDIT_EXPORTER_OTLP_COMPRESSION=compression)

    assert targets(world.archive("archive-file")) == numbers(300)
    verdict = verified(world, world.archive("archive-file"))
    assert (len(verdict["streams"]), verdict["streams"][0]["closed"]) == (1, True)


def test_the_archive_is_private(world: World) -> None:
    collector = world.collector("archive-file")
    world.emit(1, **http_environ(collector.http))

    assert world.archive("archive-file").stat().st_mode & 0o777 == 0o700


def test_rotation_deletes_nothing(world: World) -> None:
    collector = world.collector("archive-file", AUDIT_ROTATE_MB="1")

    for _ in range(2):
        world.emit(1_500, **http_environ(collector.http))

    assert len(list(world.archive("archive-file").iterdir())) > 3
    assert targets(world.archive("archive-file")) == numbers(1_500) * 2
    assert verified(world, world.archive("archive-file"))["records"] > 3_000


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_application_delivers_through_agent_and_gateway(world: World, protocol: str) -> None:
    gateway = world.collector("gateway")
    agent = world.collector("agent", AUDIT_GATEWAY=gateway.grpc)
    address = http_environ(agent.http) if protocol == "http" else grpc_environ(agent.grpc)

    world.emit(300, **address)
    wait_until(lambda: len(targets(world.archive("gateway"))) == 300, "everything in the archive")
    agent.stop()

    assert targets(world.archive("gateway")) == numbers(300)
    assert verified(world, world.archive("gateway"))["streams"][0]["closed"]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_application_delivers_to_the_gateway_with_a_certificate(world: World, protocol: str) -> None:
    gateway = world.collector("gateway")
    environ = http_environ if protocol == "http" else grpc_environ
    address = environ(gateway.http if protocol == "http" else gateway.grpc, "https", **client_environ(world.tls))

    world.emit(300, **address)

    assert targets(world.archive("gateway")) == numbers(300)


def test_an_application_delivers_to_the_gateway_with_a_token(world: World) -> None:
    gateway = world.collector("gateway")
    token = {"OTEL_AUDIT_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20a-good-token"}

    world.emit(
        300,
        **http_environ(
            gateway.token_http, "https", OTEL_AUDIT_EXPORTER_OTLP_CERTIFICATE=str(world.tls.ca), **token
        ),
    )

    assert targets(world.archive("gateway")) == numbers(300)


def test_the_gateway_takes_nothing_from_strangers(world: World) -> None:
    """Neither without a certificate or a token, nor with a forged one."""
    gateway = world.collector("gateway")
    forged = TlsFiles(world.directory / "mallory").directory
    pair = (str(forged / "client.pem"), str(forged / "client.key"))
    headers = {"content-type": "application/json"}

    def post(address: str, cert: tuple[str, str] | None = None, token: str | None = None) -> int:
        given = headers if token is None else {**headers, "authorization": token}
        url = f"https://{address}/v1/logs"
        return requests.post(url, b"{}", timeout=30, verify=str(world.tls.ca), headers=given, cert=cert).status_code

    for strange in (None, pair):
        with pytest.raises(requests.exceptions.ConnectionError):
            post(gateway.http, strange)
    for token in (None, "Bearer another", "Bearer", "a-good-token"):
        assert post(gateway.token_http, token=token) == 401
    assert post(gateway.token_http, token="Bearer a-good-token") == 200
    assert (
        post(gateway.http, (str(world.tls.directory / "client.pem"), str(world.tls.directory / "client.key")))
        == 200
    )
    options = grpc.ssl_channel_credentials(world.tls.ca.read_bytes())
    with grpc.secure_channel(gateway.grpc, options) as channel:
        name = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
        export = channel.unary_unary(name, request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.RpcError) as refused:
            export(b"", timeout=30)
    assert "UNAVAILABLE" in str(refused.value)


def test_a_refused_token_costs_the_application_nothing(world: World) -> None:
    """It alarms, keeps its records, and goes on when the gateway knows the token; nobody restarts anything."""
    gateway = world.collector("gateway")
    ca = {"OTEL_AUDIT_EXPORTER_OTLP_CERTIFICATE": str(world.tls.ca)}
    token = {"OTEL_AUDIT_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20the-new-token"}
    log = world.directory / "application.log"

    with world.emitting(300, log, **http_environ(gateway.token_http, "https", **ca, **token)) as application:
        wait_until(lambda: "401" in log.read_text(), "the application's alarm")
        assert targets(world.archive("gateway")) == []
        (world.tls.directory / "tokens").write_text("the-new-token\n")
        assert application.wait(PATIENCE_S) == 0, log.read_text()

    assert targets(world.archive("gateway")) == numbers(300)


def test_an_agent_whose_certificate_is_refused_loses_nothing(world: World) -> None:
    """A refused token would be answered, and dropped; a refused certificate is a connection that is tried again."""
    gateway = world.collector("gateway")
    good = {name: (world.tls.directory / name).read_bytes() for name in ("client.pem", "client.key")}
    world.tls.forge_client()
    agent = world.collector("agent", AUDIT_GATEWAY=gateway.grpc)

    world.emit(300, **http_environ(agent.http))
    wait_until(lambda: "connection error" in agent.log.read_text(), "the agent is refused")
    assert targets(world.archive("gateway")) == []
    agent.kill()
    for name, content in good.items():
        (world.tls.directory / name).write_bytes(content)
    agent.start()
    wait_until(lambda: len(targets(world.archive("gateway"))) >= 300, "everything in the archive")

    assert targets(world.archive("gateway")) == numbers(300)
    verified(world, world.archive("gateway"))


def test_a_backend_gets_the_same_as_the_archive(world: World) -> None:
    """And later, if it is down when the record comes."""
    backend = world.collector("archive-file")
    gateway = world.collector("gateway", "gateway.yaml", "backend.yaml", AUDIT_BACKEND=f"http://{backend.http}")
    backend.kill()

    world.emit(300, **http_environ(gateway.http, "https", **client_environ(world.tls)))
    assert targets(world.archive("gateway")) == numbers(300)
    gateway.kill()
    gateway.start()
    backend.start()
    wait_until(lambda: len(targets(world.archive("archive-file"))) >= 300, "everything in the backend")

    assert sorted(set(targets(world.archive("archive-file"))), key=int) == numbers(300)
    verified(world, world.archive("archive-file"))
    verified(world, world.archive("gateway"), world.archive("archive-file"))


def test_the_queue_on_disk_is_private(world: World) -> None:
    gateway = world.collector("gateway")
    world.collector("agent", AUDIT_GATEWAY=gateway.grpc)

    queue = world.directory / "agent" / "queue"

    assert queue.stat().st_mode & 0o777 == 0o700
    assert list(queue.iterdir()) != []
