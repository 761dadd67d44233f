"""TLS on both sides, with certificates that openssl makes, and gzip; by HTTP and by gRPC."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.export.conftest import MakeApp
from tests.export.sink import GrpcSink, HttpSink


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server for 127.0.0.1, a client; and a client of another authority."""
    directory = tmp_path_factory.mktemp("pki")

    def make(name: str, subject: str, issuer: str | None, *extensions: str) -> None:
        path = directory / name
        issuing = ["-CA", f"{directory / issuer}.pem", "-CAkey", f"{directory / issuer}.key"] if issuer else []
        added = [word for extension in extensions for word in ("-addext", extension)]
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-keyout", f"{path}.key", "-out", f"{path}.pem", "-subj", f"/CN={subject}", *issuing, *added),
        )

    for authority in ("ca", "stranger"):
        make(authority, authority, None, "basicConstraints=critical,CA:TRUE")
    leaf = "basicConstraints=critical,CA:FALSE"
    make("server", "sink", "ca", leaf, "subjectAltName=IP:127.0.0.1")
    make("client", "shop", "ca", leaf)
    make("thief", "shop", "stranger", leaf)
    return directory


@pytest.fixture
def secure_http(pki: Path) -> Iterator[HttpSink]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.pem", pki / "server.key")
    context.load_verify_locations(pki / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    def wrap(listener: socket.socket) -> socket.socket:
        return context.wrap_socket(listener, server_side=True)

    sink = HttpSink(wrap)
    yield sink
    sink.close()


@pytest.fixture
def secure_grpc(pki: Path) -> Iterator[GrpcSink]:
    pair = ((pki / "server.key").read_bytes(), (pki / "server.pem").read_bytes())
    sink = GrpcSink(grpc.ssl_server_credentials([pair], (pki / "ca.pem").read_bytes(), require_client_auth=True))
    yield sink
    sink.close()


@pytest.fixture(params=["secure_http", "secure_grpc"])
def secure(request: pytest.FixtureRequest) -> HttpSink | GrpcSink:
    found: HttpSink | GrpcSink = request.getfixturevalue(request.param)
    return found


def tls(pki: Path, sink: HttpSink | GrpcSink, client: str | None) -> dict[str, str]:
    ours = "OTEL_AUDIT_EXPORTER_OTLP_"
    variables = {f"{ours}ENDPOINT": f"https://127.0.0.1:{sink.port}", f"{ours}CERTIFICATE": str(pki / "ca.pem")}
    if client is not None:
        variables[f"{ours}CLIENT_CERTIFICATE"] = str(pki / f"{client}.pem")
        variables[f"{ours}CLIENT_KEY"] = str(pki / f"{client}.key")
    return variables


def test_both_sides_show_a_certificate(app: MakeApp, secure: HttpSink | GrpcSink, pki: Path) -> None:
    shop = app(secure, **tls(pki, secure, "client"))

    assert shop.emit(*range(100)).wait_delivered(60)
    assert secure.targets() == [str(number) for number in range(100)]


@pytest.mark.parametrize("client", [None, "thief"])
def test_without_the_right_certificate_nothing_is_delivered_and_nothing_lost(
    client: str | None, app: MakeApp, secure: HttpSink | GrpcSink, pki: Path
) -> None:
    shop = app(secure, **tls(pki, secure, client))
    assert not shop.emit("secret").wait_delivered(1.0)
    assert secure.requests == []
    shop.shutdown(0.1)

    mended = app(secure, **tls(pki, secure, "client"))
    mended.emit("after")
    secure.wait_for(lambda: set(secure.targets()) == {"secret", "after"})


def test_a_sink_whose_certificate_nobody_vouches_for_gets_nothing(
    app: MakeApp, secure: HttpSink | GrpcSink, pki: Path, caplog: pytest.LogCaptureFixture
) -> None:
    variables = tls(pki, secure, "client")
    variables["OTEL_AUDIT_EXPORTER_OTLP_CERTIFICATE"] = str(pki / "stranger.pem")
    shop = app(secure, **variables)

    assert not shop.emit("secret").wait_delivered(1.0)

    assert secure.requests == []
    assert any("OTEL_AUDIT_EXPORTER_OTLP_CERTIFICATE" in record.message for record in caplog.records)


def test_gzip(app: MakeApp, sink: HttpSink | GrpcSink) -> None:
    shop = app(sink, OTEL_AUDIT_EXPORTER_OTLP_COMPRESSION="gzip", OTEL_AUDIT_EXPORTER_OTLP_HEADERS="x-tenant=shop")

    assert shop.emit(*range(500)).wait_delivered(60)

    assert sink.targets() == [str(number) for number in range(500)]
    assert all(request.headers["x-tenant"] == "shop" for request in sink.requests)
    encodings = {request.headers.get("content-encoding", "gzip") for request in sink.requests}
    assert encodings == {"gzip"}
