"""What happened: the values that capture hands to evidence, before any bytes are made of them.

First stage of the data's path (event, evidence, spool). Members follow "Record" in the evidence format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Outcome: TypeAlias = Literal["success", "failure", "unknown"]
ActorType: TypeAlias = Literal["user", "service", "system"]
SourceType: TypeAlias = Literal["ipv4", "ipv6", "hostname"]
Auth: TypeAlias = Literal["session", "basic", "bearer", "mtls", "api-key", "proxy-header", "explicit", "none"]
ContextValue: TypeAlias = str | bool | int | float | Sequence[str] | Sequence[bool] | Sequence[int] | None
"""What may be given as context; a float or an integer beyond 2^53 is carried as a string, None is left out."""

Context: TypeAlias = Mapping[str, ContextValue]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who: an identity that was verified, never one that was merely claimed."""

    id: str
    type: ActorType = "user"
    auth: Auth | None = None
    """How the identity was verified; None where that is not known."""
    name: str | None = None
    on_behalf_of: Actor | None = None
    """Whom this actor impersonates or works for, at most three deep."""


ANONYMOUS = Actor("anonymous", "user", "none")
"""A request that carried no identity."""

UNKNOWN = Actor("unknown", "user")
"""A request whose identity could not be determined."""


@dataclass(frozen=True, slots=True)
class Target:
    """On what: `id` within `type` (`http.endpoint`, `db.table`, `invoice` …)."""

    id: str
    type: str


@dataclass(frozen=True, slots=True)
class Source:
    """From where: an address."""

    id: str
    type: SourceType


class AuditEvent(NamedTuple):
    """One thing that happened, framework-neutral.

    A named tuple rather than a frozen dataclass: it is made once an event, on the request's path, and a
    frozen dataclass of ten members costs 1.6 µs more.
    """

    event: str
    action: str
    outcome: Outcome
    actor: Actor | None = None
    """None: whoever the current request acts as, else the service itself."""
    target: Target | None = None
    source: Source | None = None
    """None: that of the current request, where there is one."""
    time_unix_nano: int | None = None
    """When it happened; None: now."""
    trace_id: str | None = None
    """32 lower-case hex digits; None: that of the current request or span."""
    span_id: str | None = None
    """16 lower-case hex digits; None: that of the current span or request."""
    context: Context | None = None
