"""The trace of a statement as a comment in it, for the database's own log (`OTEL_AUDIT_SQL_COMMENT`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import sql
from psycopg.sql import Composable

from otel_audit.capture.sql_comment import has_comment, is_commenting, traceparent_comment, with_comment
from otel_audit.capture.sql_text import POSTGRESQL


def commented(query: object, text: str, kwargs: Mapping[str, object]) -> object | None:
    """*query*, whose text is *text*, with the current trace in a comment at its end; None to leave it as it is.

    Left alone: what has a comment already (as the sqlcommenter convention demands), template strings, whatever
    runs outside of a trace, and statements that the application wants prepared: psycopg prepares by their text,
    and a text that changes with every request would be prepared every time.
    """
    if not is_commenting() or kwargs.get("prepare") or not text or has_comment(text, POSTGRESQL):
        return None
    comment = traceparent_comment()
    if comment is None:
        return None
    if isinstance(query, str):
        return with_comment(query, comment)
    if isinstance(query, bytes):
        # every client encoding of PostgreSQL is ASCII where SQL is
        return with_comment(query.decode("latin-1"), comment).encode("latin-1")
    if isinstance(query, Composable):
        literal: Any = " " + comment  # nothing of it is the application's
        return query + sql.SQL(literal)
    return None
