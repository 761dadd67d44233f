"""SQL text without its secrets: one linear scan takes literals and comments out, before anything is kept.

Capture stage, in front of `capture.sql`. Database-neutral: what is a string, a name or a comment differs by
database, and a `Dialect` says how. Everything here is conservative: what cannot be told apart is a literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

PLACEHOLDER = "?"
"""What a literal becomes (OpenTelemetry semantic conventions, database spans: sanitization of `db.query.text`)."""

_NUMBER = r"(?<=[0-9])(?<![\w%s][0-9])[\w.]*+(?:(?<=[eE])[+-][0-9]++)?"
"""With what may stand before the digits of a numbered placeholder (`?1`, `:1`, `$1`), which is no literal."""
_STRING = r"(?<=')[^']*+(?:''[^']*+)*+'?"
_BACKSLASHED = r"(?:[^'\\]++|\\.|''|\\\Z)*+'?"
_LINE_BREAK = r"(?:[ \t\f\v]|--[^\r\n]*+)*+[\r\n](?:[ \t\f\v\r\n]|--[^\r\n]*+)*+"
_ESCAPED_STRING = rf"(?<=')(?<=[eE]')(?<!\w[eE]'){_BACKSLASHED}(?:(?<='){_LINE_BREAK}'{_BACKSLASHED})*+"
"""Continued after a line break, it is escaped there too, and on the same line it is not (PostgreSQL 4.1.2.2)."""
_DOLLAR_QUOTED = r"(?<=\$)(?<![\w$]\$)(?P<tag>(?:[^\W\d]\w*+)?+)\$(?:.*?\$(?P=tag)\$|.*+)"
_LINE_COMMENT = r"(?<=-)-[^\n]*+"
_DOUBLE_QUOTED = r'(?<=")[^"]*+(?:""[^"]*+)*+"?'
_BACKTICKED = r"(?<=`)[^`]*+(?:``[^`]*+)*+`?"
_BRACKETED = r"(?<=\[)[^\]]*+\]?"
_FLAT_COMMENT = r"(?<=/)\*(?:[^*]++|\*(?!/))*+(?:\*/)?"


def _nested_comment(depth: int) -> str:
    """A `/* */` comment that may hold others, *depth* deep; deeper or unterminated, the rest of the text is one."""
    body = r"[^*/]++|\*(?!/)|/(?!\*)"
    inner = rf"/\*(?:{body})*+\*/"
    for _ in range(depth):
        inner = rf"/\*(?:{body}|{inner})*+\*/"
    return rf"(?<=/)(?:\*(?:{body}|{inner})*+\*/|\*.*+)"


@dataclass(frozen=True)
class Dialect:
    """How one database writes strings, names and comments."""

    name: str
    """As sqlglot calls it."""
    pattern: re.Pattern[str]
    """Literals, comments (group `comment`) and quoted names (group `name`), found by their first character."""
    double_quoted: Literal["name", "name-or-string"]
    """SQLite takes "x" for a string where there is no such column (sqlite.org/quirks.html, section 8)."""


def _dialect(
    name: str,
    first: str,
    *,
    literals: tuple[str, ...],
    comments: tuple[str, ...],
    names: tuple[str, ...],
    double_quoted: Literal["name", "name-or-string"],
) -> Dialect:
    # A pattern that begins with a set of characters is searched for at memory speed; with an alternation first,
    # every character tries every branch (measured: 17 times slower over a statement of 200 characters).
    body = "|".join((*literals, f"(?P<comment>{'|'.join(comments)})", f"(?P<name>{'|'.join(names)})"))
    return Dialect(name, re.compile(f"[{first}](?:{body})", re.DOTALL), double_quoted)


SQLITE = _dialect(
    "sqlite",
    r"'\"`\[0-9/\-",
    literals=(_NUMBER % "$:@?", _STRING),
    comments=(_LINE_COMMENT, _FLAT_COMMENT),
    names=(_DOUBLE_QUOTED, _BACKTICKED, _BRACKETED),
    double_quoted="name-or-string",
)
POSTGRESQL = _dialect(
    "postgres",
    r"'\"$0-9/\-",
    literals=(_NUMBER % "$", _ESCAPED_STRING, _STRING, _DOLLAR_QUOTED),
    comments=(_LINE_COMMENT, _nested_comment(16)),
    names=(_DOUBLE_QUOTED,),
    double_quoted="name",
)
POSTGRESQL_BACKSLASHES = _dialect(
    "postgres",
    r"'\"$0-9/\-",
    literals=(_NUMBER % "$", rf"(?<='){_BACKSLASHED}", _DOLLAR_QUOTED),
    comments=(_LINE_COMMENT, _nested_comment(16)),
    names=(_DOUBLE_QUOTED,),
    double_quoted="name",
)
"""With `standard_conforming_strings` off: every string is escaped by backslashes."""


def strip(text: str, dialect: Dialect) -> str:
    """*text* with every literal as `?` and every comment as a space; quoted names stay. Linear in its length.

    In a dialect whose double quotes are ambiguous they are still there: `sanitize` decides about them.
    """
    return dialect.pattern.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    group = match.lastgroup
    return match[0] if group == "name" else " " if group == "comment" else PLACEHOLDER


_PIECE = re.compile(r"""[^;"`\[]++|"(?:[^"]|"")*+"?|`(?:[^`]|``)*+`?|\[[^\]]*+\]?|;""")
_COMPOUND = re.compile(
    r"\s*CREATE\s+(?:TEMP\s+|TEMPORARY\s+)?TRIGGER\b|.*\bBEGIN\s+ATOMIC\b", re.IGNORECASE | re.DOTALL
)


def split(stripped: str) -> Iterator[str]:
    """The statements of a stripped script, without empty ones; the body of a trigger stays in one piece.

    It ends at an END that follows a semicolon, which is how SQLite's own `sqlite3_complete` decides.
    """
    if ";" not in stripped:
        if stripped and not stripped.isspace():
            yield stripped
        return
    pieces: list[str] = []
    is_compound = False
    for match in _PIECE.finditer(stripped):
        piece = match[0]
        if piece != ";":
            is_compound = is_compound or _COMPOUND.match(piece) is not None
            pieces.append(piece)
        elif is_compound and pieces[-1].strip().upper() != "END":
            pieces.append(piece)
        else:
            statement = "".join(pieces)
            pieces.clear()
            is_compound = False
            if statement and not statement.isspace():
                yield statement
    rest = "".join(pieces)
    if rest and not rest.isspace():
        yield rest


_SPACE = re.compile(r"""("(?:[^"]|"")*+"?|`(?:[^`]|``)*+`?)|\s++""")
_PREFIXED = re.compile(r"(?<!\w)(?:[eExXbBnN]|[uU]&)(?=\?)")
_PARAMETER = r"(?:\?[0-9]*+|[:@]\w++|\$\w++|%[sbt]|%\(\w*+\)[sbt])"
_LIST = re.compile(rf"\(\s*+{_PARAMETER}(?:\s*+,\s*+{_PARAMETER})++\s*+\)")
_IN_LIST = re.compile(rf"\b(IN)\s*+\(\s*+{_PARAMETER}(?:\s*+,\s*+{_PARAMETER})*+\s*+\)", re.IGNORECASE)
_ROWS = re.compile(r"(\([^()]*+\))(?:\s*+,\s*+\1)++")
_ACCOUNT = re.compile(
    r"(?:CREATE|ALTER)\s[\w\s]*?\b(?:USER|ROLE|GROUP|LOGIN|SERVER|SUBSCRIPTION)\b|GRANT\b|SET\s+PASSWORD\b",
    re.IGNORECASE,
)
_CUSTOM_SETTING = re.compile(
    r"""(\A(?:SET|ALTER)\b(?:.*?\bSET)?\s+(?:(?:SESSION|LOCAL)\s+)?["\w]+\s*\.\s*["\w.]+\s*(?:=|\bTO\b)).*\Z""",
    re.IGNORECASE | re.DOTALL,
)
"""A parameter of an extension's or of the application's own, `my.token`: nobody knows what its value is."""
_SECRET_WORD = re.compile(
    r"""(\b(?:PASSWORD|IDENTIFIED\s+BY|IDENTIFIED\s+WITH\s+\S+\s+(?:BY|AS)|KEY(?=\s*=|\s+["`\[]))\s*+=?\s*+)"""
    r"""(?!\?|FOR\b|EXPIRE\b|HISTORY\b|REUSE\b|NULL\b|BY\b|=|\(|\)|,|;)("(?:[^"]|"")*+"?|\w[^\s,;)]*+)""",
    re.IGNORECASE,
)
_PRAGMA_KEY = re.compile(
    r"""(\A\s*PRAGMA\s+(?:[^\s.=(]++\s*\.\s*)?["`\[]?(?:hex|text)?(?:re)?key["`\]]?\s*+[=(]?).*\Z""",
    re.IGNORECASE | re.DOTALL,
)
_ATTACH_KEY = re.compile(r"(\A\s*ATTACH\b.*\bKEY\b).*\Z", re.IGNORECASE | re.DOTALL)


def sanitize(statement: str, dialect: Dialect) -> tuple[str, bool]:
    """One stripped statement in its final form, and whether more secrets had to be taken out of it.

    What is left to do: ambiguous double quotes, keys and passwords that stand there as bare words
    (`PRAGMA key = word`, `IDENTIFIED BY word`), prefixes of literals (`E?`, `x?`), runs of white space, lists of
    `IN`, repeated rows of `VALUES`. Costs some 10 µs, so callers do it once for every stripped text.
    """
    text = _SPACE.sub(lambda match: match[1] or " ", statement).strip()
    text = _PREFIXED.sub("", text)
    bare = text
    if dialect.double_quoted == "name-or-string" and '"' in text:
        text = _resolve_double_quotes(text)
    first = text[:6].upper()
    if first == "PRAGMA":
        text = _PRAGMA_KEY.sub(r"\1 ?", text)
    elif first == "ATTACH":
        text = _ATTACH_KEY.sub(r"\1 ?", text)
    elif _ACCOUNT.match(text):
        text = _SECRET_WORD.sub(r"\1?", text)
    if first[:3] == "SET" or first[:5] == "ALTER":
        text = _CUSTOM_SETTING.sub(r"\1 ?", text)
    secret = text is not bare and text != bare
    text = _IN_LIST.sub(rf"\1 ({PLACEHOLDER})", text)
    text = _ROWS.sub(r"\1", text)
    return text, secret


def as_parsable(text: str) -> str:
    """*text* with every driver's placeholder as `?`, and lists of them shortened: what a parser is given."""
    return _LIST.sub(f"({PLACEHOLDER})", _ANY_PARAMETER.sub(PLACEHOLDER, text))


_ANY_PARAMETER = re.compile(r"\?[0-9]++|(?<![:\w])[:@]\w++|(?<![\w$])\$\w++|%[sbt]\b|%\(\w*+\)[sbt]")


def keywords(text: str) -> frozenset[str]:
    """The words of *text*: a list that can be read."""
    return frozenset(text.split())


_TOKEN = re.compile(r"""("(?:[^"]|"")*+"?)|(`(?:[^`]|``)*+`?|\[[^\]]*+\]?|\w++)|(\s++)|(.)""", re.DOTALL)
_BEFORE_NAME = keywords(
    "INTO UPDATE TABLE JOIN INDEX VIEW TRIGGER EXISTS REFERENCES AS COLUMN TO SAVEPOINT RELEASE COLLATE SET ADD "
    "RENAME CONSTRAINT ABORT FAIL IGNORE DETACH REINDEX ANALYZE"
)
_BEFORE_LIST_OF_NAMES = frozenset({"KEY", "UNIQUE", "USING", "CONFLICT"})
_ENDS_CLAUSE = keywords(
    "WHERE GROUP ORDER HAVING LIMIT WINDOW UNION EXCEPT INTERSECT SELECT VALUES RETURNING DO BEGIN"
)


def _resolve_double_quotes(text: str) -> str:
    """Keep "x" only where the grammar allows nothing but a name; anywhere else SQLite may take it for a string."""
    tokens = [(match.lastindex or 4, match[0]) for match in _TOKEN.finditer(text)]
    significant = [index for index, (kind, _) in enumerate(tokens) if kind != 3]
    tokens.append((4, ""))
    parts = [part for _, part in tokens]
    names = _Names()
    for place, index in enumerate(significant):
        kind, token = tokens[index]
        following, after = (tokens[at] for at in (*significant[place + 1 : place + 3], -1, -1)[:2])
        # A dot before a number belongs to the number: "x" .5
        is_qualifier = following[1] == "." and after[0] < 3
        if kind == 1 and not names.is_name("." if is_qualifier else following[1].replace(".", "")):
            parts[index] = token = PLACEHOLDER
        names.take(token, is_name=kind in {1, 2})
    return "".join(parts)


class _Names:
    """Where in a statement the walk stands, as far as it tells names from values."""

    def __init__(self) -> None:
        self._first = ""
        self._old = ""
        self._last = ""
        """The last two tokens, upper case."""
        self._lists: list[bool] = []
        """One entry an open parenthesis: does it enclose a list of names?"""
        self._declares = False
        """A parenthesis after the next name lists columns: INTO t (…), TABLE t (…), REFERENCES t (…)."""
        self._clause = ""
        """FROM or SET while the walk is in one, at this depth: after their commas stand tables, or columns."""
        self._clause_depth = 0

    def is_name(self, following: str) -> bool:
        """Say whether only a name can stand here, before the token *following*."""
        last = self._last
        if last == "." or following == ".":
            return True
        if last == "FROM":
            return self._old != "DISTINCT"
        if last in _BEFORE_NAME or (last == "ON" and self._first == "CREATE"):
            return self._first != "VACUUM"
        if last not in {"(", ","}:
            return False
        if self._lists and self._lists[-1]:
            return True
        if last == "(" or self._clause_depth != len(self._lists):
            return False
        return self._clause == "FROM" or (self._clause == "SET" and following == "=")

    def take(self, part: str, *, is_name: bool) -> None:
        """Step over *part*, one token."""
        word = part.upper()
        if part == "(":
            self._lists.append(self._declares or self._last in _BEFORE_LIST_OF_NAMES)
            self._declares = False
        elif part == ")":
            if self._lists:
                self._lists.pop()
            if len(self._lists) < self._clause_depth:
                self._clause = ""
        elif word in {"INTO", "TABLE", "REFERENCES"} or (word == "ON" and self._first == "CREATE"):
            self._declares = True
        elif word in {"SET", "FROM"}:
            if self._last != "DISTINCT":
                self._clause, self._clause_depth = word, len(self._lists)
        elif word in _ENDS_CLAUSE:
            self._declares = False
            if self._clause_depth == len(self._lists):
                self._clause = ""
        elif not is_name and part != ".":
            self._declares = False
        self._first = self._first or word
        self._old, self._last = self._last, word
