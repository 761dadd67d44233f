"""Which streams a stream's records speak of, and of which service it is itself.

Spool stage, reading. Retention must keep what excuses the absence of others; and a stream of one service must not
speak of another's, which a verifier calls `misplaced`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

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


def foreign_service(stream_directory: Path) -> str | None:
    """The service that a stream is of, where it lies in the directory of another; None where it is in its place.

    Somebody copied or moved it there: the whole of a service's directory beside itself, for safety's sake, say.

    Raises:
        OSError: its first segment cannot be read.
    """
    for path in segments(stream_directory)[:1]:
        try:
            with path.open("rb") as file:
                members = decode(file.readline(MAX_RECORD_BYTES + 1).rstrip(b"\n")) or {}
        except FileNotFoundError:  # retired meanwhile
            return None
        match members:
            case {"context": {"service.name": str(service)}} if service != unquote(stream_directory.parent.name):
                return service
            case _:
                pass
    return None
