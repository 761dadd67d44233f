"""Attributes beside a body: the page's "OTLP projection"; words in quotes are the page's own."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.second_verifier.records import CLOSE, Json


def projection(record: Json) -> dict[str, object]:
    """The table of "OTLP projection"; None stands for a row of which the body has nothing."""
    rows: dict[str, object] = {
        "audit.record.id": f"{record['stream']}-{record['seq']}",
        "audit.schema.version": record["schema"], "event.name": record["event"],
        "audit.actor.on_behalf_of.id": record["actor"].get("on_behalf_of", {}).get("id"),
        "audit.action": record["action"], "audit.outcome": record["outcome"],
        "audit.sequence.stream_id": record["stream"], "audit.sequence.number": record["seq"],
        "audit.sequence.previous_hash": record.get("prev"),
        "audit.sequence.end": True if record["event"] == CLOSE else None,
        "audit.integrity.value": record.get("sig"), "audit.integrity.canonicalization": "otel-audit/1",
    }  # fmt: skip
    for group, parts in ("actor", "id type auth name"), ("target", "id type"), ("source", "id type"):
        rows |= {f"audit.{group}.{part}": record.get(group, {}).get(part) for part in parts.split()}
    kept = dict(record.get("context", {}))
    for name in ("audit.certificate", "audit.policy.text"):
        kept.pop(name, None)
    return kept | rows


def agrees(attributes: Mapping[str, object], record: Json) -> bool:
    """ "Integers, booleans and arrays also as their JSON text: a proper prefix is a warning"."""
    for name, value in projection(record).items():
        for spelling in {name, name.replace(".", "_")}:
            given = attributes.get(spelling)
            if given is None or (value is None and given in ("", False, "false")):
                continue  # a backend's default where there was nothing
            if type(given) is type(value) and given == value:
                continue
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            if value is None or not isinstance(given, str) or not text.startswith(given):
                return False
    return True
