"""A state directory that cannot even be made: the application goes on, and its records are kept in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

import otel_audit


@pytest.mark.parametrize("below", ["state", "some/where/state"])
def test_records_are_kept_in_memory_where_no_directory_can_be_made(
    below: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The issuer would lie there too: without it no stream could open, and what the alarm promises were a lie."""
    file = tmp_path / "file"
    file.touch()
    otel_audit.configure(otel_audit.Settings(directory=file / below, service_name="shop"))

    receipt = otel_audit.get_audit_logger("test").emit("item.read", action="READ")
    otel_audit.shutdown()

    assert receipt.recorded
    (alarm,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "records are kept in memory only and are lost with the process" in alarm


def test_in_a_directory_that_can_be_written_a_broken_issuer_is_never_replaced(tmp_path: Path) -> None:
    """Records that no verifier trusts would look like evidence until the day that somebody asks."""
    issuer = tmp_path / "identity" / "issuer.pem"
    issuer.parent.mkdir(mode=0o700)
    issuer.write_text("not a certificate")
    otel_audit.configure(otel_audit.Settings(directory=tmp_path, service_name="shop"))

    receipt = otel_audit.get_audit_logger("test").emit("item.read", action="READ")
    otel_audit.shutdown()

    assert not receipt.recorded
    assert issuer.read_text() == "not a certificate"
