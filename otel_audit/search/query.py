"""What is asked: conditions on events, all of which must hold.

Search stage, over members of records that the verifier has read.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, cast

from otel_audit.errors import InvalidSetting

Members = Mapping[str, Any]
"""A record as parsed; its values are whatever the evidence format allows."""

REQUEST = "http.server.request"
LIFECYCLE = "audit."
UNIDENTIFIED = ("anonymous", "unknown")
"""Actors of a request whose user is not known (yet): see "actor" in the evidence format."""


@dataclass(frozen=True, slots=True)
class Query:
    """Conditions; None holds for everything. In texts, `*` and `?` stand for any characters and any one.

    Lifecycle records (`audit.*`) answer only an *event* that names them.
    """

    actor: str | None = None
    """Id or name of the actor, or of whomever it acts on behalf of."""
    action: str | None = None
    event: str | None = None
    without: tuple[str, ...] = ()
    """Kinds of events that are left out, whatever else holds."""
    target: str | None = None
    """Id, type, or `type:id` of the target; of a statement on several tables, any of them."""
    outcome: str | None = None
    trace: str | None = None
    """32 hex digits, or their beginning."""
    service: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Exclusive, as *since* is inclusive; both of the time at which it happened."""

    def __post_init__(self) -> None:
        if self.trace is not None and not re.fullmatch(r"[0-9a-fA-F]{4,32}", self.trace):
            raise InvalidSetting(
                f"--trace '{self.trace}': expected a trace id, 32 hex digits, or at least its first 4"
            )
        if self.outcome is not None and self.outcome not in ("success", "failure", "unknown"):
            raise InvalidSetting(f"--outcome '{self.outcome}': expected success, failure or unknown")

    def matches(self, members: Members) -> bool:
        """True where every condition holds, the actor's and the service's left aside.

        Who acted may be learnt only at the end of a request, and the service stands in another record:
        those two are for whoever sees more than one record.
        """
        event = members["event"]
        if self.event is None:
            if event.startswith(LIFECYCLE):
                return False
        elif not like(self.event, event):
            return False
        if any(like(pattern, event) for pattern in self.without):
            return False
        if self.action is not None and not like(self.action.upper(), members["action"]):
            return False
        if self.outcome is not None and self.outcome != members["outcome"]:
            return False
        if self.trace is not None and not members.get("trace_id", "").startswith(self.trace.lower()):
            return False
        if self.target is not None and not any(like(self.target, text) for text in targets(members)):
            return False
        return self._in_period(members["time"])

    def is_by(self, members: Members) -> bool:
        """True where the record itself names the actor who is asked for, or none is."""
        return self.actor is None or any(like(self.actor, text) for text in names(members["actor"]))

    def _in_period(self, time: str) -> bool:
        # RFC 3339 of one form sorts as text; a record's nine digits and a `Z` against our six and none
        if self.since is not None and time < _text(self.since):
            return False
        return self.until is None or time < _text(self.until)


def names(actor: Mapping[str, Any]) -> Iterator[str]:
    """Every id and name of *actor*, and of those it acts on behalf of."""
    while actor:
        yield actor["id"]
        if "name" in actor:
            yield actor["name"]
        actor = actor.get("on_behalf_of", {})


def targets(members: Members) -> Iterator[str]:
    """What a `--target` may name in this record."""
    target = members.get("target")
    if target is not None:
        yield target["id"]
        yield target["type"]
        yield f"{target['type']}:{target['id']}"
    tables = members.get("context", {}).get("db.collection.names")
    if isinstance(tables, list):
        yield from (text for text in cast("list[object]", tables) if isinstance(text, str))


def like(pattern: str, text: str) -> bool:
    """True where *text* as a whole is like *pattern*: `*` any characters, `?` any one, all others themselves."""
    return _compiled(pattern).fullmatch(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # fnmatch writes each `*` as an atomic group, so a hostile text costs no backtracking; brackets mean themselves
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))


def _text(time: datetime) -> str:
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
