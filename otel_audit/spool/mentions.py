"""Which streams a stream's records speak of; retention must keep what excuses the absence of others.

Spool stage, reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_audit.evidence.canonical import MAX_RECORD_BYTES, decode
from otel_audit.spool.layout import segments

_LIFECYCLE = b'"event":"audit.'


@dataclass(slots=True)
class Mentions:
    """Stream ids, in no order."""

    names: set[str] = field(default_factory=set[str])
    """Predecessors, successors, and those recovered."""
    recovered: set[str] = field(default_factory=set[str])
    retired: set[str] = field(default_factory=set[str])

    def take(self, event: str, context: Mapping[str, Any]) -> None:
        """Note the streams that a lifecycle record speaks of."""
        match event:
            case "audit.stream.open" | "audit.stream.linked":
                self.names.update(
                    str(reference).split(":")[0] for reference in context.get("audit.predecessors", ())
                )
            case "audit.stream.close" if "audit.successor" in context:
                self.names.add(str(context["audit.successor"]))
            case "audit.stream.recovered":
                self.recovered.add(str(context.get("audit.recovered.stream")))
                self.names |= self.recovered
            case "audit.retired":
                self.retired.update(map(str, context.get("audit.retired.streams", ())))
            case _:
                pass


def read_mentions(stream_directory: Path) -> Mentions:
    """Read the lifecycle records of a stream; its other lines are passed over unparsed.

    Raises:
        OSError: a segment cannot be read.
    """
    mentions = Mentions()
    for path in segments(stream_directory):
        with path.open("rb") as file:
            while line := file.readline(MAX_RECORD_BYTES + 1):
                members = decode(line.rstrip(b"\n")) if _LIFECYCLE in line else None
                if members is not None and "sig" in members and isinstance(members.get("context"), dict):
                    mentions.take(str(members.get("event")), members["context"])
    return mentions
