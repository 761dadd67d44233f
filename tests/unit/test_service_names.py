"""Whatever a service is called, its log lies inside the state directory and verifies."""

from __future__ import annotations

from pathlib import Path

import pytest

import otel_audit
from otel_audit import Settings, get_audit_logger
from otel_audit.evidence.identity import local_issuers
from otel_audit.logger import install
from otel_audit.sources import read_directory
from otel_audit.verify import verify


@pytest.mark.parametrize(
    "service",
    [
        "shop",
        'the "quoted", comma=plus+;<>#\\ shop',
        "Café Zürich 日本 😀",
        ".",
        "..",
        "../../etc/passwd",
        "a/b%2F\n\x01",
        "é" * 42,
        "😀" * 21,
        "x" * 64,
        "identity",
        ".hidden",
        "retiring-customers",
    ],
)
def test_a_service_of_any_name_has_a_log_of_its_own_that_verifies(service: str, tmp_path: Path) -> None:
    state = tmp_path / "deep" / "state"
    previous = install(None)
    otel_audit.configure(
        Settings.from_environ(
            {"OTEL_SERVICE_NAME": service, "OTEL_AUDIT_DIR": str(state), "OTEL_AUDIT_SPOOL_RESERVE": "1MiB"}
        )
    )
    get_audit_logger("test").emit("a.b", action="READ")
    otel_audit.shutdown()
    install(previous)

    verdict = verify([read_directory(state)], trust=local_issuers(state))

    assert verdict.status == "verified"
    assert [stream.service for stream in verdict.streams] == [service]
    assert [path.name for path in tmp_path.rglob("*.jsonl")] == ["000000000001.jsonl"]
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"state"}
