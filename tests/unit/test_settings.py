"""Settings: what is accepted, what is refused and how the refusal reads."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from otel_audit import variables
from otel_audit.errors import InvalidSetting
from otel_audit.settings import Settings
from otel_audit.variable_values import Reserve
from otel_audit.variables import VARIABLES


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    read = Settings.from_environ({"HOME": "/somewhere"})

    assert read.directory == Path("/somewhere/.local/state/otel-audit")
    assert read.seal_interval == timedelta(seconds=5)
    assert read.stream_max_bytes == 256 * 1024 * 1024
    assert read.service_name == "unknown_service"


def test_the_default_in_the_table_is_the_default_in_the_dataclass() -> None:
    """The table feeds the documentation, the dataclass the code: they must not drift apart."""
    words = {"none", "built in", "made in the state directory", "~/.local/state/otel-audit"}
    plain = Settings()
    drifted = [
        variable.name
        for variable in VARIABLES
        if variable.default not in words and variable.parse(variable.default) != getattr(plain, variable.field)
    ]

    assert drifted == []


def test_every_variable_is_a_flag_of_opentelemetry_instrument() -> None:
    """The launcher offers each module attribute that begins with OTEL_."""
    assert {v.name for v in VARIABLES} <= {name for name in dir(variables) if name.startswith("OTEL_")}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OTEL_AUDIT_SEAL_INTERVAL", "soon", "expected a duration such as 1s or 500ms"),
        ("OTEL_AUDIT_SEAL_INTERVAL", "301s", "expected 100ms to 300s"),
        ("OTEL_AUDIT_STREAM_MAX_BYTES", "lots", "expected a size such as 64MiB"),
        ("OTEL_AUDIT_FAIL_MODE", "half-open", "expected one of open, closed"),
        ("OTEL_AUDIT_DIR", "relative/path", "expected an absolute path, or memory:"),
        ("OTEL_AUDIT_IDENTITY", "kms", "expected self, or file:CERT.pem,KEY.pem"),
        ("OTEL_AUDIT_TRUSTED_PROXIES", "10.0.0.1/8", "expected networks such as 10.0.0.0/8"),
        ("OTEL_AUDIT_SPOOL_RESERVE", "120%", "expected a share such as 5%"),
        ("OTEL_AUDIT_ENABLED", "yes", "expected true or false"),
        ("OTEL_AUDIT_HASH_KEY_FILE", "/does/not/exist", "No such file"),
        ("OTEL_SERVICE_NAME", "x" * 65, "expected at most 64 characters"),
    ],
)
def test_a_refusal_names_variable_value_and_what_is_accepted(name: str, value: str, expected: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        Settings.from_environ({name: value})

    assert name in str(refusal.value)
    assert repr(value) in str(refusal.value)
    assert expected in str(refusal.value)


def test_a_secret_is_not_repeated_by_its_refusal() -> None:
    with pytest.raises(InvalidSetting) as refusal:
        Settings.from_environ({"OTEL_AUDIT_HASH_KEY": "hunter2"})

    assert "hunter2" not in str(refusal.value)


def test_a_secret_is_not_shown_by_its_origin() -> None:
    read = Settings.from_environ({"OTEL_AUDIT_HASH_KEY": "correct horse battery"})

    assert read.origins["OTEL_AUDIT_HASH_KEY"].value == "(set)"


def test_resource_attributes_are_percent_decoded_and_the_service_name_variable_wins() -> None:
    read = Settings.from_environ(
        {
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=a,deployment.environment=b%20c",
            "OTEL_SERVICE_NAME": "shop",
        }
    )

    assert read.service_name == "shop"
    assert read.resource == {"service.name": "shop", "deployment.environment": "b c"}


def test_systemd_state_directory_comes_before_the_home_directory() -> None:
    read = Settings.from_environ({"STATE_DIRECTORY": "/var/lib/shop:/var/lib/other", "HOME": "/h"})

    assert read.directory == Path("/var/lib/shop")
    assert read.origins["OTEL_AUDIT_DIR"].source == "STATE_DIRECTORY"


def test_a_unix_socket_may_be_a_trusted_proxy() -> None:
    """gunicorn behind nginx on one machine: the peer has no address."""
    read = Settings.from_environ({"OTEL_AUDIT_TRUSTED_PROXIES": "unix, 10.0.0.0/8"})

    assert read.trusts_unix_socket
    assert [str(network) for network in read.trusted_proxies] == ["10.0.0.0/8"]


@pytest.mark.parametrize("value", ["\u0667d", "1e3s", "0s", "-1s", "5"])
def test_a_duration_is_a_plain_number_and_a_unit(value: str) -> None:
    with pytest.raises(InvalidSetting):
        Settings.from_environ({"OTEL_AUDIT_SEAL_INTERVAL": value})


def test_memory_means_no_directory() -> None:
    assert Settings.from_environ({"OTEL_AUDIT_DIR": "memory:"}).directory is None


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().enabled = False  # type: ignore[misc]


def test_a_reserve_is_a_share_of_the_volume_or_a_size() -> None:
    assert Reserve(percent=5).of(1000) == 50
    assert Reserve(size_bytes=7).of(1000) == 7
