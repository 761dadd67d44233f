"""What the doctor sees in one look, and how grave it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Grade: TypeAlias = Literal["ok", "note", "wrong"]
"""`note`: worth knowing, and perhaps as it should be; only `wrong` makes the exit status 1."""


@dataclass(frozen=True, slots=True)
class Look:
    """One thing that was looked at."""

    area: str
    """`settings`, `spool`, `identity`, `clock`, `hooks`, `opentelemetry`, `collector`."""
    what: str
    grade: Grade
    message: str
    do: str = ""
    """What to do now; empty where there is nothing to."""
