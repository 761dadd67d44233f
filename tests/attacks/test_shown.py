"""Attacks on the reader: what `show` prints beside a good verdict must be what the verdict is about."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attacks.world import ISSUER_DER, STRANGER, World, stream
from tests.vectors import x509
from tests.vectors.stream import SECOND, T0, encode, stamp

LATER = T0 + 3600 * SECOND
MALLORY = {"id": "mallory", "type": "user", "auth": "mtls"}


def _show(world: World, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    trust = tmp_path / "trust.pem"
    trust.write_text(x509.pem(ISSUER_DER))
    command = [sys.executable, "-m", "otel_audit.cli", "show", str(world.write()), "--trust", str(trust), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_honest_archive_is_shown_once_each(world: World, tmp_path: Path) -> None:
    """33 events, whatever is repeated or reordered."""
    world.lines["first"] += world.lines["first"][2:5]
    world.lines["third"].reverse()

    shown = _show(world, tmp_path, "--json")

    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == 33


def test_a_forged_line_above_a_recovered_end_is_not_shown_as_an_event(world: World, tmp_path: Path) -> None:
    """Torn lines are no records: the verifier passes them over, so a reader must never see them."""
    forged = world.record("second", 9) | {"seq": 10, "actor": MALLORY}
    world.lines["second"].append(encode(forged))

    shown = _show(world, tmp_path, "--actor", "mallory")

    assert "mallory" not in shown.stdout
    assert shown.returncode == 4


@pytest.mark.parametrize(("seq", "observed_s"), [(3, 1300), (30, 3002)])
def test_a_record_moved_into_a_period_is_not_shown_beside_a_good_verdict(
    world: World, tmp_path: Path, seq: int, observed_s: int
) -> None:
    """The verdict for a period is about a run of records; what was changed outside of it must not be let in."""
    long = stream("long", start=T0).begin().events(3).seal()
    for _ in range(6):
        long.wait(600).events(4).seal()
    world.add(long.close(), "long")
    moved, observed = stamp(T0 + 1300 * SECOND), stamp(T0 + observed_s * SECOND)
    world.edit("long", seq, actor=MALLORY, time=moved, observed=observed)
    period = ["--since", "2026-03-01T08:19:00Z", "--until", "2026-03-01T08:25:00Z"]

    shown = _show(world, tmp_path, "--actor", "mallory", *period)

    assert shown.returncode == 1 or "mallory" not in shown.stdout


def test_a_strangers_stream_is_never_shown_without_an_alarm(world: World, tmp_path: Path) -> None:
    forged = stream("forged", start=LATER, trust=STRANGER).begin()
    forged.event(actor=MALLORY)
    world.add(forged.close())

    shown = _show(world, tmp_path, "--actor", "mallory")

    assert shown.returncode == 1


def test_a_hostile_name_reaches_the_terminal_escaped(world: World, tmp_path: Path) -> None:
    hostile = "\x1b]0;title\x07\x1b[2J\u202e\u2028\x9b31m\r\n2026 alice READ everything"
    odd = stream("odd", start=LATER).begin()
    odd.event(actor={"id": hostile, "type": "user"}, target={"id": hostile, "type": hostile})
    world.add(odd.close())

    shown = _show(world, tmp_path)

    printed = shown.stdout + shown.stderr
    assert all(char.isprintable() or char == "\n" for char in printed)
    assert not any(line.startswith("2026 alice") for line in printed.splitlines())


def test_json_of_a_hostile_name_is_one_line_an_event(world: World, tmp_path: Path) -> None:
    odd = stream("odd", start=LATER).begin()
    odd.event(actor={"id": 'x"}\n{"actor":\u2028', "type": "user"})
    world.add(odd.close())

    shown = _show(world, tmp_path, "--json")

    events = [json.loads(line) for line in shown.stdout.splitlines() if line]
    assert len(events) == 34
