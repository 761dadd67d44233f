"""A small independent writer of OTLP-JSON, as the Collector's file exporter lays it out.

Written from the format's page and from what a real Collector wrote, without otel_audit's own projection.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

ROTATED = "audit.otlp-2026-11-23T15-{:02}-00.000-size.jsonl"
CURRENT = "audit.otlp.jsonl"


def any_value(value: object) -> dict[str, object]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case list():
            return {"arrayValue": {"values": [any_value(element) for element in cast("list[object]", value)]}}
        case _:
            return {"stringValue": value}


def projected(body: bytes) -> dict[str, object]:
    """The attributes of format.md, "OTLP projection"."""
    m: dict[str, Any] = json.loads(body)
    attributes: dict[str, object] = {
        "audit.record.id": f"{m['stream']}-{m['seq']}",
        "audit.schema.version": m["schema"],
        "event.name": m["event"],
        "audit.action": m["action"],
        "audit.outcome": m["outcome"],
        "audit.sequence.stream_id": m["stream"],
        "audit.sequence.number": m["seq"],
    }
    for member in ("actor", "target", "source"):
        for name in ("id", "type", "auth", "name"):
            if name in m.get(member, {}):
                attributes[f"audit.{member}.{name}"] = m[member][name]
    if "prev" in m:
        attributes["audit.sequence.previous_hash"] = m["prev"]
    if "sig" in m:
        attributes["audit.integrity.value"] = m["sig"]
        attributes["audit.integrity.canonicalization"] = "otel-audit/1"
    if m["event"] == "audit.stream.close":
        attributes["audit.sequence.end"] = True
    context = m.get("context", {})
    return attributes | {
        name: context[name] for name in context if name not in ("audit.certificate", "audit.policy.text")
    }


def log_record(body: bytes, attributes: Mapping[str, object] | None = None) -> dict[str, Any]:
    given = projected(body) if attributes is None else attributes
    return {
        "timeUnixNano": "1795446000000000000",
        "body": {"stringValue": body.decode()},
        "attributes": [{"key": name, "value": any_value(value)} for name, value in given.items()],
        "eventName": json.loads(body)["event"],
    }


def request(records: Iterable[Mapping[str, object]]) -> dict[str, Any]:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    scope_logs = {"scope": {"name": "otel-audit"}, "logRecords": list(records)}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [scope_logs]}]}


def line(bodies: Iterable[bytes]) -> bytes:
    """One export request on one line."""
    return json.dumps(request(log_record(body) for body in bodies), separators=(",", ":")).encode() + b"\n"
