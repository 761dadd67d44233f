"""Where records go: the specification's rules, and ours where it leaves something open."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from otel_audit.endpoint import Endpoint
from otel_audit.errors import InvalidSetting
from otel_audit.settings import Settings

GENERIC = "OTEL_EXPORTER_OTLP_"
LOGS = "OTEL_EXPORTER_OTLP_LOGS_"
OURS = "OTEL_AUDIT_EXPORTER_OTLP_"


def endpoint(**environ: str) -> Endpoint:
    found = Settings.from_environ(environ).endpoint
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("variable", "address", "target"),
    [
        (GENERIC, "http://collector:4318", "http://collector:4318/v1/logs"),
        (GENERIC, "http://collector:4318/", "http://collector:4318/v1/logs"),
        (GENERIC, "https://collector/otlp", "https://collector/otlp/v1/logs"),
        (GENERIC, "https://collector/otlp/?tenant=a", "https://collector/otlp/v1/logs?tenant=a"),
        (LOGS, "http://collector:4318/v1/logs", "http://collector:4318/v1/logs"),
        (LOGS, "http://collector:4318/custom", "http://collector:4318/custom"),
        (LOGS, "http://collector:4318", "http://collector:4318/"),
        (OURS, "http://collector:4318", "http://collector:4318/v1/logs"),
        (OURS, "http://collector:4318/", "http://collector:4318/v1/logs"),
        (OURS, "http://collector:4318/v1/audit", "http://collector:4318/v1/audit"),
        (OURS, "http://[::1]:4318", "http://[::1]:4318/v1/logs"),
    ],
)
def test_the_path_of_an_http_endpoint(variable: str, address: str, target: str) -> None:
    assert endpoint(**{f"{variable}ENDPOINT": address}).target == target


def test_no_endpoint_anywhere_means_no_network() -> None:
    settings = Settings.from_environ({})

    assert settings.endpoint is None
    assert settings.local_retention is None
    assert not settings.is_delivered


def test_the_nearer_variable_counts_each_by_itself() -> None:
    found = endpoint(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://a:4318",
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="http://b:4318/v1/logs",
        OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT="http://c:4318",
        OTEL_EXPORTER_OTLP_HEADERS="x=generic",
        OTEL_EXPORTER_OTLP_LOGS_HEADERS="x=logs",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
    )

    assert found.target == "http://c:4318/v1/logs"
    assert found.headers == {"x": "logs"}
    assert found.compression == "gzip"


def test_headers_are_percent_encoded_as_baggage_is() -> None:
    found = endpoint(
        OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT="http://c:4318",
        OTEL_AUDIT_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20abc%3D%3D, x-tenant = shop ,",
    )

    assert found.headers == {"authorization": "Bearer abc==", "x-tenant": "shop"}


@pytest.mark.parametrize("headers", ["secret-token", "a b=c", "x=hidden%0d%0aEvil: yes"])
def test_a_header_that_is_none_is_refused_and_not_repeated(headers: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        Settings.from_environ({f"{OURS}HEADERS": headers})

    assert f"{OURS}HEADERS=(hidden): expected headers" in str(refusal.value)
    assert headers not in str(refusal.value)


@pytest.mark.parametrize(
    ("variable", "text", "seconds"),
    [
        (OURS, "250ms", 0.25),
        (OURS, "3s", 3.0),
        (OURS, "2500", 2.5),
        (GENERIC, "2500", 2.5),
        (GENERIC, "10", 1.0),
        (LOGS, "15", 1.0),
    ],
)
def test_a_bare_timeout_is_milliseconds_and_a_standard_one_is_a_second_at_least(
    variable: str, text: str, seconds: float
) -> None:
    """Stock OpenTelemetry-Python reads seconds: whoever wrote 10 for it must not get 10 ms."""
    found = endpoint(**{f"{OURS}ENDPOINT": "http://c:4318", f"{variable}TIMEOUT": text})

    assert found.timeout_s == seconds


@pytest.mark.parametrize(
    ("address", "insecure", "target", "is_secure"),
    [
        ("http://collector:4317", "false", "collector:4317", False),
        ("https://collector:4317", "true", "collector:4317", True),
        ("collector:4317", "false", "collector:4317", True),
        ("collector:4317", "true", "collector:4317", False),
    ],
)
def test_the_scheme_of_a_grpc_endpoint_decides_before_insecure(
    address: str, insecure: str, target: str, is_secure: bool
) -> None:
    found = endpoint(
        OTEL_EXPORTER_OTLP_ENDPOINT=address,
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_INSECURE=insecure,
    )

    assert (found.target, found.is_secure) == (target, is_secure)


@pytest.mark.parametrize(
    ("variables", "protocol"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, "grpc"),
        ({"OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": "https://c/v1/audit"}, "http/protobuf"),
        (
            {
                "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
                "OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL": "grpc",
            },
            "grpc",
        ),
    ],
)
def test_the_protocol_that_the_distro_puts_into_the_environment_yields_to_an_address_of_http(
    variables: dict[str, str], protocol: str
) -> None:
    """opentelemetry-distro 0.66: `os.environ.setdefault(OTEL_EXPORTER_OTLP_PROTOCOL, "grpc")`, before our hook."""
    assert endpoint(OTEL_EXPORTER_OTLP_PROTOCOL="grpc", **variables).protocol == protocol


@pytest.mark.parametrize(
    ("variables", "protocol"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, "grpc"),
        ({"OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": "c:4317"}, "grpc"),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://c:4317/v1/logs"}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c"}, "http/protobuf"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            },
            "http/protobuf",
        ),
    ],
)
def test_where_nobody_names_a_protocol_the_port_does(variables: dict[str, str], protocol: str) -> None:
    """`otel-audit ship` speaks to the address as the application does, to which the distro has said `grpc`."""
    assert endpoint(**variables).protocol == protocol


def test_a_password_within_an_address_becomes_a_header_and_is_never_shown() -> None:
    settings = Settings.from_environ({f"{OURS}ENDPOINT": "https://shop:hunter2@collector:4318"})

    assert settings.endpoint is not None
    assert settings.endpoint.headers == {"authorization": "Basic c2hvcDpodW50ZXIy"}
    assert settings.endpoint.target == "https://collector:4318/v1/logs"
    assert "hunter2" not in settings.origins[f"{OURS}ENDPOINT"].value


@pytest.mark.parametrize("address", ["ftp://collector", "http://", "http://collector:port", "http://u:hunter2@:1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        Settings.from_environ({f"{OURS}ENDPOINT": address})

    assert f"{OURS}ENDPOINT=" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_client_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="expected both"):
        Settings.from_environ({f"{OURS}ENDPOINT": "https://c:4318", f"{OURS}CLIENT_CERTIFICATE": "/c.pem"})


def test_files_of_tls_are_paths() -> None:
    found = endpoint(
        OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT="https://c:4318",
        OTEL_EXPORTER_OTLP_CERTIFICATE="/ca.pem",
        OTEL_AUDIT_EXPORTER_OTLP_CLIENT_CERTIFICATE="/c.pem",
        OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY="/k.pem",
    )

    assert (found.certificate, found.client_certificate, found.client_key) == (
        Path("/ca.pem"),
        Path("/c.pem"),
        Path("/k.pem"),
    )


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        ({f"{OURS}ENDPOINT": "http://c:4318"}, timedelta(hours=24)),
        ({"OTEL_AUDIT_EXPORTER": "none"}, timedelta(hours=24)),
        ({f"{OURS}ENDPOINT": "http://c:4318", "OTEL_AUDIT_LOCAL_RETENTION": "7d"}, timedelta(days=7)),
        ({f"{OURS}ENDPOINT": "http://c:4318", "OTEL_AUDIT_LOCAL_RETENTION": "forever"}, None),
        ({}, None),
    ],
)
def test_what_is_delivered_is_kept_a_day_by_default(variables: dict[str, str], kept: timedelta | None) -> None:
    assert Settings.from_environ(variables).local_retention == kept
