"""What a statement looks like once its literals are gone, by example."""

from __future__ import annotations

import pytest

from otel_audit.capture.sql_text import POSTGRESQL, SQLITE, Dialect, sanitize, strip


def _sanitized(text: str, dialect: Dialect) -> str:
    return sanitize(strip(text, dialect), dialect)[0]


@pytest.mark.parametrize(
    ("text", "sanitized"),
    [
        ("SELECT 'it''s', 1, 1.5, .5, 1e-5, 0x1F, x'ab', -7", "SELECT ?, ?, ?, .?, ?, ?, ?, -?"),
        ("SELECT a1, t.c2, col_3 FROM t4", "SELECT a1, t.c2, col_3 FROM t4"),
        ("SELECT ?, ?1, :name, :1, @name, $name", "SELECT ?, ?1, :name, :1, @name, $name"),
        ("SELECT 1 -- secret\n, /* secret */ 2", "SELECT ? , ?"),
        ("SELECT 'a\\', 'b'", "SELECT ?, ?"),
        ("WHERE a IN (1, 2, 3) AND b IN (?, ?)", "WHERE a IN (?) AND b IN (?)"),
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')", "INSERT INTO t VALUES (?, ?)"),
        ('SELECT [a 1], `b 2` FROM "c 3"', 'SELECT [a 1], `b 2` FROM "c 3"'),
        ('SELECT "t"."a", "b" FROM "t", "u" WHERE "x" = 1', 'SELECT "t"."a", ? FROM "t", "u" WHERE ? = ?'),
        ('INSERT INTO "t" ("a", "b") VALUES ("x", ("y"))', 'INSERT INTO "t" ("a", "b") VALUES (?, (?))'),
        ('UPDATE "t" SET "a" = "x", "b" = 1 WHERE "c"', 'UPDATE "t" SET "a" = ?, "b" = ? WHERE ?'),
        ('SELECT 1 WHERE a IS DISTINCT FROM "x"', "SELECT ? WHERE a IS DISTINCT FROM ?"),
        (
            'CREATE TABLE "t" ("a" text DEFAULT "x", UNIQUE ("a"))',
            'CREATE TABLE "t" ("a" text DEFAULT ?, UNIQUE ("a"))',
        ),
        ("PRAGMA key = word", "PRAGMA key = ?"),
        ("PRAGMA main.rekey('word')", "PRAGMA main.rekey( ?"),
        ("PRAGMA journal_mode = wal", "PRAGMA journal_mode = wal"),
        ("ATTACH 'f' AS a KEY word", "ATTACH ? AS a KEY ?"),
        ('VACUUM INTO "file"', "VACUUM INTO ?"),
        ("  SELECT\n\t1  ", "SELECT ?"),
    ],
)
def test_sqlite_is_sanitized(text: str, sanitized: str) -> None:
    assert _sanitized(text, SQLITE) == sanitized


@pytest.mark.parametrize(
    ("text", "sanitized"),
    [
        (r"SELECT E'it\'s', e'\\', N'x', B'01', U&'d\0061t'", "SELECT ?, ?, ?, ?, ?"),
        ("SELECT E'a' -- it's\r\n 'secret\\' secret'", "SELECT ?"),
        ("SELECT E'a' 'secret\\' E'secret'", "SELECT ? ? ?"),
        ("SELECT 'a\\', 'b'", "SELECT ?, ?"),
        ("SELECT $$it's$$, $t$ $$ $t$, $1, $2", "SELECT ?, ?, $1, $2"),
        ("SELECT 1 /* a /* b */ secret */ + 2", "SELECT ? + ?"),
        ("SELECT arr[1:5], a::numeric(10, 2), @-5, 3 # 4", "SELECT arr[?:?], a::numeric(?, ?), @-?, ? # ?"),
        (
            'SELECT "name" FROM "t" WHERE "x" = %s AND y = %(y)s',
            'SELECT "name" FROM "t" WHERE "x" = %s AND y = %(y)s',
        ),
        ("CREATE ROLE bob LOGIN PASSWORD 'word'", "CREATE ROLE bob LOGIN PASSWORD ?"),
        ("ALTER USER bob IDENTIFIED BY word ACCOUNT LOCK", "ALTER USER bob IDENTIFIED BY ? ACCOUNT LOCK"),
        ('CREATE USER bob IDENTIFIED BY "word"', "CREATE USER bob IDENTIFIED BY ?"),
        ("CREATE TABLE t (password text, key text)", "CREATE TABLE t (password text, key text)"),
    ],
)
def test_postgresql_is_sanitized(text: str, sanitized: str) -> None:
    assert _sanitized(text, POSTGRESQL) == sanitized


@pytest.mark.parametrize("opening", ["'", "E'", "$$", "$tag$", "/*", "--", "/* /* */"])
def test_what_does_not_end_hides_the_rest(opening: str) -> None:
    assert _sanitized(f"SELECT {opening} secret", POSTGRESQL) in {"SELECT", "SELECT ?"}
