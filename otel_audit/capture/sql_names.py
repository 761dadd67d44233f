"""Words of a sanitised statement, and which of them are names.

Capture stage, beneath `capture.sql_words` and `capture.sql_commands`.
"""

from __future__ import annotations

import re

from otel_audit.capture.sql_text import keywords

_NAME = r"""(?:"(?:[^"]|"")*+"?|`[^`]*+`?|\[[^\]]*+\]?|[^\W\d][\w$]*+)"""
_WORD = re.compile(rf"{_NAME}(?:\s*+\.\s*+{_NAME})*+|[(),;]|[^\s\w]|\w+")
_PART = re.compile(_NAME)

_KEYWORDS = keywords(
    "SELECT FROM WHERE SET VALUES AS ON USING JOIN LEFT RIGHT INNER OUTER CROSS FULL NATURAL LATERAL ONLY TABLE "
    "INTO ORDER GROUP BY HAVING LIMIT UNION ALL EXCEPT INTERSECT DEFAULT RETURNING WITH CASE WHEN THEN ELSE END "
    "AND OR NOT NULL IS IN EXISTS IF OF CASCADE RESTRICT DISTINCT FOR DO NOTHING BEGIN INSTEAD BEFORE AFTER EACH "
    "ROW"
)
MODIFIERS = keywords(
    "OR REPLACE TEMP TEMPORARY GLOBAL LOCAL UNIQUE UNLOGGED VIRTUAL MATERIALIZED RECURSIVE CONCURRENTLY FOREIGN IF "
    "NOT EXISTS ONLY CONSTRAINT EVENT DEFAULT AUTHORIZATION"
)
"""What may stand between CREATE, ALTER, DROP or TRUNCATE and the name, beside the kind."""


def words_of(text: str) -> list[str]:
    """Names (qualified and quoted ones whole), keywords and punctuation of *text*; its first 32,768 characters."""
    return _WORD.findall(text[:32_768])


def first_operation(words: list[str]) -> str:
    """The first keyword, upper case; `UNKNOWN` where the text begins with something else."""
    first = next((word.upper() for word in words if word != "("), "")
    return first if first.isidentifier() else "UNKNOWN"


def unquoted(name: str) -> str:
    """*name* as the database keeps it, but for case; at most 255 characters."""
    parts: list[str] = []
    for part in _PART.findall(name):
        quote = part[0]
        if quote in '"`':
            part = part[1:].removesuffix(quote).replace(quote * 2, quote)  # noqa: PLW2901 - the same name, unquoted
        elif quote == "[":
            part = part[1:].removesuffix("]")  # noqa: PLW2901 - likewise
        parts.append(part)
    return ".".join(parts)[:255]


def is_name(word: str) -> bool:
    """Tell a name from punctuation, and from the keywords that stand around names."""
    return _PART.match(word) is not None and word.upper() not in _KEYWORDS


def first_name(words: list[str], noise: frozenset[str] = frozenset()) -> str:
    """The first of *words* that is not *noise*, unquoted, if it is a name; else nothing."""
    name = next((word for word in words if word.upper() not in noise), "")
    return unquoted(name) if name and is_name(name) else ""


def listed_names(words: list[str], noise: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The names of `a, b` at the beginning of *words*, and *noise* among them: `DROP TABLE a, b`."""
    names: list[str] = []
    wants_name = True
    for word in words:
        if word.upper() in noise:
            continue
        if word == ",":
            wants_name = True
        elif wants_name and is_name(word):
            names.append(unquoted(word))
            wants_name = False
        elif word != "*":
            break
    return tuple(names)
