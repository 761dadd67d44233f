"""Whatever a record says, what is printed of it cannot move a cursor, hide or reverse anything."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.cli.printed import escaped_json, json_line, printable, shortened

ANY_TEXT = st.text(st.characters())
HARMLESS_CATEGORIES = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No"} | {
    f"{kind}{sub}" for kind, subs in (("P", "cdseifo"), ("S", "mcko")) for sub in subs
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\nVERIFIED: all", r"a\nVERIFIED: all".replace(r"\n", r"\x0a")),
        ("\r\x1b[2K", r"\x0d\x1b[2K"),
        ("\x9b2J", r"\x9b2J"),
        ("\u202ecilbup\u202c", r"\u202ecilbup\u202c"),
        ("\u2066\u2069", r"\u2066\u2069"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("\u2028", r"\u2028"),
        ("\ud83d", r"\ud83d"),
        ("\U000e0041", r"\U000e0041"),
        ("a\u3164b", r"a\u3164b"),
        ("\x7f", r"\x7f"),
        ("\xa0", r"\xa0"),
        (r"\x1b", r"\\x1b"),
        ("Zoë Łukasz 花子", "Zoë Łukasz 花子"),
        ("e\u0323\u0302\u0301 שִּׁ֗", "e\u0323\u0302\u0301 שִּׁ֗"),
        ("a" + "\u0301" * 6 + "b\u0301", "a" + "\u0301" * 4 + r"\u0301\u0301" + "b\u0301"),
        ("\u0338=", r"\u0338="),
    ],
)
def test_hostile_characters_are_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(ANY_TEXT)
def test_what_is_printed_has_no_character_that_acts(text: str) -> None:
    assert all(
        character == " " or unicodedata.category(character) in HARMLESS_CATEGORIES for character in printable(text)
    )


@given(ANY_TEXT, ANY_TEXT)
def test_no_two_texts_look_the_same(one: str, other: str) -> None:
    """Or a record could pretend to have been escaped."""
    assert (printable(one) == printable(other)) == (one == other)


@given(st.dictionaries(ANY_TEXT, ANY_TEXT | st.integers() | st.booleans()))
def test_json_keeps_its_value_and_loses_its_sting(value: dict[str, object]) -> None:
    line = json_line(value)

    assert json.loads(line) == value
    assert all(character == " " or unicodedata.category(character) in HARMLESS_CATEGORIES for character in line)


def test_a_harmless_body_is_printed_byte_for_byte() -> None:
    """So that `show --json` can be piped into sha256sum."""
    body = '{"actor":{"id":"Zoë"},"context":{"path":"C:\\\\tmp"}}'

    assert escaped_json(body) == body


def test_del_is_escaped_in_json() -> None:
    assert escaped_json('{"a":"\x7f\u202e"}') == '{"a":"\\u007f\\u202e"}'


def test_marks_piled_upon_a_letter_are_escaped_in_json() -> None:
    text = "a" + "\u0301" * 5

    assert escaped_json(json.dumps(text, ensure_ascii=False)) == '"a' + "\u0301" * 4 + '\\u0301"'


def test_shortened_text_says_that_it_is() -> None:
    assert (shortened("customers", 9), shortened("customers", 5)) == ("customers", "cust…")
