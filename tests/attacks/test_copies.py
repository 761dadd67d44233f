"""Two copies of one log: what one lacks or says otherwise, the other shows. And whose word removal rests on."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from otel_audit.sources import read_directory
from otel_audit.verify import Verdict, verify
from tests.attacks.world import ISSUER_DER, NOW, World, kinds, stream, warnings
from tests.vectors import x509 as vectors_x509
from tests.vectors.stream import PLACE, SECOND, T0, stamp

LATER = T0 + 3600 * SECOND


@pytest.fixture
def copy(tmp_path: Path) -> World:
    return World(tmp_path / "copy")


def _both(one: World, two: World) -> Verdict:
    return verify(
        [read_directory(one.write()), read_directory(two.write())],
        trust=[x509.load_der_x509_certificate(ISSUER_DER)],
        now=datetime.fromtimestamp(NOW / SECOND, UTC),
    )


def test_two_honest_copies_are_verified(world: World, copy: World) -> None:
    assert _both(world, copy).status == "verified"


def test_each_copy_may_hold_another_part_of_a_stream(world: World, copy: World) -> None:
    world.drop("first", 3, 5, 8, 11)
    copy.drop("first", 1, 2, 4, 9)

    assert _both(world, copy).status == "verified"


def test_a_change_in_one_copy_is_a_fork_against_the_other(world: World, copy: World) -> None:
    world.edit("newest", 4, outcome="failure")

    verdict = _both(world, copy)

    assert world.finding("newest", verdict) == ("forked", 4)


def test_a_log_written_anew_in_one_copy_is_a_fork_against_the_other(world: World, copy: World) -> None:
    """The strongest attacker: he has the identity, and writes the newest stream again with another key."""
    again = stream("newest", start=world.streams["third"].at + 20 * SECOND).begin().events(1).close()
    world.lines["newest"] = again.lines

    assert world.finding("newest", _both(world, copy)) == ("forked", 1)


def test_what_one_copy_lacks_the_other_gives(world: World, copy: World) -> None:
    world.lines["newest"] = []
    world.drop("first", 8, 9, 10, 11)

    assert _both(world, copy).status == "verified"


def test_a_removal_from_both_copies_is_missing(world: World, copy: World) -> None:
    for one in (world, copy):
        one.lines["third"] = []

    assert "missing-stream" in kinds(_both(world, copy))


def test_the_order_of_the_copies_makes_no_difference(world: World, copy: World) -> None:
    world.edit("first", 4, outcome="failure")
    copy.drop("first", 7)
    copy.edit("newest", 11, outcome="failure")

    one, two = _both(world, copy), _both(copy, world)

    assert {it for it in one.findings if it.severity != "warning"} == {
        it for it in two.findings if it.severity != "warning"
    }


def test_an_honest_retirement_is_a_warning(world: World) -> None:
    world.lines["first"] = []
    world.add(stream("retiring", start=LATER).begin().retire([world.id("first")]).close())

    verdict = world.verdict(place=PLACE)

    assert verdict.status == "verified"
    assert "retired" in warnings(verdict)


def test_whoever_may_sign_for_the_service_can_excuse_a_removal_and_is_quoted(world: World) -> None:
    """A known limit: a retirement is the service's own word. It is a warning, so that a reader can ask."""
    world.lines["first"] = []
    liar = stream("liar", start=LATER).begin().retire([world.id("first")]).close()
    world.add(liar)

    verdict = world.verdict(place=PLACE)

    assert ("retired", liar.id) in {(one.kind, one.stream) for one in verdict.findings}


def test_an_archive_can_be_given_the_name_of_a_spool_whose_retention_was_shorter(world: World) -> None:
    """A known limit: `place` is a file beside the log, and who can write there can take another name."""
    world.lines["first"] = []
    world.add(stream("retiring", start=LATER).begin().retire([world.id("first")]).close())

    assert kinds(world.verdict()) == {"missing-stream"}

    (world.home / "place").write_text(PLACE)
    assert "retired" in warnings(world.verdict())


def test_who_says_which_place_is_read_is_not_told_another_by_the_archive(world: World, tmp_path: Path) -> None:
    """An insider at the backend deletes what the spools have retired, and leaves a file that excuses it."""
    world.lines["first"] = []
    world.add(stream("retiring", start=LATER).begin().retire([world.id("first")]).close())
    (world.write() / "place").write_text(PLACE)
    (tmp_path / "trust.pem").write_text(vectors_x509.pem(ISSUER_DER))
    command = [sys.executable, "-m", "otel_audit.cli", "verify", str(world.home), "--json"]
    command += ["--trust", str(tmp_path / "trust.pem"), "--now", stamp(NOW)]

    found = [
        subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        for options in ([], ["--place", "archive"])
    ]

    assert [one.returncode for one in found] == [0, 3]
    assert f"from here: place {PLACE}" in found[0].stdout
    assert "missing-stream" in found[1].stdout


def _mixed(world: World, first: list[bytes], second: list[bytes]) -> Verdict:
    world.home.mkdir()
    paths = world.home / "day1.jsonl", world.home / "day2.jsonl"
    for path, lines in zip(paths, (first, second), strict=True):
        path.write_bytes(b"".join(line + b"\n" for line in lines))
    return verify(
        [read_directory(path) for path in paths],
        trust=[x509.load_der_x509_certificate(ISSUER_DER)],
        now=datetime.fromtimestamp(NOW / SECOND, UTC),
    )


def test_two_mixed_files_that_begin_with_one_stream_are_both_read(world: World) -> None:
    """Two days of an export, neither in order: each line counts, whatever the first one is."""
    some = {label: (lines[:5], lines[5:]) for label, lines in world.lines.items()}

    verdict = _mixed(
        world,
        [line for early, _ in some.values() for line in early],
        [line for _, late in some.values() for line in late],
    )

    assert verdict.status == "verified"
    assert verdict.records == sum(len(lines) for lines in world.lines.values())


@pytest.mark.parametrize("label", ["second", "other"])
def test_a_copied_first_line_does_not_keep_a_mixed_file_from_being_read(world: World, label: str) -> None:
    """A duplicate is harmless, and must not be made into a blindfold for either file."""
    world.edit(label, 4, outcome="failure")
    first = world.lines["first"] + world.lines["second"] + world.lines["third"]

    verdict = _mixed(world, first, [first[0], *world.lines["newest"], *world.lines["other"]])

    assert world.finding(label, verdict) == ("altered", 4)
