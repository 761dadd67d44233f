"""Resource attributes and the name of the service: what fits a record, a certificate and a directory."""

from __future__ import annotations

import pytest

from otel_audit.errors import InvalidSetting
from otel_audit.settings import Settings


@pytest.mark.parametrize(
    ("service", "expected"),
    [("😀" * 22, "expected at most 253 characters when percent-encoded"), ("é" * 43, "253")],
)
def test_a_service_name_that_no_directory_can_have_is_refused(service: str, expected: str) -> None:
    with pytest.raises(InvalidSetting, match=expected):
        Settings.from_environ({"OTEL_SERVICE_NAME": service})


def test_bytes_of_the_environment_that_are_not_utf8_become_replacement_characters() -> None:
    """PEP 383 hands them on as lone surrogates, which no record can carry."""
    read = Settings.from_environ({"OTEL_SERVICE_NAME": "sh\udcffp", "OTEL_RESOURCE_ATTRIBUTES": "a=\udc80"})

    assert read.resource == {"service.name": "sh\ufffdp", "a": "\ufffd"}


def test_a_resource_too_large_for_the_open_record_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="at most 8192 bytes"):
        Settings.from_environ({"OTEL_RESOURCE_ATTRIBUTES": "a=" + "%01" * 1400})
