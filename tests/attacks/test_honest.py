"""Honest archives are never `tampered`: crash, restart, rotation, retention, clock steps, forks, live reading."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from otel_audit.sources import read_directory
from otel_audit.verify import Verdict, verify
from tests.attacks.host import FORWARD, Host, Operation
from tests.attacks.world import ISSUER_DER, World, kinds, stream
from tests.vectors.stream import SECOND, T0

MANY = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

AT_ITS_END = -1
"""For a moment: after the last write."""

operations = st.lists(
    st.tuples(
        st.sampled_from(
            ["event", "event", "seal", "seal", "start", "rotate", "close", "crash", "recover", "step", "wait",
             "retire"]
        ),
        st.integers(0, 3),
        st.integers(0, 1000),
    ),
    min_size=1,
    max_size=25,
)  # fmt: skip


def _forward(history: list[Operation]) -> list[Operation]:
    """The same history, but the clock is only ever put forward."""
    return [(what, which, FORWARD[amount % len(FORWARD)] if what == "step" else amount)
            for what, which, amount in history]  # fmt: skip


CRASH: list[Operation] = [
    ("start", 0, 0), ("event", 0, 2), ("seal", 0, 0), ("event", 0, 1), ("crash", 0, 9), ("start", 0, 0),
    ("event", 0, 0), ("close", 0, 0), ("retire", 0, 0), ("start", 0, 0), ("retire", 0, 0), ("rotate", 0, 0),
]  # fmt: skip
STEPS: list[Operation] = [
    ("start", 0, 0), ("event", 0, 0), ("step", 0, 0), ("event", 0, 0), ("start", 0, 0), ("seal", 0, 0),
    ("step", 0, 4), ("start", 0, 0), ("event", 0, 0), ("crash", 0, 5), ("step", 0, 5), ("start", 0, 0),
]  # fmt: skip


@MANY
@given(operations, st.integers(0, 10_000), st.integers(0, 400))
@example(CRASH, 12, 100)
@example(STEPS, 10, 40)
def test_a_history_read_at_any_moment_is_never_tampered(
    tmp_path: Path, history: list[Operation], moment: int, part: int
) -> None:
    verdict = _read(tmp_path, history, moment, [], part)

    assert verdict.status != "tampered", verdict.findings


@MANY
@given(operations.map(_forward), st.integers(0, 10_000), st.lists(st.integers(0, 9), max_size=4))
@example(CRASH, 9, [0, 5])
@example([("start", 0, 0)], 0, [0, 2])
def test_a_history_read_file_by_file_while_it_goes_on_is_never_tampered(
    tmp_path: Path, history: list[Operation], moment: int, delays: list[int]
) -> None:
    """A reader comes to one stream later than to another; what is younger than his beginning is pending.

    A known limit: when the clock steps back between two files, a stream that opened after the reader's
    beginning looks older than it, and what it names may be missing from the file that he read first.
    """
    verdict = _read(tmp_path, history, moment, delays, 0)

    assert verdict.status != "tampered", verdict.findings


@MANY
@given(operations)
@example(CRASH)
@example(STEPS)
def test_a_history_read_at_its_end_lacks_nothing_that_it_does_not_say(
    tmp_path: Path, history: list[Operation]
) -> None:
    """What is incomplete in it is a crash found late, a promise not kept, or a clock outside of a certificate.

    Read when the clock has passed all of it: after a step back the younger records are pending, and with
    them what they say.
    """
    verdict = _read(tmp_path, history, AT_ITS_END, [], 0)

    assert kinds(verdict) <= {"unwitnessed-end", "overdue-seal", "clock-outside-certificate"}, verdict.findings


@MANY
@given(operations, st.integers(0, 10_000), st.integers(-600, 7200), st.integers(1, 7200))
@example(CRASH, 11, 1, 2)
@example(STEPS, 10, 100, 1000)
def test_a_period_of_a_history_is_never_tampered(
    tmp_path: Path, history: list[Operation], moment: int, start_s: int, length_s: int
) -> None:
    since = datetime.fromtimestamp(T0 // SECOND, UTC) + timedelta(seconds=start_s)

    verdict = _read(tmp_path, history, moment, [], 0, since=since, until=since + timedelta(seconds=length_s))

    assert verdict.status != "tampered", verdict.findings


def _read(
    home: Path, history: list[Operation], moment: int, delays: list[int], part: int, **period: datetime
) -> Verdict:
    host = Host()
    host.run([("start", 0, 0), *history])
    archive = home / "archive"
    shutil.rmtree(archive, ignore_errors=True)
    began = len(host.clock) - 1 if moment == AT_ITS_END else moment % len(host.clock)
    now = host.snapshot(archive, began, delays, part=part)
    if moment == AT_ITS_END:
        now = max(host.clock)
    return verify(
        [read_directory(archive)],
        trust=[x509.load_der_x509_certificate(ISSUER_DER)],
        now=datetime.fromtimestamp(now // SECOND, UTC) + timedelta(microseconds=now % SECOND // 1000),
        grace=timedelta(0),
        since=period.get("since"),
        until=period.get("until"),
    )


def test_the_world_is_verified(world: World) -> None:
    """What every attack starts from."""
    verdict = world.verdict()

    assert verdict.status == "verified"
    assert verdict.adopted == 2
    assert {one.service for one in verdict.streams} == {"shop", "billing"}


def test_a_copy_of_the_archive_beside_it_changes_nothing(world: World) -> None:
    home = world.write()
    shutil.copytree(home, home / "copy")

    assert world.verdict(write=False).status == "verified"


def test_a_stream_cut_at_every_byte_is_never_tampered(world: World) -> None:
    """A live reader may find any prefix of a file that nobody names yet."""
    line = b"".join(line + b"\n" for line in world.honest["newest"])
    world.write()
    for end in range(0, len(line), 97):
        world.file("newest").write_bytes(line[:end])

        assert world.verdict(write=False).status != "tampered", end


def test_a_fork_that_both_name_the_parent_is_verified(world: World) -> None:
    """A forked child opens its own stream and names the parent's; the parent goes on."""
    parent = stream("parent", start=T0 + 7200 * SECOND).begin().events(2).seal()
    children = [
        stream(f"child {number}", start=parent.at, predecessors=[parent.reference(5)]).begin().events(1).close()
        for number in range(2)
    ]
    parent.events(2).close()
    world.add(parent, "parent")
    world.add(children[0], "child 0")
    world.add(children[1], "child 1")

    assert world.verdict().status == "verified"
