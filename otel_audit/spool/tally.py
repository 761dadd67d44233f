"""What a writer has counted since its process began to write: for metrics, which read it now and then.

Spool stage. Plain integers, because an instrument's call for each event would cost more than the event's hash; the
evidence of what was lost stands in the log itself.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class WriterTally:
    """Changed under the writer's lock, read by anybody."""

    emitted: int = 0
    """Events that were recorded."""
    dropped: int = 0
    """Events that could not be recorded; each is in a gap record, or will be."""
    skipped: int = 0
    """Events that the policy left out."""
    seals: int = 0
