r"""What may reach a terminal: a log is hostile text, so whatever is printed of it is escaped first.

Everything that `str.isprintable` refuses (controls, ANSI sequences, bidirectional and zero-width
characters, line separators, lone surrogates, unassigned code points) and the characters that Unicode
calls default ignorable but counts as letters or marks are written as `\x1b`, `\u202e`, `\U000e0001`.
So are marks that stand on nothing, and those beyond the fourth on a letter: they cover the lines around it.
A backslash becomes two, so that no record can pretend to have been escaped.
"""

from __future__ import annotations

import json
import re
import unicodedata

# Default_Ignorable_Code_Point (Unicode 16, DerivedCoreProperties.txt) outside of the category Cf
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
_SUSPECT = re.compile(rf"[^ -\[\]-~]|[{_INVISIBLE}]")
_SUSPECT_IN_JSON = re.compile(rf"[^ -~]|[{_INVISIBLE}]")
_MOST_MARKS = 4
"""On one letter: Hebrew with its cantillation may have so many."""
_IS_INVISIBLE = re.compile(f"[{_INVISIBLE}]")


def printable(text: str) -> str:
    """*text* on one line, with everything escaped that could move a cursor or hide a character."""
    return _SUSPECT.sub(_escaped, text)


def json_line(value: object) -> str:
    """*value* as one line of JSON whose strings are escaped likewise, by JSON's own escapes.

    What is printable stays as it is: the line of a harmless record has the very bytes that were signed.
    """
    return escaped_json(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def escaped_json(text: str) -> str:
    """JSON *text* without line breaks, the same value, safe to print."""
    return _SUSPECT_IN_JSON.sub(_escaped_in_json, text)


def shortened(text: str, width: int) -> str:
    """*text* cut to *width* characters, an ellipsis in place of what is missing."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def _is_harmless(match: re.Match[str]) -> bool:
    character = match[0]
    if not character.isprintable() or _IS_INVISIBLE.match(character) is not None:
        return False
    if not _is_mark(character):
        return True
    before = match.string[max(match.start() - _MOST_MARKS, 0) : match.start()]
    return before != "" and not (len(before) == _MOST_MARKS and all(map(_is_mark, before)))


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if character == "\\":
        return "\\\\"
    if _is_harmless(match):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped_in_json(match: re.Match[str]) -> str:
    character = match[0]
    if _is_harmless(match):
        return character
    # json writes a character beyond the basic plane as a surrogate pair (RFC 8259 §7); DEL it leaves alone
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]
