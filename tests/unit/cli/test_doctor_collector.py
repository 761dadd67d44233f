"""What the doctor says of the collector and of OpenTelemetry's exporters; what answers is real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.export.sink import GrpcSink, HttpSink, Reply

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Cli

ADDRESS = "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL"
NOBODY = "http://no-such-host.invalid"


@pytest.fixture
def http_sink() -> Iterator[HttpSink]:
    sink = HttpSink()
    yield sink
    sink.close()


@pytest.fixture
def grpc_sink() -> Iterator[GrpcSink]:
    sink = GrpcSink()
    yield sink
    sink.close()


@pytest.fixture
def look(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the doctor sees in the areas `collector` and `opentelemetry`, by name, with these variables."""

    def looks(**environ: str) -> dict[str, dict[str, str]]:
        for name in [*os.environ]:
            if name.startswith("OTEL_EXPORTER"):
                monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        found = json.loads(cli("doctor", "--json").out)["looks"]
        return {each["what"]: each for each in found if each["area"] in {"collector", "opentelemetry"}}

    return looks


def test_a_collector_that_takes_logs_is_well_and_gets_no_record(http_sink: HttpSink, look: Any) -> None:
    found = look(**{ADDRESS: http_sink.endpoint, PROTOCOL: "http/protobuf"})[ADDRESS]

    assert found["grade"] == "ok"
    assert found["message"].startswith(f"{http_sink.endpoint}/v1/logs, by http/protobuf: takes OTLP logs")
    assert http_sink.bodies == []
    assert len(http_sink.requests) == 1


def test_the_token_and_the_path_of_the_settings_are_used(http_sink: HttpSink, look: Any) -> None:
    variables = {ADDRESS: f"{http_sink.endpoint}/v1/audit", PROTOCOL: "http/protobuf"}
    look(**variables, OTEL_AUDIT_EXPORTER_OTLP_HEADERS="authorization=Bearer%20abc")

    assert http_sink.requests[0].headers["authorization"] == "Bearer abc"
    assert http_sink.requests[0].headers[":path"] == "/v1/audit"


def test_a_grpc_collector_is_asked_by_grpc(grpc_sink: GrpcSink, look: Any) -> None:
    found = look(**{ADDRESS: grpc_sink.endpoint, PROTOCOL: "grpc"})[ADDRESS]

    assert found["grade"] == "ok"
    assert f"127.0.0.1:{grpc_sink.port}, by grpc: takes OTLP logs" in found["message"]


def test_without_a_protocol_it_asks_as_the_application_will_under_the_stock_distro(
    grpc_sink: GrpcSink, look: Any
) -> None:
    found = look(OTEL_EXPORTER_OTLP_ENDPOINT=grpc_sink.endpoint)

    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"]["grade"] == "ok"
    assert "grpc under opentelemetry-instrument, whose stock distro sets" in found["protocol"]["message"]
    assert found["protocol"]["do"] == f"Set {PROTOCOL} to the one that is meant."


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(status=401), "answers 401 Unauthorized: the token is missing"),
        (Reply(status=404), "answers 404 Not Found: the path is wrong"),
        (Reply(body=b"<html>sign in", content_type="text/html"), "answers with something that is not OTLP"),
    ],
)
def test_an_answer_that_is_no_acknowledgement_is_wrong(
    reply: Reply, says: str, http_sink: HttpSink, look: Any
) -> None:
    """A port that takes connections proves nothing."""
    http_sink.behaviour = lambda _: reply

    found = look(**{ADDRESS: http_sink.endpoint, PROTOCOL: "http/protobuf"})[ADDRESS]

    assert found["grade"] == "wrong"
    assert says in found["message"]
    assert found["do"]


def test_a_sink_that_refuses_an_empty_request_may_still_take_records(http_sink: HttpSink, look: Any) -> None:
    http_sink.behaviour = lambda _: Reply(status=400)

    assert look(**{ADDRESS: http_sink.endpoint, PROTOCOL: "http/protobuf"})[ADDRESS]["grade"] == "note"


def test_a_grpc_refusal_says_what_answered(grpc_sink: GrpcSink, look: Any) -> None:
    grpc_sink.behaviour = lambda _: Reply(code=grpc.StatusCode.UNAUTHENTICATED, details="no token")

    found = look(**{ADDRESS: grpc_sink.endpoint, PROTOCOL: "grpc"})[ADDRESS]

    assert found["grade"] == "wrong"
    assert "answers UNAUTHENTICATED (no token): the token is missing" in found["message"]


def test_the_wrong_protocol_for_what_listens_is_named(http_sink: HttpSink, grpc_sink: GrpcSink, look: Any) -> None:
    by_grpc = look(**{ADDRESS: http_sink.endpoint, PROTOCOL: "grpc"})[ADDRESS]
    by_http = look(**{ADDRESS: grpc_sink.endpoint, PROTOCOL: "http/protobuf"})[ADDRESS]

    assert f"does not speak gRPC (ipv4:127.0.0.1:{http_sink.port}" in by_grpc["message"]
    assert f"{PROTOCOL}=http/protobuf" in by_grpc["message"]
    assert "does not speak HTTP" in by_http["message"]
    assert f"{PROTOCOL}=grpc" in by_http["message"]


@pytest.mark.parametrize(
    ("port", "protocol", "other"), [(4318, "grpc", "http/protobuf"), (4317, "http/protobuf", "grpc")]
)
def test_a_port_of_the_other_protocol_is_noticed(port: int, protocol: str, other: str, look: Any) -> None:
    found = look(**{ADDRESS: f"{NOBODY}:{port}", PROTOCOL: protocol})["port"]

    assert found["message"] == f"{protocol} to port {port}, where collectors speak {other}"
    assert found["do"] == f"Set {PROTOCOL}={other}, or the other port."


@pytest.mark.parametrize(("port", "protocol"), [(4317, "grpc"), (4318, "http/protobuf")])
def test_a_port_of_its_protocol_is_not(port: int, protocol: str, look: Any) -> None:
    assert "port" not in look(**{ADDRESS: f"{NOBODY}:{port}", PROTOCOL: protocol})


def test_without_an_endpoint_the_log_stays_here(look: Any) -> None:
    assert look()["endpoint"]["message"] == "none is set: the log stays on this machine"
    assert "otel-audit ship" in look(OTEL_AUDIT_EXPORTER="none")["endpoint"]["message"]


@pytest.mark.parametrize(
    ("variables", "wrong"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_METRICS_EXPORTER": "otlp,statsd"}, "OTEL_METRICS_EXPORTER"),
        ({"OTEL_LOGS_EXPORTER": "OTLP"}, "OTEL_LOGS_EXPORTER"),
        ({"OTEL_LOGS_EXPORTER": "none,otlp"}, "OTEL_LOGS_EXPORTER"),
        ({"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"),
        ({"OTEL_LOGS_EXPORTER": "console, otlp"}, None),
        ({"OTEL_TRACES_EXPORTER": " None "}, None),
        ({}, None),
    ],
)
def test_an_exporter_that_is_missing_is_wrong_where_opentelemetry_fails_to_start(
    variables: dict[str, str], wrong: str | None, look: Any, state: Path
) -> None:
    """What the doctor says is what the real start does: then nothing is audited, in fail mode `closed` either."""
    usual = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    if "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL" in variables:
        del usual["OTEL_METRICS_EXPORTER"]  # the stock distro says otlp
    named = look(**{**usual, **variables})

    run = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
    program = "import otel_audit.logger as logger; print('audited' if logger.installed() else 'NOT audited')"
    started = subprocess.run(
        [sys.executable, "-c", run, sys.executable, "-c", program],
        env={**os.environ},
        capture_output=True,
        text=True,
        check=True,
    )

    assert [what for what, each in named.items() if each["grade"] == "wrong"] == ([wrong] if wrong else [])
    assert ("Failed to auto initialize" in started.stderr) is (wrong is not None)
    assert started.stdout.strip() == ("NOT audited" if wrong else "audited")
