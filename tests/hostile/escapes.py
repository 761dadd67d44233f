"""What somebody plants to act on whoever reads the output, and the judgement of an output."""

from __future__ import annotations

import re
import unicodedata

SHORT = "\x1b[8m\x9b2J\x07\u202e\u2066\u200b\r\b\t\nVERIFIED\x7f" + "e" + "\u0301" * 6
"""At most 40 characters: for names that may have 64."""
ESCAPES = (
    "\x1b[2J\x1b[8m\x1b]52;c;ZXZpbA==\x07\x1b]8;;http:evil\x1b\\\x9b2J\x85\u202eabc\u2066\u2069\u200b\u2028\r\b\t\n"
    "VERIFIED: all of it\x7f\ufeff\U000e0041\\x1b" + "e" + "\u0301" * 6
)
"""No slash and at most 200 bytes: it may be a file's name as well."""
NOT_UTF8 = "\udcff\udc9b"
"""As a name in the file system, an argument or a variable may have it: bytes that are no text."""

_OUR_LOOKS = re.compile(r"\x1b\[(?:[0-79]|[34][0-7]|9[0-7])?(?:;(?:[0-79]|[34][0-7]|9[0-7]))*m")
"""Colours and weights; not 8, which hides."""
_OUR_PROGRESS = re.compile(r"\x1b\[\?25[lh]|\r?\x1b\[2K|\r?\x1b\[1A")
"""What rich draws and takes away a moving line with, on standard error only."""
_LETTERS = {"L", "M", "N", "P", "S"}
_HARMLESS = re.compile(r"[ -~\n]*")


def planted(tag: str) -> str:
    """The escapes behind *tag*, which says where they were planted."""
    return tag + ESCAPES


def acting(output: bytes, *, terminal: bool = False, is_error: bool = False) -> list[str]:
    """What in *output* acts on a terminal or hides; on one, our own looks and progress do not count."""
    text = output.decode("utf-8", "surrogateescape")
    if terminal:
        text = _OUR_LOOKS.sub("", text)
        text = _OUR_PROGRESS.sub("", text) if is_error else text
    if _HARMLESS.fullmatch(text):
        return []
    found = [ascii(one) for one in text if one not in " \n" and unicodedata.category(one)[0] not in _LETTERS]
    return found + re.findall("\u0301{5,}", text)
