"""The trace of a statement, in a comment at its end: the sqlcommenter convention.

Capture stage. With `OTEL_AUDIT_SQL_COMMENT=true` a driver's instrumentation sends the comment along, so that the
database's own log can be matched with the audit log: `/*traceparent='00-<trace id>-<span id>-01'*/`.
"""

from __future__ import annotations

from opentelemetry import trace

from otel_audit.capture.request import current_request
from otel_audit.capture.sql_config import sql_config
from otel_audit.capture.sql_text import Dialect


def is_commenting() -> bool:
    """Say whether statements carry their trace."""
    return sql_config().is_commenting


def traceparent_comment() -> str | None:
    """The comment for a statement that is executed now, with the ids that its record will carry.

    None outside of a request and of a span. Hexadecimal digits and dashes need no escape of any kind.
    """
    span = trace.get_current_span().get_span_context()
    request = current_request.get()
    if request is not None:
        ids = "-".join(request.ids)
    elif span.is_valid:
        ids = f"{span.trace_id:032x}-{span.span_id:016x}"
    else:
        return None
    return f"/*traceparent='00-{ids}-{'01' if span.trace_flags.sampled else '00'}'*/"


def has_comment(text: str, dialect: Dialect) -> bool:
    """Say whether *text* has a comment anywhere: the convention leaves such a statement alone."""
    if "--" not in text and "/*" not in text:
        return False
    return any(match.lastgroup == "comment" for match in dialect.pattern.finditer(text))


def with_comment(text: str, comment: str) -> str:
    """*text* with *comment* at its end, before a semicolon that ends it."""
    statement = text.rstrip()
    if statement.endswith(";"):
        return f"{statement[:-1].rstrip()} {comment};"
    return f"{statement} {comment}" if statement else text
