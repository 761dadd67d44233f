"""An issuer that is not valid at the start: the machine's clock may be wrong, and right a moment later."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import otel_audit
from otel_audit.configure import recover
from otel_audit.evidence.identity import IssuerIdentity, file_identity
from otel_audit.issuers import FileIdentity
from tests.issuers import write_intermediate

DAYS = pytest.mark.parametrize(("since", "until"), [(1, 2), (-2, -1)], ids=["not yet", "no more"])


def settings(directory: Path, since: int, until: int, **more: str) -> otel_audit.Settings:
    """Of a service whose issuer is valid for some days from now on."""
    now = datetime.now(UTC)
    identity, _ = write_intermediate(
        directory, since=now + timedelta(days=since), until=now + timedelta(days=until)
    )
    variables = {"OTEL_SERVICE_NAME": "shop", "OTEL_AUDIT_DIR": str(directory / "state"), **more}
    return otel_audit.Settings.from_environ({**variables, "OTEL_AUDIT_IDENTITY": identity})


@DAYS
def test_in_fail_mode_open_the_process_is_set_up_and_says_that_events_are_lost(
    since: int, until: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    otel_audit.configure(settings(tmp_path, since, until))

    receipt = otel_audit.get_audit_logger("test").emit("item.read", action="READ")
    otel_audit.shutdown()

    assert not receipt.recorded
    assert "CN=issuer: valid from" in caplog.text
    assert "no stream can be opened until then" in caplog.text


@DAYS
def test_in_fail_mode_closed_there_is_no_start(since: int, until: int, tmp_path: Path) -> None:
    with pytest.raises(otel_audit.IdentityError, match="CN=issuer: valid from"):
        otel_audit.configure(settings(tmp_path, since, until, OTEL_AUDIT_FAIL_MODE="closed"))


def test_an_issuer_that_is_renewed_on_the_disk_is_taken_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As cert-manager and its like do; the alarm says to renew it, so that must be enough."""
    otel_audit.configure(settings(tmp_path, -2, -1))
    audit = otel_audit.get_audit_logger("test")
    assert not audit.emit("item.read", action="READ").recorded

    settings(tmp_path, -1, 1)

    deadline_s = time.monotonic() + 60
    while not audit.emit("item.read", action="READ").recorded:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    otel_audit.shutdown()
    assert "the issuer certifies again" in caplog.text


def test_an_expired_issuer_that_cannot_be_read_again_is_named_with_both_reasons(tmp_path: Path) -> None:
    (tmp_path / "identity").mkdir()
    issuer = FileIdentity(lambda: _expired(tmp_path / "identity"))
    shutil.rmtree(tmp_path / "identity")

    with pytest.raises(otel_audit.IdentityError, match=r"valid from .* reading it again fails: .* cannot be read"):
        issuer.check_validity()


def _expired(directory: Path) -> IssuerIdentity:
    if directory.exists():
        now = datetime.now(UTC)
        write_intermediate(directory, since=now - timedelta(days=2), until=now - timedelta(days=1))
    return file_identity(directory / "issuer.crt", directory / "issuer.key")


def test_recover_without_the_services_identity_makes_no_issuer_that_nobody_knows(tmp_path: Path) -> None:
    """A sidecar whose environment lacks OTEL_AUDIT_IDENTITY: its recovery would be an `untrusted-key`."""
    of_service = settings(tmp_path, -1, 1)
    program = "import os, otel_audit; otel_audit.configure()\n"
    program += "otel_audit.get_audit_logger('test').emit('item.read', action='READ'); os._exit(0)"
    environ = {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_AUDIT_DIR": str(of_service.directory),
        "OTEL_AUDIT_SPOOL_RESERVE": "1MiB",
    }
    named = {"OTEL_AUDIT_IDENTITY": of_service.identity}
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, **environ, **named})
    assert of_service.directory is not None
    before = sorted(of_service.directory.rglob("*.jsonl"))

    with pytest.raises(otel_audit.IdentityError, match="set OTEL_AUDIT_IDENTITY as the service has it"):
        recover(otel_audit.Settings.from_environ(environ))

    assert sorted(of_service.directory.rglob("*.jsonl")) == before
    assert not (of_service.directory / "identity").exists()

    ends = recover(otel_audit.Settings.from_environ({**environ, **named}))
    assert [end.how for end in ends["shop"]] == ["recovered"]
