"""The one table of attribute names: what stands beside a record's body in OTLP ("OTLP projection").

Evidence stage: the exporter writes attributes by it, the verifier compares them by it. The names follow the
OpenTelemetry draft audit signal, which still renames them.
"""

from __future__ import annotations

from collections.abc import Mapping

CANONICALIZATION = "otel-audit/1"

RECORD_ID = "audit.record.id"
"""`<stream>-<seq>`."""
INTEGRITY_CANONICALIZATION = "audit.integrity.canonicalization"
SEQUENCE_END = "audit.sequence.end"
"""True, on the close only."""

MEMBERS: Mapping[str, tuple[str, ...]] = {
    "audit.schema.version": ("schema",),
    "event.name": ("event",),
    "audit.actor.id": ("actor", "id"),
    "audit.actor.type": ("actor", "type"),
    "audit.actor.auth": ("actor", "auth"),
    "audit.actor.name": ("actor", "name"),
    "audit.actor.on_behalf_of.id": ("actor", "on_behalf_of", "id"),
    "audit.action": ("action",),
    "audit.outcome": ("outcome",),
    "audit.target.id": ("target", "id"),
    "audit.target.type": ("target", "type"),
    "audit.source.id": ("source", "id"),
    "audit.source.type": ("source", "type"),
    "audit.sequence.stream_id": ("stream",),
    "audit.sequence.number": ("seq",),
    "audit.sequence.previous_hash": ("prev",),
    "audit.integrity.value": ("sig",),
}
"""Attribute, and the path of the member that it repeats; absent where the member is."""

NOT_PROJECTED = frozenset(("audit.certificate", "audit.policy.text"))
"""Members of `context` that stand in the body only; all others become attributes of the same name."""
