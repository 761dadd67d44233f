"""No literal survives the scan, whatever surrounds it, and the scan stays linear."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_audit.capture.sql import Database, StatementReader, query_event
from otel_audit.capture.sql_text import POSTGRESQL, POSTGRESQL_BACKSLASHES, SQLITE, Dialect, sanitize, split, strip

SECRET = "zq7hunter2zq"

_filler = st.text(alphabet="ab '\"`[]$-/*\\;(),.=?:@%0159eExX\n\té", max_size=12)
_WORDS = """SELECT FROM WHERE customers t.id AS x1 = , ( ) AND NOT IN VALUES ? :id $1 %s + - * / <> || NULL LIMIT é
DISTINCT SET UPDATE INSERT INTO CREATE TABLE ON"""
"""No dot by itself: "x" before or after one is a name by the grammar."""
_words = st.sampled_from(_WORDS.split())
_numbers = st.sampled_from(["731946", "7.31946", "0x731946", "731946e5", ".731946", "7e-731946"])


@st.composite
def _string(draw: st.DrawFn) -> str:
    before, after = draw(_filler).replace("'", "''"), draw(_filler).replace("'", "''")
    return f"'{before}{SECRET}{after}'"


@st.composite
def _comment(draw: st.DrawFn) -> str:
    text = draw(_filler)
    line = "--" + text.replace("\n", " ") + SECRET + "\n"
    block = "/*" + text.replace("*", "").replace("/", "") + SECRET + "*/"
    return draw(st.sampled_from([line, block]))


@st.composite
def _dollar_quoted(draw: st.DrawFn) -> str:
    tag, text = draw(st.sampled_from(["", "t", "_x1"])), draw(_filler).replace("$", "")
    return f"${tag}${text}{SECRET}${tag}$"


_FOR_SQLITE = [f"x'{SECRET}'", f'= "{SECRET}"']
_FOR_POSTGRESQL = [
    *(f"E'{before}{SECRET}'" for before in ("", "\\'", "\\\\", "''", "a\\'b''")),
    f"/* a /* b */ {SECRET} */",
    f"U&'{SECRET}'",
    f"E'a' \n -- and\n 'b\\' {SECRET}'",
]
_FOR_BACKSLASHES = [f"'{before}{SECRET}'" for before in ("", "\\'", "\\\\", "''", "a\\'b''")]


def _literals(dialect: Dialect) -> st.SearchStrategy[str]:
    shared = st.one_of(_string(), _numbers, _comment())
    if dialect is SQLITE:
        return st.one_of(shared, st.sampled_from(_FOR_SQLITE))
    if dialect is POSTGRESQL_BACKSLASHES:
        return st.one_of(_numbers, _comment(), _dollar_quoted(), st.sampled_from(_FOR_BACKSLASHES))
    return st.one_of(shared, _dollar_quoted(), st.sampled_from(_FOR_POSTGRESQL))


def _statements(dialect: Dialect) -> st.SearchStrategy[str]:
    return st.lists(st.one_of(_words, _literals(dialect)), max_size=12).map(" ".join)


def _holds_secret(text: str) -> bool:
    return SECRET.lower() in text.lower() or "731946" in text


@settings(deadline=None)
@given(_statements(SQLITE))
def test_no_literal_of_sqlite_leaves(text: str) -> None:
    _assert_clean(text, SQLITE)


@settings(deadline=None)
@given(_statements(POSTGRESQL))
def test_no_literal_of_postgresql_leaves(text: str) -> None:
    _assert_clean(text, POSTGRESQL)


@settings(deadline=None)
@given(_statements(POSTGRESQL_BACKSLASHES))
def test_no_literal_leaves_where_backslashes_escape(text: str) -> None:
    """`standard_conforming_strings` off."""
    _assert_clean(text, POSTGRESQL_BACKSLASHES)


def _assert_clean(text: str, dialect: Dialect) -> None:
    statements = StatementReader(dialect).statements(text)

    for statement in statements:
        assert not _holds_secret(repr(query_event(statement, Database("any", "db"))))


@pytest.mark.parametrize("ending", ["'{}", "/* {}", "-- {}", "x'{}"])
@settings(deadline=None)
@given(text=_statements(SQLITE))
def test_what_is_never_terminated_is_a_literal_to_the_end(ending: str, text: str) -> None:
    _assert_clean(text + " " + ending.format(SECRET), SQLITE)


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=lambda dialect: dialect.name)
@settings(deadline=None)
@given(text=_filler | st.text(max_size=40))
def test_any_text_at_all_is_read_without_an_error_and_the_same_way_twice(dialect: Dialect, text: str) -> None:
    reader = StatementReader(dialect)

    first, second = reader.statements(text), reader.statements(text)

    assert [statement.text for statement in first] == [statement.text for statement in second]


@settings(deadline=None)
@given(_statements(SQLITE))
def test_a_stripped_text_is_its_own_stripped_text(text: str) -> None:
    """The cache is asked with the raw text first: a key must not mean two things."""
    stripped = strip(text, SQLITE)

    assert strip(stripped, SQLITE) == stripped


@pytest.mark.parametrize(
    "dialect", [SQLITE, POSTGRESQL, POSTGRESQL_BACKSLASHES], ids=["sqlite", "postgresql", "backslashes"]
)
@pytest.mark.parametrize(
    "unit",
    [
        "'",
        '"',
        "`",
        "[",
        "$",
        "$a",
        "/*",
        "*/",
        "-",
        "--",
        "E'\\",
        "1",
        "1e",
        "(",
        ")",
        "?,",
        "(?,",
        ";",
        " ",
        "a",
        '",',
        "x IN (",
        "PASSWORD ",
        "E'a'\n",
        "SET ",
        "SET a.b ",
        "ALTER SET a.",
    ],
)
def test_the_scan_is_linear_in_the_length_of_the_text(dialect: Dialect, unit: str) -> None:
    """CPU time, the least of three; eight times the text may cost thirty times (a square would cost 64)."""
    small, large = (_cpu_s(unit * (size // len(unit)), dialect) for size in (10_000, 80_000))

    assert large < 30 * max(small, 0.0005)


def _cpu_s(text: str, dialect: Dialect) -> float:
    def once() -> float:
        begin = time.process_time()
        for statement in split(strip(text, dialect)):
            sanitize(statement, dialect)
        return time.process_time() - begin

    return min(once() for _ in range(3))
