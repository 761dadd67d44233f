"""One trace as its requests, each with what was done to serve it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from otel_audit.search.query import REQUEST
from otel_audit.search.selection import Found


@dataclass(slots=True)
class Served:
    """A request and what was recorded while it was served, both in order of time."""

    request: Found | None
    """None: what belongs to no request, or to several alike."""
    within: list[Found] = field(default_factory=list[Found])


def by_request(records: Iterable[Found]) -> list[Served]:
    """Group the records of one trace, given in order of time, by the request that they served.

    A record belongs to the request of its process with its span; a record of a span of its own (a
    library's) to the process's only request in this trace. What could belong to several stands alone.
    """
    served: list[Served] = []
    of_span: dict[tuple[str, str], list[Served]] = {}
    of_stream: dict[str, list[Served]] = {}
    others: list[Found] = []
    for found in records:
        if found.members["event"] != REQUEST:
            others.append(found)
            continue
        one = Served(found)
        served.append(one)
        of_span.setdefault((found.stream, found.members.get("span_id", "")), []).append(one)
        of_stream.setdefault(found.stream, []).append(one)
    alone = Served(None)
    for found in others:
        owners = of_span.get((found.stream, found.members.get("span_id", "")), of_stream.get(found.stream, []))
        (owners[0] if len(owners) == 1 else alone).within.append(found)
    return [*served, alone] if alone.within else served
