"""Files of every kind that a source reads: the first byte says which, the rest is the file."""

from __future__ import annotations

import gzip
import os
import struct
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import zstandard

from otel_audit.errors import SourceError
from otel_audit.evidence.canonical import MAX_RECORD_BYTES, decode
from otel_audit.evidence.record import problem
from otel_audit.sources import read_directory
from otel_audit.sources.lines import read_lines
from otel_audit.sources.otlp_json import read_otlp_json
from otel_audit.verify import verify
from otel_audit.verify.index import compare
from tests.attacks.world import World

REGRESSIONS: tuple[bytes, ...] = ()
_NAMES = ("x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.otlp.json", "x.otlp.jsonl.gz", "x.otlp.jsonl.zst")
_DOCUMENT = (
    b'{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},'
    b'"scopeLogs":[{"scope":{},"logRecords":[{"timeUnixNano":"1","body":{"stringValue":%s},"attributes":['
    b'{"key":"audit.record.id","value":{"stringValue":"x"}},{"key":"audit.sequence.number","value":{"intValue":"1"}},'
    b'{"key":"a","value":{"arrayValue":{"values":[{"boolValue":true},{"doubleValue":1e999}]}}},'
    b'{"key":"audit.schema.version","value":{"stringValue":"otel-audit/1"}}]}]}]}]}\n'
)


@cache
def _home() -> Path:
    return Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))


def seeds() -> Iterator[bytes]:
    lines = World(_home() / "never-written").honest["first"]
    plain = b"\n".join(lines) + b"\n"
    quoted = [b'"' + line.replace(b'"', b'\\"') + b'"' for line in lines]
    documents = b"".join(_DOCUMENT % one for one in quoted[:3])
    small = plain[:700] + b"\n\0\0\0{}\n"
    for at, name in enumerate(_NAMES):
        for content in (documents, documents[:-40]) if "otlp" in name else (plain, small, plain[:-100]):
            packed = content
            if name.endswith(".gz"):
                packed = gzip.compress(content, mtime=0)
            elif name.endswith(".zst"):
                packed = zstandard.compress(content)
                yield (
                    bytes([at]) + struct.pack(">I", len(packed)) + packed + struct.pack(">I", len(packed)) + packed
                )
            yield bytes([at]) + packed
            yield bytes([at]) + packed[: len(packed) // 2] + packed


def target(data: bytes) -> None:
    path = _home() / _NAMES[data[0] % len(_NAMES) if data else 0]
    content = data[1:]
    path.write_bytes(content)
    try:
        source = read_otlp_json(path) if "otlp" in path.name else read_directory(path)
        for lane in source.lanes():
            for batch in lane.batches():
                for body, beside in zip(batch.bodies, batch.attributes or [None] * len(batch.bodies), strict=True):
                    assert len(body) <= MAX_RECORD_BYTES + 1
                    members = decode(body)
                    if beside is not None and members is not None and problem(members) is None:
                        list(compare(members, beside))
        if path.name == _NAMES[0]:
            seen = [line for lines in read_lines(path) for line in lines]
            whole = content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]
            assert seen == [line[: MAX_RECORD_BYTES + 1] for line in whole]
        assert verify([source], trust=[]).status in {"tampered", "incomplete", "empty"}
    except SourceError:
        pass
    finally:
        path.unlink()
