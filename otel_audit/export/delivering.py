"""How records are delivered: what a process decides before its exporter starts.

Export stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from otel_audit.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Delivering:
    """How records are delivered."""

    endpoint: Endpoint
    attributes: Literal["all", "core"] = "all"
    first_delay_s: float = 1.0
    """The longest wait after a first failure; it doubles with each further one."""
    longest_delay_s: float = 30.0
    """After an outage of any length the first record arrives within this time."""
