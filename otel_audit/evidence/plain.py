"""Unsigned events, judged by their bytes where they are as most are: at half the cost of parsing all of one.

The first step of verifying, and its hot one. Of the usual shape is a record whose members outside of `context`
have no escapes: all but the context is matched as it must stand, character by character, and what stands
before the context, which repeats, is remembered from a record that was judged in full. Any other is judged by
`canonical.decode` and `record.problem`, which alone say what a record is; a property holds the two ways
against each other.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from otel_audit.evidence.canonical import MAX_RECORD_BYTES, decode
from otel_audit.evidence.record import context_problem, problem
from otel_audit.evidence.rfc3339 import is_minute

_CONTEXT: Final = b',"context":'
_EVENT: Final = b',"event":"'
_TEXT = rb'[^"\\\x00-\x1f]++'
"""Of valid UTF-8, what RFC 8785 writes as it stands."""
_TIME = rb".{17}[0-5][0-9]\.[0-9]{9}Z"
"""Its first 17 characters are judged apart, as minutes repeat."""
# A repeated `.` is skipped, not looked at: what stands there is compared afterwards as a whole.
_TAIL = re.compile(
    rb',"event":"(?!audit\.)'
    + _TEXT
    + rb'","observed":"('
    + _TIME
    + rb')","outcome":"(?:success|failure|unknown)",'
    rb'"prev":"(.{64})","schema":"otel-audit/1","seq":(?!1,)([1-9][0-9]{0,14}),'
    rb'(?:"source":\{"id":"' + _TEXT + rb'","type":"(?:ipv4|ipv6|hostname)"\},)?+'
    rb'(?:"span_id":"(?!0{16})[0-9a-f]{16}",)?+"stream":"(.{32})",'
    rb'(?:"target":\{"id":"' + _TEXT + rb'","type":"' + _TEXT + rb'"\},)?+"time":"(' + _TIME + rb')"'
    rb'(?:,"trace_id":"(?!0{32})[0-9a-f]{32}")?+\}',
    re.DOTALL,
)
_match_tail = _TAIL.fullmatch
_STRICT = orjson.OPT_STRICT_INTEGER
_loads, _dumps = orjson.loads, orjson.dumps
_MAX_HEAD_BYTES = 1_024
_REMEMBERED = 4_096

heads: set[bytes] = set()
"""What stands before the context of records that were judged in full: `{"action":…,"actor":{…}`."""
_minutes: set[bytes] = set()


def read_plain(body: bytes, prev: bytes, stream: bytes) -> tuple[int, bytes] | None:
    """`seq` and `observed` of *body* where it is an unsigned event of *stream* that follows the hash *prev*.

    Else None: no record, or one that takes a closer look. *prev* and *stream* are hex digits.
    """
    start = body.find(_CONTEXT)
    head = body[:start]
    if head not in heads and not _judge_head(body, head):
        return _parsed(body, prev, stream)
    at = body.find(_EVENT, start)
    match = _match_tail(body, at)
    if match is None:
        return _parsed(body, prev, stream)
    text = body[start + 11 : at]
    try:
        if not body.isascii():
            body.decode()
        context = _loads(text)
        if _dumps(context, option=_STRICT) != text or context_problem(context) is not None:
            return None
    except (orjson.JSONDecodeError, TypeError, UnicodeDecodeError):
        return _parsed(body, prev, stream)
    observed, its_prev, seq, its_stream, time = match.groups()
    if (
        its_prev != prev
        or its_stream != stream
        or len(body) > MAX_RECORD_BYTES
        or (observed[:17] not in _minutes and not _is_new_minute(observed[:17]))
        or (time != observed and (time > observed or (time[:17] not in _minutes and not _is_new_minute(time[:17]))))
    ):
        return None
    return int(seq), observed


def _parsed(body: bytes, prev: bytes, stream: bytes) -> tuple[int, bytes] | None:
    """The same of a record of another shape."""
    members = decode(body)
    if (
        members is None
        or problem(members) is not None
        or "sig" in members
        or members.get("prev") != prev.decode("ascii")
        or members["stream"] != stream.decode("ascii")
        or members["event"].startswith("audit.")
    ):
        return None
    return members["seq"], members["observed"].encode("ascii")


def _is_new_minute(minute: bytes) -> bool:
    if not is_minute(minute.decode("latin-1")):
        return False
    if len(_minutes) >= _REMEMBERED:
        _minutes.clear()
    _minutes.add(minute)
    return True


def _judge_head(body: bytes, head: bytes) -> bool:
    """Judge the whole record, and remember its head where that is good and worth it."""
    if not head or len(head) > _MAX_HEAD_BYTES:
        return False
    members = decode(body)
    if members is None or problem(members) is not None:
        return False
    # Not the beginning of something else: up to here stand these two members, whole.
    if orjson.dumps({"action": members["action"], "actor": members["actor"]})[:-1] != head:
        return False
    if len(heads) >= _REMEMBERED:
        heads.clear()
    heads.add(head)
    return True
