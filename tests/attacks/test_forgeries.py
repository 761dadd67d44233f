"""Attacks with a key in hand: the attacker's own, a stranger's issuer, a stolen certificate, another service's.

The last part is the strongest attacker short of the identity itself: one whom the trusted issuer certified,
for a stream of another service or of this one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.attacks.world import ISSUER, STRANGER, STRANGER_DER, LocalKey, World, first_finding, kinds, stream
from tests.vectors import x509
from tests.vectors.stream import PLACE, SECOND, T0, Stream, stamp, stream_id

HOUR = 3600 * SECOND
LATER = T0 + HOUR

Path = Callable[[Stream], list[bytes]]


def _borrowed(one: Stream) -> list[bytes]:
    """The certificate of an honest stream, brought by another."""
    return stream("first").issue(ISSUER)


def _issued_by_a_stream(one: Stream) -> list[bytes]:
    """A stream's own key as an issuer, with its honest certificate as proof."""
    thief = stream("first")
    dn = [(x509.CN, thief.id), (x509.O, thief.service)]
    return one.issue(x509.Issuer(dn, thief.key, tuple(thief.issue(ISSUER))))


def _self_made(one: Stream) -> list[bytes]:
    return one.issue(x509.Issuer([(x509.CN, one.id), (x509.O, one.service)], one.key))


PATHS: dict[str, tuple[Path, str]] = {
    "a-strangers": (lambda one: one.issue(STRANGER), "untrusted-key"),
    "a-strangers-brought-along": (lambda one: [*one.issue(STRANGER), STRANGER_DER], "untrusted-key"),
    "a-namesake-of-the-issuer": (
        lambda one: one.issue(x509.Issuer(ISSUER.subject, LocalKey("namesake"))),
        "untrusted-key",
    ),
    "self-made": (_self_made, "untrusted-key"),
    "another-streams": (_borrowed, "wrong-certificate"),
    "issued-by-a-stream": (_issued_by_a_stream, "wrong-certificate"),
    "expired": (lambda one: one.issue(ISSUER, valid=(T0 - 9 * HOUR, T0 - 8 * HOUR)), "wrong-certificate"),
    "another-services": (
        lambda one: one.issue(ISSUER, subject=[(x509.CN, one.id), (x509.O, "billing")]),
        "wrong-certificate",
    ),
    "for-both-services": (
        lambda one: one.issue(ISSUER, subject=[(x509.CN, one.id), (x509.O, "billing"), (x509.O, "shop")]),
        "wrong-certificate",
    ),
}


@pytest.mark.parametrize("kind", PATHS)
def test_a_stream_under_a_certificate_that_is(world: World, kind: str) -> None:
    path, finding = PATHS[kind]
    forged = stream("forged", start=LATER)
    key = stream("first").key if kind == "another-streams" else forged.key
    forged = stream("forged", start=LATER, key=key, path=path(forged))
    world.add(forged.begin().events(2).seal().close())

    verdict = world.verdict()

    assert verdict.status == "tampered"
    assert first_finding(verdict, forged.id) == (finding, 1)


@pytest.mark.parametrize("seq", [1, 2, 7, 11])
def test_a_record_signed_by_another_key_is_a_bad_signature(world: World, seq: int) -> None:
    """The certificate is honest, the signing key is not; everything after is signed over it."""
    honest = stream("forged", start=LATER)
    switching = _Switching(honest.key, LocalKey("mallory"), seq)
    forged = stream("forged", start=LATER, path=honest.issue(ISSUER))
    forged.key = switching
    world.add(forged.begin().events(4).seal().events(3).close())

    assert first_finding(world.verdict(), forged.id) == ("bad-signature", seq)


class _Switching:
    """Signs record *seq* by another key; the order of signatures is open, policy, seal, close."""

    def __init__(self, honest: Any, other: LocalKey, seq: int) -> None:
        self._keys = {1: 0, 2: 1, 7: 2, 11: 3}[seq], honest, other
        self._signed = 0
        self.spki, self.algorithm = honest.spki, honest.algorithm

    def sign(self, message: bytes) -> bytes:
        at, honest, other = self._keys
        self._signed += 1
        key = other if self._signed == at + 1 else honest
        signature: bytes = key.sign(message)
        return signature


def test_a_seal_promised_for_2099_is_misplaced(world: World) -> None:
    """It would keep a cut-off stream from ever falling due."""
    lazy = stream("lazy", start=LATER).begin().events(2)
    world.add(lazy.seal({"audit.seal.next_by": "2099-01-01T00:00:00.000000000Z"}))

    assert first_finding(world.verdict(), lazy.id) == ("misplaced", 5)


def test_an_interval_of_a_year_is_misplaced(world: World) -> None:
    year = 365 * 86_400_000
    lazy = stream("lazy", start=LATER, open_changes={
        "audit.heartbeat.interval_ms": year, "audit.seal.next_by": stamp(LATER + HOUR),
    })  # fmt: skip
    world.add(lazy.begin().events(2))

    assert first_finding(world.verdict(), lazy.id) == ("misplaced", 1)


def _excuse(world: World, forger: str, **options: Any) -> Stream:
    """A stream of *forger* that recovers, retires and names whatever would hide an attack on `newest`."""
    target = world.streams["newest"]
    one = stream(forger, start=target.at + 10 * SECOND, predecessors=[target.reference(7)], **options)
    one.begin().recover(target, seq=7, sealed=7).retire([world.id("third"), target.id])
    return one.close()


def test_a_false_recovery_by_a_stranger_excuses_nothing(world: World) -> None:
    world.drop("newest", 8, 9, 10, 11)
    world.add(_excuse(world, "stranger", trust=STRANGER))

    assert world.finding("newest") == ("overdue-seal", 7)


def test_a_false_recovery_by_another_service_excuses_nothing(world: World) -> None:
    world.drop("newest", 8, 9, 10, 11)
    forged = _excuse(world, "neighbour", service="billing")
    world.add(forged)

    verdict = world.verdict()

    assert verdict.status == "tampered"
    assert first_finding(verdict, forged.id) == ("misplaced", 1)


def test_a_false_recovery_by_another_service_is_no_excuse_where_one_service_is_asked_about(
    world: World,
) -> None:
    """Asked about shop alone, what billing says must not hide what shop lacks."""
    world.drop("newest", 8, 9, 10, 11)
    world.add(_excuse(world, "neighbour", service="billing"))

    verdict = world.verdict(service="shop")

    assert verdict.status != "verified"
    assert world.finding("newest", verdict) == ("overdue-seal", 7)


@pytest.mark.parametrize("label", ["first", "second", "newest"])
def test_a_stream_renamed_to_another_service_does_not_drop_out_where_one_is_asked_about(
    world: World, label: str
) -> None:
    """What an open says of its service is a claim until its signature and its certificate bear it out."""
    context = world.record(label, 1)["context"] | {"service.name": "billing"}
    world.edit(label, 1, context=context)

    assert world.verdict(service="shop").status == "tampered"


def test_a_false_retirement_by_a_stranger_excuses_nothing(world: World) -> None:
    world.lines["third"] = []
    world.home.mkdir()
    (world.home / "place").write_text(PLACE)
    liar = stream("liar", start=LATER, trust=STRANGER).begin().retire([world.id("third")]).close()
    world.add(liar)

    assert "missing-stream" in kinds(world.verdict())


def test_a_false_retirement_of_another_place_excuses_nothing(world: World) -> None:
    world.lines["third"] = []
    liar = stream("liar", start=LATER).begin().retire([world.id("third")]).close()
    world.add(liar)

    assert "missing-stream" in kinds(world.verdict())


def test_a_false_retirement_of_another_service_excuses_nothing(world: World) -> None:
    """An intruder in billing must not be able to excuse what was taken from shop."""
    world.lines["first"] = []
    world.add(stream("liar", start=LATER, service="billing").begin().retire([world.id("first")]).close())

    assert "missing-stream" in kinds(world.verdict(place=PLACE))


def test_a_false_retirement_is_held_against_what_had_to_be_kept(world: World) -> None:
    world.lines["third"] = []
    liar = stream("liar", start=LATER).begin().retire([world.id("third")]).close()
    world.add(liar)

    verdict = world.verdict(place=PLACE, keep=timedelta(days=30))

    assert first_finding(verdict, liar.id) == ("retired-early", 3)


def test_a_false_predecessor_by_a_stranger_accuses_nobody(world: World) -> None:
    """Nor can it be used the other way, to discredit an honest stream."""
    false = f"{world.id('first')}:11:{'ab' * 32}"
    world.add(stream("liar", start=LATER, trust=STRANGER, predecessors=[false]).begin().close())

    assert world.finding("first") is None


def test_a_false_predecessor_for_a_removed_stream_is_missed_all_the_same(world: World) -> None:
    """Another stream under the removed one's id would need its certificate."""
    world.lines["third"] = []
    fake = stream("third", key=LocalKey("mallory"), trust=STRANGER, start=LATER).begin().events(1).close()
    world.add(fake, "fake")

    assert world.verdict().status == "tampered"


def test_a_false_successor_is_missed(world: World) -> None:
    away = stream("away", start=LATER).begin().events(1)
    world.add(away.close({"audit.reason": "rotation", "audit.successor": stream_id("nobody")}))

    assert "missing-stream" in kinds(world.verdict())


def test_a_second_recovery_that_ends_a_stream_earlier_is_misplaced(world: World) -> None:
    """To have adopted records taken for torn ones."""
    second = world.streams["second"]
    liar = stream("liar", start=second.at + 30 * SECOND).begin().recover(second, seq=7).close()
    world.add(liar)
    world.drop("second", 8, 9)

    assert "misplaced" in kinds(world.verdict())


def test_a_stream_ended_at_an_earlier_seal_is_rolled_back(world: World) -> None:
    """A recovery that says a longer life was shorter, beside the records that show it."""
    longer = stream("longer", start=LATER).begin().events(2).seal().wait(5).events(2).seal()
    liar = stream("liar", start=longer.at + SECOND).begin().recover(longer, seq=5).close()
    world.add(longer, "longer")
    world.add(liar, "liar")

    assert "rolled-back" in kinds(world.verdict())


def test_a_foreign_stream_under_the_same_issuer_is_another_service(world: World) -> None:
    """Staging's log copied into production's archive neither hides nor accuses."""
    world.add(stream("staging", service="shop-staging", start=LATER).begin().events(3).close())

    verdict = world.verdict()

    assert verdict.status == "verified"
    assert {one.service for one in verdict.streams} == {"shop", "billing", "shop-staging"}
