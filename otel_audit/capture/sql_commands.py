"""What definitions, grants and commands are about: `CREATE ROLE bob`, `GRANT … TO`, `SET ROLE`, `NOTIFY`.

Capture stage, behind `capture.sql_words`.
"""

from __future__ import annotations

from dataclasses import dataclass

from otel_audit.capture.sql_names import MODIFIERS, first_name, is_name, listed_names, unquoted
from otel_audit.capture.sql_text import keywords


@dataclass(frozen=True, slots=True)
class Subject:
    """What a command is about."""

    name: str = ""
    type: str = ""
    """`db.role`, `db.setting` …"""
    tables: tuple[str, ...] | None = None
    """The tables that it names; None: they stand where tables of queries stand."""
    kind: str = ""
    """Second word of the command: `ROLE` of `SET ROLE`, `TABLE` of `CREATE TABLE`."""
    action: str = ""
    """Where it is not that of the operation."""


DEFINITIONS = frozenset({"CREATE", "ALTER", "DROP"})
_DEFINED_TYPES = {"USER": "db.role", "GROUP": "db.role", "DOMAIN": "db.type"}
_TWO_WORDS = {("USER", "MAPPING"), ("DATA", "WRAPPER"), ("ACCESS", "METHOD"), ("TEXT", "SEARCH")}
_NOISE = keywords(
    "DATABASE MATERIALIZED VIEW CONCURRENTLY SAVEPOINT TABLE ONLY VERBOSE FULL FREEZE SESSION LOCAL TRANSACTION "
    "WORK TO PREPARE INDEX SCHEMA SYSTEM ANALYZE ALL"
)
_KINDS = {
    "PRAGMA": "db.pragma",
    "CALL": "db.procedure",
    "EXEC": "db.procedure",
    "EXECUTE": "db.statement",
    "DEALLOCATE": "db.statement",
    "DETACH": "db.database",
    "REFRESH": "db.view",
    "SAVEPOINT": "db.savepoint",
    "RELEASE": "db.savepoint",
    "REINDEX": "db.object",
    "ANALYZE": "db.object",
    "CLUSTER": "db.table",
    "SHOW": "db.setting",
    "LISTEN": "db.channel",
    "UNLISTEN": "db.channel",
    "NOTIFY": "db.channel",
    "CLOSE": "db.cursor",
}


def defined(operation: str, words: list[str]) -> Subject:
    """What CREATE, ALTER or DROP, followed by *words*, is about."""
    upper = [word.upper() for word in words]
    if operation == "ALTER" and upper[:2] == ["DEFAULT", "PRIVILEGES"]:
        return _default_privileges(words)
    if upper[:2] == ["OWNED", "BY"]:
        return Subject(first_name(words[2:]), "db.role", (), "OWNED")
    if upper[:2] == ["SYSTEM", "SET"] or upper[:2] == ["SYSTEM", "RESET"]:
        return Subject(first_name(words[2:]), "db.setting", (), "SYSTEM")
    rest = [place for place, word in enumerate(upper) if word not in MODIFIERS]
    if not rest:
        return Subject()
    kind = upper[rest[0]]
    rest = rest[1:]
    if rest and (kind, upper[rest[0]]) in _TWO_WORDS:
        kind = f"{kind} {upper[rest[0]]}"
        rest = rest[2:] if kind == "USER MAPPING" else rest[1:]  # CREATE USER MAPPING FOR bob
    kind_type = _DEFINED_TYPES.get(kind, f"db.{kind.lower().replace(' ', '_')}")
    name = unquoted(words[rest[0]]) if rest and is_name(words[rest[0]]) else ""
    tables: tuple[str, ...] | None = None
    if kind_type == "db.table":
        noise = MODIFIERS | {"TABLE"}
        tables = listed_names(words, noise) if operation == "DROP" else ((name,) if name else ())
    return Subject(name, kind_type, tables, kind)


def _default_privileges(words: list[str]) -> Subject:
    upper = [word.upper() for word in words]
    action = "REVOKE" if "REVOKE" in upper else "GRANT"
    at = upper.index("SCHEMA") + 1 if "SCHEMA" in upper[:-1] else 0
    name = first_name(words[at:]) if at else ""
    return Subject(name, "db.schema" if name else "", (), "DEFAULT PRIVILEGES", action)


def granted(words: list[str]) -> Subject:
    """What GRANT or REVOKE, followed by *words*, is about: an object, or a role that becomes another's."""
    upper = [word.upper() for word in words]
    if upper[1:3] == ["OPTION", "FOR"]:
        words, upper = words[3:], upper[3:]
    if "ON" not in upper:
        return Subject(first_name(words), "db.role" if words else "", ())
    at = upper.index("ON") + 1
    kind = "TABLE"
    for place, word in enumerate(upper[at:], at):
        if word in {"ALL", "IN", "TABLES", "SEQUENCES", "FUNCTIONS", "ROUTINES", "PROCEDURES", "LARGE", "FOREIGN"}:
            kind = "SCHEMA" if word.endswith("S") else kind
        elif word in {
            "TABLE",
            "SCHEMA",
            "DATABASE",
            "SEQUENCE",
            "FUNCTION",
            "PROCEDURE",
            "ROUTINE",
            "TYPE",
            "DOMAIN",
            "LANGUAGE",
            "SERVER",
            "PARAMETER",
            "TABLESPACE",
            "OBJECT",
        }:
            kind = word
        elif is_name(words[place]):
            tables = listed_names(words[place:]) if kind == "TABLE" else ()
            return Subject(unquoted(words[place]), f"db.{kind.lower()}", tables)
        else:
            break
    return Subject(tables=())


def commanded(operation: str, words: list[str]) -> Subject | None:
    """What any other command, followed by *words*, is about; None where that is not known."""
    upper = [word.upper() for word in words]
    if operation in {"SET", "RESET"}:
        return _setting(words)
    if operation == "ATTACH":
        return Subject(first_name(words[upper.index("AS") + 1 :]) if "AS" in upper else "", "db.database", ())
    if operation in {"FETCH", "MOVE"}:
        at = next((place for place, word in enumerate(upper) if word in {"FROM", "IN"}), len(words) - 2)
        return Subject(first_name(words[at + 1 :]), "db.cursor", ())
    if operation in {"LOCK", "VACUUM"}:
        if "INTO" in upper:  # SQLite's: VACUUM main INTO file
            return Subject(tables=(), action="EXPORT")
        names = listed_names(_without_options(words), _NOISE)
        is_schema = operation == "VACUUM" and names in {("main",), ("temp",)}
        return Subject(tables=() if is_schema else names)
    if operation == "REASSIGN":
        return Subject(first_name(words[2:]), "db.role", (), "OWNED", "UPDATE")
    if operation == "IMPORT" and upper[:2] == ["FOREIGN", "SCHEMA"]:
        return Subject(first_name(words[2:]), "db.schema", (), "FOREIGN SCHEMA")
    if operation in {"COMMENT", "SECURITY"} and "ON" in upper[:-1]:
        return _described(words[upper.index("ON") + 1 :])
    if operation == "TABLE":
        return Subject(tables=listed_names(words, frozenset({"ONLY"}))[:1])
    if operation in {"COMMIT", "ROLLBACK", "PREPARE"}:
        return _ended(operation, words)
    if operation in _KINDS:
        name = first_name(_without_options(words), _NOISE)
        return Subject(name, _KINDS[operation] if name else "")
    return None


def _ended(operation: str, words: list[str]) -> Subject | None:
    """COMMIT, ROLLBACK and PREPARE where they say of what."""
    upper = [word.upper() for word in words]
    if operation == "ROLLBACK" and "TO" in upper:
        return Subject(first_name(words, _NOISE), "db.savepoint", (), "TO")
    if operation != "PREPARE" and upper[:1] == ["PREPARED"]:
        return Subject(tables=(), kind="PREPARED")
    if operation == "PREPARE" and upper[:1] == ["TRANSACTION"]:
        return Subject(tables=(), kind="TRANSACTION")
    return None


def _setting(words: list[str]) -> Subject:
    """SET and RESET: a setting, or as whom the session goes on."""
    rest = [word for word in words if word.upper() not in {"SESSION", "LOCAL"}]
    kind = rest[0].upper() if rest else ""
    if kind not in {"ROLE", "AUTHORIZATION"}:
        name = first_name(rest)
        return Subject(name, "db.setting" if name else "", ())
    name = first_name(rest[1:])
    is_role = name != "" and name.upper() not in {"NONE", "DEFAULT"}
    return Subject(
        name if is_role else "",
        "db.role" if is_role else "",
        (),
        "ROLE" if kind == "ROLE" else "SESSION AUTHORIZATION",
    )


def _described(words: list[str]) -> Subject:
    """COMMENT ON and SECURITY LABEL ON: kind and name of what is described."""
    kind = words[0].upper() if words else ""
    name = first_name(words[1:])
    return Subject(
        name, f"db.{kind.lower()}" if name else "", (name,) if kind == "TABLE" and name else (), kind, "UPDATE"
    )


def _without_options(words: list[str]) -> list[str]:
    """*words* without a parenthesis that they begin with: VACUUM (FULL, ANALYZE) t."""
    if words[:1] != ["("]:
        return words
    return words[words.index(")") + 1 :] if ")" in words else []
