"""An issuer that is not valid at the start: the machine's clock may be wrong, and right a moment later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import otel_audit
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
