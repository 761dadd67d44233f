"""What becomes of machines: issuers that change, backups that come back, clocks that are years ahead."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from otel_audit.sources import read_directory
from otel_audit.verify import Verdict, verify
from tests.attacks.world import ISSUER_DER, NOW, STRANGER, STRANGER_DER, World, kinds, stream, warnings
from tests.vectors import x509 as vectors_x509
from tests.vectors.stream import SECOND, T0

LATER = T0 + 3600 * SECOND
YEAR = 365 * 24 * 3600 * SECOND
NEW, NEW_DER = STRANGER, STRANGER_DER
"""An issuer that takes over from the world's."""


def _trusting(world: World, *issuers: bytes) -> Verdict:
    return verify(
        [read_directory(world.write())],
        trust=[x509.load_der_x509_certificate(one) for one in issuers],
        now=datetime.fromtimestamp(NOW / SECOND, UTC),
        grace=timedelta(0),
    )


def test_an_issuer_that_changes_in_the_middle_of_a_log_is_no_break_to_who_trusts_both(world: World) -> None:
    world.add(stream("after", start=LATER, trust=NEW, predecessors=[world.head]).begin().events(3).close())

    verdict = _trusting(world, ISSUER_DER, NEW_DER)

    assert verdict.status == "verified"
    assert len(verdict.trust) == 2
    assert kinds(_trusting(world, ISSUER_DER)) == {"untrusted-key"}
    assert "untrusted-key" in kinds(_trusting(world, NEW_DER))


def test_an_issuer_that_changes_while_a_crashed_stream_waits_ends_it(world: World) -> None:
    crashed = stream("crashed", start=LATER).begin().events(2).seal().events(1)
    world.add(crashed, "crashed")
    after = stream("after", start=LATER + 20 * SECOND, trust=NEW, predecessors=[crashed.reference(5)]).begin()
    world.add(after.recover(crashed, sealed=5).close(), "after")

    verdict = _trusting(world, ISSUER_DER, NEW_DER)

    assert verdict.status == "verified"
    assert "adopted" in warnings(verdict)


def test_a_machine_restored_from_a_backup_is_named_where_the_rest_has_arrived(world: World) -> None:
    """A known limit: to verifiers it is a spool that was rolled back. docs/operations.md says what to restore."""
    running = stream("running", start=LATER).begin().events(2).seal()
    restored = stream("restored", start=LATER + 3600 * SECOND, predecessors=[running.reference(5)]).begin()
    restored.recover(running, sealed=5).close()
    running.events(3).close()
    world.add(running, "running")
    world.add(restored, "restored")

    assert kinds(world.verdict()) == {"rolled-back", "misplaced"}

    world.lines["running"] = running.lines[:5]
    assert kinds(world.verdict()) == {"unwitnessed-end"}, "the machine's own spool"


def test_a_log_of_a_clock_that_is_a_year_ahead_is_not_said_to_be_vouched_for(world: World, tmp_path: Path) -> None:
    """Nothing of it can be overdue for a year: whoever reads the verdict is told so."""
    world.add(stream("ahead", start=NOW + YEAR).begin().events(3).close())
    (tmp_path / "trust.pem").write_text(vectors_x509.pem(ISSUER_DER))
    command = [sys.executable, "-m", "otel_audit.cli", "verify", str(world.write())]
    command += ["--trust", str(tmp_path / "trust.pem"), "--now", "2026-12-01T00:00:00Z"]

    said = subprocess.run(command, capture_output=True, text=True, check=False, env={"COLUMNS": "200"}).stdout

    assert world.verdict(write=False).pending == 6
    assert "pending" in said
    assert "a clock that is ahead" in said
