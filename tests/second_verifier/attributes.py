"""The index beside a record: "OTLP projection", for the second verifier."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def projection(record: Mapping[str, Any]) -> dict[str, Any]:
    """Every attribute of the table by name; None where the record has no such member."""
    named: dict[str, Any] = {
        name: one
        for name, one in record.get("context", {}).items()
        if name not in {"audit.certificate", "audit.policy.text"}
    }
    for part, names in {"actor": "id type auth name", "target": "id type", "source": "id type"}.items():
        named |= {f"audit.{part}.{name}": record.get(part, {}).get(name) for name in names.split()}
    return named | {
        "audit.record.id": f"{record['stream']}-{record['seq']}",
        "audit.schema.version": record["schema"],
        "event.name": record["event"],
        "audit.actor.on_behalf_of.id": record["actor"].get("on_behalf_of", {}).get("id"),
        "audit.action": record["action"],
        "audit.outcome": record["outcome"],
        "audit.sequence.stream_id": record["stream"],
        "audit.sequence.number": record["seq"],
        "audit.sequence.previous_hash": record.get("prev"),
        "audit.sequence.end": True if record["event"] == "audit.stream.close" else None,
        "audit.integrity.value": record.get("sig"),
        "audit.integrity.canonicalization": "otel-audit/1" if "sig" in record else None,
    }


def agrees(attributes: Mapping[str, object], record: Mapping[str, Any]) -> bool:
    """Whether each attribute that the table knows, by its name or its `_` form, is or begins what is said."""
    named = projection(record)
    by_form: dict[str, list[object]] = {}
    for name, value in named.items():
        by_form.setdefault(name.replace(".", "_"), []).append(value)
    return all(
        any(begins(given, value) for value in ([named[name]] if name in named else by_form.get(name, [])))
        for name, given in attributes.items()
        if name in named or name in by_form
    )


def begins(given: object, value: object) -> bool:
    """Integers, booleans and arrays also as their JSON text."""
    if value is None:
        return given in (None, "", False, "false")  # a column's default
    if isinstance(value, str):
        return isinstance(given, str) and value.startswith(given)
    spelt = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return spelt.startswith(given) if isinstance(given, str) else json.dumps(given) == json.dumps(value)
