"""Every stream says by which manifest of what is audited it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import otel_audit
from otel_audit.capture.coverage import manifest_bytes
from otel_audit.cli.entry import run
from otel_audit.errors import InvalidSetting
from otel_audit.settings import Settings


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "coverage.json"
    path.write_bytes(manifest_bytes({"routes": [{"route": "/\udcff"}]}))
    yield path
    otel_audit.shutdown()


def opened(directory: Path) -> dict[str, Any]:
    (log,) = directory.glob("shop/*/*.jsonl")
    context: dict[str, Any] = json.loads(log.read_bytes().splitlines()[0])["context"]
    return context


def test_the_manifests_digest_stands_in_the_open_record(
    tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("OTEL_AUDIT_DIR", str(state))
    otel_audit.configure(Settings(directory=state, service_name="shop", coverage_path=manifest))
    otel_audit.get_audit_logger("test").emit("invoice.read", action="READ")
    otel_audit.shutdown()

    assert opened(state)["audit.coverage.digest"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert run(["verify"]) == 0


def test_without_a_manifest_nothing_is_said(tmp_path: Path) -> None:
    otel_audit.configure(Settings(directory=tmp_path, service_name="shop"))
    otel_audit.get_audit_logger("test").emit("invoice.read", action="READ")
    otel_audit.shutdown()

    assert "audit.coverage.digest" not in opened(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"schema":"otel-audit-coverage/2"}',
        b'{ "schema":"otel-audit-coverage/1"}',
        b'{"routes":9007199254740993,"schema":"otel-audit-coverage/1"}',
    ],
)
def test_what_is_no_manifest_is_refused_at_the_start(tmp_path: Path, text: bytes | None) -> None:
    path = tmp_path / "coverage.json"
    if text is not None:
        path.write_bytes(text)

    with pytest.raises(InvalidSetting, match="OTEL_AUDIT_COVERAGE="):
        otel_audit.configure(Settings(directory=tmp_path, service_name="shop", coverage_path=path))
