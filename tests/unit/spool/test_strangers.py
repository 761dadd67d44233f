"""Streams of one service in the directory of another: a copy made for safety's sake, or a directory mixed up.

A recovery or a reference across services is `misplaced` to a verifier, so an honest history would be `tampered`.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from otel_audit.configure import recover
from otel_audit.event import AuditEvent
from otel_audit.evidence.identity import local_issuers
from otel_audit.settings import Settings
from otel_audit.sources import read_directory
from otel_audit.spool.recovery import find_crashed
from otel_audit.testing import FixedClock
from otel_audit.verify import Verdict, verify
from tests.crashed import crash

from .conftest import Process, records

EVENT = AuditEvent("invoice.read", "READ", "success")


def kinds(verdict: Verdict) -> set[str]:
    return {one.kind for one in verdict.findings if one.severity == "error"}


def verdict_on(spool: Path, clock: FixedClock) -> Verdict:
    now = datetime.fromtimestamp(clock.time_unix_nano / 1e9, UTC)
    return verify([read_directory(spool)], trust=local_issuers(spool), now=now)


def test_a_copy_of_a_services_directory_beside_it_is_not_taken_for_a_service_that_crashed(
    process: Process, spool: Path
) -> None:
    """`cp -a shop shop.bak`, and then `otel-audit recover` or `ship`, which look after every service they find."""
    pipeline = process()
    pipeline.record(EVENT)
    crash(pipeline)
    shutil.copytree(spool / "shop", spool / "shop.bak")

    recover(Settings.from_environ({"OTEL_SERVICE_NAME": "shop", "OTEL_AUDIT_DIR": str(spool)}))

    # by the machine's clock: the issuer and the recovery are of today
    verdict = verify([read_directory(spool)], trust=local_issuers(spool))
    assert kinds(verdict) == set()
    assert [stream.recovered for stream in verdict.streams].count(True) == 1
    (copied,) = (spool / "shop.bak").iterdir()
    assert copied.name in {stream.stream for stream in verdict.streams if stream.recovered}


@pytest.mark.parametrize("how", ["crashed", "closed"])
def test_a_stream_of_another_service_is_neither_ended_nor_named(
    process: Process, spool: Path, clock: FixedClock, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    other = process(OTEL_SERVICE_NAME="billing")
    stream = other.record(EVENT).stream
    if how == "crashed":
        crash(other)
    else:
        other.shutdown(1.0)
    (spool / "shop").mkdir()
    moved = (spool / "billing" / stream).rename(spool / "shop" / stream)
    assert find_crashed(spool / "shop") is None

    present = process()
    mine = present.record(EVENT).stream
    present.keeper.tick()

    assert not any(stream in str(record) for record in records(spool, mine))
    assert kinds(verdict_on(spool, clock)) == set()
    assert ("of the service 'billing'" in caplog.text) == (how == "crashed")

    moved.rename(spool / "billing" / stream)
    clock.advance(31)
    present.keeper.tick()

    assert ("no stream of another service" in caplog.text) == (how == "crashed")
