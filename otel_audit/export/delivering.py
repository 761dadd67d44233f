"""How records are delivered: what a process decides before its exporter starts.

Export stage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from otel_audit.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things are tried; a test is in a hurry."""

    first_delay_s: float = 1.0
    """The longest wait after a first failure; it doubles with each further one."""
    longest_delay_s: float = 30.0
    """After an outage of any length the first record arrives within this time."""
    look_every_s: float = 5.0
    """How often a thread looks for streams that ended elsewhere."""
    patience_s: float = 60.0
    """How long a stream that another process delivers may stand still before those that name it go ahead of it:
    twice the longest delay."""


@dataclass(frozen=True, slots=True)
class Delivering:
    """Where to, what, and at which pace."""

    endpoint: Endpoint
    attributes: Literal["all", "core"] = "all"
    pace: Pace = field(default_factory=Pace)
