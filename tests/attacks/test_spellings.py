"""Canonicalisation tricks: bytes that a lenient parser reads as the honest record, or as another one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attacks.world import World, kinds
from tests.vectors.stream import T0, encode, stamp

Trick = Callable[[bytes], bytes]


def _replace(old: bytes, new: bytes) -> Trick:
    def trick(body: bytes) -> bytes:
        assert old in body
        return body.replace(old, new, 1)

    return trick


TRICKS: dict[str, Trick] = {
    "duplicate member, honest last": _replace(b'"action":', b'"action":"DELETE","action":'),
    "duplicate member, honest first": _replace(b'"action":"READ"', b'"action":"READ","action":"DELETE"'),
    "duplicate member, escaped name": _replace(b'"action":', b'"\\u0061ction":"DELETE","action":'),
    "duplicate member inside": _replace(b'"cached":false', b'"cached":true,"cached":false'),
    "key order": lambda body: b'{"trace_id":' + body.split(b'"trace_id":')[1][:-1] + b"," + body[1:],
    "1.0": _replace(b"[1,2]", b"[1.0,2]"),
    "1e0": _replace(b"[1,2]", b"[1e0,2]"),
    "2^53": _replace(b"[1,2]", b"[1,9007199254740992]"),
    "-0": _replace(b"[1,2]", b"[-0,2]"),
    "lone surrogate": _replace(b'"GET"', b'"\\ud800"'),
    "escaped slash": _replace(b"/notes", b"\\/notes"),
    "escaped letter": _replace(b'"GET"', b'"\\u0047ET"'),
    "bom": lambda body: b"\xef\xbb\xbf" + body,
    "crlf": lambda body: body + b"\r",
    "trailing space": lambda body: body + b" ",
    "trailing tab": lambda body: body + b"\t",
    "trailing zero byte": lambda body: body + b"\0",
    "trailing comma": lambda body: body[:-1] + b",}",
    "comment": lambda body: body + b"//",
    "form feed": lambda body: body + b"\x0c",
    "unicode line separator": lambda body: body + "\u2028".encode(),
    "next line": lambda body: body + "\u0085".encode(),
    "invalid UTF-8": _replace(b'"GET"', b'"\xff"'),
    "overlong UTF-8": _replace(b"/notes", b"\xc0\xafnotes"),
    "deep nesting": lambda body: b'{"a":' * 10_000 + body + b"}" * 10_000,
    "deep arrays": lambda _: b"[" * 60_000,
    "empty line": lambda _: b"",
    "split in two": _replace(b',"context"', b',\n"context"'),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a_record_in_another_spelling_is_malformed_and_missing(world: World, trick: str) -> None:
    world.lines["first"][3] = TRICKS[trick](world.lines["first"][3])

    verdict = world.verdict()

    assert "malformed" in kinds(verdict)
    assert world.finding("first", verdict) == ("missing", 4)


@pytest.mark.parametrize("trick", TRICKS)
def test_another_spelling_beside_the_record_is_malformed(world: World, trick: str) -> None:
    """Not a harmless duplicate: what it says is not what is signed."""
    world.lines["first"].insert(4, TRICKS[trick](world.lines["first"][3]))

    verdict = world.verdict()

    assert verdict.status == "tampered"
    assert "malformed" in kinds(verdict)
    assert world.finding("first", verdict) is None


def test_spare_base64_bits_are_a_bad_signature(world: World) -> None:
    """Another text for the same 64 bytes; the close is followed by nothing that would show it."""
    sig = world.record("newest", 11)["sig"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = sig[:-1] + alphabet[alphabet.index(sig[-1]) + 1]
    world.edit("newest", 11, sig=other)

    assert world.finding("newest") == ("bad-signature", 11)


@pytest.mark.parametrize("padding", ["=", "==", "\n", " "])
def test_a_padded_signature_is_never_taken(world: World, padding: str) -> None:
    world.edit("newest", 11, sig=world.record("newest", 11)["sig"] + padding)

    assert world.verdict().status == "tampered"


def test_a_gigantic_seq_is_counted_and_not_walked(world: World) -> None:
    """A hole of nine quadrillion records must cost neither time nor memory."""
    far = world.record("first", 4) | {"seq": 2**53 - 1}
    world.lines["first"].append(encode(far))

    assert world.verdict().status == "tampered"


@pytest.mark.parametrize("year", ["0000", "0001", "1969", "9999"])
def test_times_at_the_end_of_the_calendar_break_nothing(world: World, year: str) -> None:
    moment = f"{year}-12-31T23:59:59.999999999Z"
    world.edit("first", 4, time=moment, observed=moment)

    assert world.verdict().status == "tampered"


def test_a_leap_second_breaks_nothing(world: World) -> None:
    world.edit("first", 4, time=stamp(T0 - 1)[:17] + "60.000000000Z")

    assert world.verdict().status == "tampered"
