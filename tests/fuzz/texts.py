"""What an operator writes: settings, policies, times, filters, witnesses. Taken, or refused by name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import orjson

from otel_audit.capture.coverage import is_manifest
from otel_audit.capture.policy import Policy
from otel_audit.capture.request import RequestScope
from otel_audit.cli.arguments import count, duration, moment
from otel_audit.cli.coverage.comparison import differences, is_comparable
from otel_audit.cli.witness import read_witness
from otel_audit.errors import AuditError
from otel_audit.event import Actor, AuditEvent
from otel_audit.search.query import Query, like
from otel_audit.settings import Settings
from otel_audit.sources import open_source
from otel_audit.variables import VARIABLES

REGRESSIONS: tuple[bytes, ...] = ()
_NOW = datetime(2026, 11, 23, tzinfo=UTC)
_NAMES = sorted({name for variable in VARIABLES for name in (variable.name, *variable.fallbacks)})
_REQUEST = RequestScope(trace_id="", span_id="", source=None, path="/" + "a/" * 1000, method="GET")
_EVENT = AuditEvent(
    "http.server.request", "READ", "success", Actor("a" * 2000, "user"), None, None, None, None, None, {}
)


@cache
def _file() -> Path:
    return Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)) / "file"


def seeds() -> Iterator[bytes]:
    for policy in (
        "rules:\n  - path: [/static/**, /a/*/b?]\n    action: skip\n  - event: db.*\n    detail: core\n",
        "rules: &a\n  - {actor: '*x*', status: [2xx, 400-499], method: GET, action: record}\n  - *a\n",
        "--- \nrules: []\n---\nrules:\n- event: '*a*a*'\n",
    ):
        yield b"p" + policy.encode()
    for value in (
        "5s",
        "10GiB",
        "true",
        "file:/a,/b",
        "a=b,c=d%20",
        "10.0.0.0/8,::/0",
        "http://u:p@[::1]:4318/x",
        "5%",
    ):
        for at in range(0, len(_NAMES), 3):
            yield b"s" + bytes([at]) + value.encode()
    for text in ("2026-11-23T15:00:00.1234+02:00", "7d", "90m", "0", "2026-02-30"):
        yield b"t" + text.encode()
    yield b"w" + b"# seen\n" + b"a" * 32 + b":17:" + b"b" * 64 + b"  # there\n"
    for rows in (b"", b'"routes":[{"endpoint":"a","methods":["GET"],"route":"/"}],', b'"models":[{"model":1}],'):
        yield b'm{"application":"a","libraries":[{"library":"x"}],%s"schema":"otel-audit-coverage/1"}' % rows
    yield b"q" + b"db.*\0*a?a*\0READ\0abcd"
    yield b"o" + b"clickhouse://user:secret@host/db"


def target(data: bytes) -> None:
    kind, text = data[:1], data[1:].decode("utf-8", "replace")
    try:
        if kind == b"p":
            policy = Policy.parse(text)
            policy.decide(_EVENT, _REQUEST)
        elif kind == b"s":
            name, value = _NAMES[ord(text[:1] or "\0") % len(_NAMES)], text[1:]
            Settings.from_environ({"HOME": "/nowhere", name: value})
        elif kind == b"t":
            moment("--since", text, now=_NOW)
            duration("--grace", text)
            count("--limit", text)
        elif kind == b"m" and is_manifest(data[1:]):
            kept = orjson.loads(data[1:])
            assert not is_comparable(kept) or list(differences(kept, {})) is not None
        elif kind == b"w":
            _file().write_bytes(data[1:])
            read_witness([str(_file())])
        elif kind == b"q":
            first, second, third, fourth, *_ = (*text.split("\0"), "", "", "", "")
            like(first[:40], "audit." + "a" * 4000 + second)
            Query(actor=first, target=second, action=third, trace=fourth or None)
        elif kind == b"o" and "\0" not in text and "/" not in text.partition("://")[0]:
            open_source(text)
    except AuditError as error:
        refusal = str(error)
    else:
        return
    assert refusal
