"""What of a statement is recorded, and whether it carries its trace: one configuration a process.

Capture stage, apart from what reads statements: that costs a process its imports only where a driver is hooked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

QueryText: TypeAlias = Literal["none", "summary", "sanitized"]


@dataclass(frozen=True, slots=True)
class SqlCaptureConfig:
    """How much of a statement is recorded, and what is added to it."""

    query_text: QueryText = "sanitized"
    """`none`: operation and tables alone; `summary`: with `db.query.summary`; `sanitized`: with `db.query.text`."""
    is_commenting: bool = False
    """Whether statements carry their trace in a comment."""


_current = SqlCaptureConfig()


def configure_sql(config: SqlCaptureConfig) -> None:
    """Install *config* for the whole process."""
    global _current  # noqa: PLW0603 - one configuration a process, as for the pipeline
    _current = config


def sql_config() -> SqlCaptureConfig:
    """The configuration in force."""
    return _current
