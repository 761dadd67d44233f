"""A small independent writer of OTLP-JSON, as the Collector's file exporter lays it out.

Written from the format's page and from what a real Collector wrote, without otel_audit's own projection.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from otel_audit.sources import Source, open_source
from otel_audit.verify import Verdict
from tests.archives import Archive

Record = dict[str, Any]

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


def halves(archive: Archive) -> tuple[list[bytes], list[bytes]]:
    first, second = (stream.records for stream in archive.streams)
    return [*first[:4], *second[:4]], [*first[4:], *second[4:]]


def write(archive: Archive, directory: Path) -> Path:
    """A rotated file and the one being written, the streams interleaved in both."""
    directory.mkdir(exist_ok=True)
    earlier, later = halves(archive)
    (directory / ROTATED.format(1)).write_bytes(line(earlier))
    (directory / CURRENT).write_bytes(line(later))
    return directory


def check(archive: Archive, path: Path, text: str | None = None) -> Verdict:
    return archive.verify(source=open_source(str(path) if text is None else text))


def found(verdict: Verdict) -> list[tuple[str, int | None]]:
    return [(finding.kind, finding.seq) for finding in verdict.findings if finding.severity == "error"]


def bodies_of(source: Source) -> list[bytes]:
    return [body for lane in source.lanes() for batch in lane.batches() for body in batch.bodies]


def edit(file: Path, change: Callable[[list[Record]], None]) -> None:
    """Change the log records of a file of one request, as an intruder would."""
    document = json.loads(file.read_bytes())
    change(document["resourceLogs"][0]["scopeLogs"][0]["logRecords"])
    file.write_bytes(json.dumps(document).encode() + b"\n")


def attribute(record: Record, name: str) -> Record:
    value: Record = next(pair for pair in record["attributes"] if pair["key"] == name)["value"]
    return value
