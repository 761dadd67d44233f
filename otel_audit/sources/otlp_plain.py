"""Export requests as a Collector writes them, read by their bytes: at half the cost of parsing all of one.

The hot step of reading OTLP-JSON. Of the usual shape is a log record whose body is one string, its attributes
behind it, all else a number or a string without escapes. Body and attributes are parsed, each by itself and the
latter only once, for most repeat; what stands around them is matched as it must stand, and what stands around the
records is parsed with a number in their place. Any other request is left to `otlp_records`, which alone says what
is there; a property holds the two ways against each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import orjson

from otel_audit.evidence.canonical import MAX_RECORD_BYTES
from otel_audit.evidence.projection import MEMBERS, RECORD_ID
from otel_audit.sources.otlp_values import DENSE_BYTES, is_dense, is_ours, log_records_of, value_of
from otel_audit.sources.source import Attributes

_RECORDS: Final = b'"logRecords":['
_AFTER_BODY: Final = b'"},"attributes":[{"key":"'
_BETWEEN: Final = b'},{"key":"'
_END: Final = b'}],"'
# An unescaped quote stands in no JSON string: what begins with one is where it seems to be, or the request is none.
# Whatever these find is parsed before it is believed.

_SIMPLE = rb'"(?!body"|attributes")[A-Za-z]++":(?:"[ !#-\[\]-~]*+"|0|[1-9][0-9]{0,17})'
_match_head = re.compile(rb"\{(?:" + _SIMPLE + rb',)*+"body":\{"stringValue":"').match
_match_tail = re.compile(rb"(?:," + _SIMPLE + rb")*+\}([,\]])").match
_loads = orjson.loads

_REMEMBERED = 4_096
_REMEMBERED_BYTES = 512
_LONG_BYTES = 1_000
_MANY = 500
"""Objects and arrays in new attributes of one record; orjson parses 1,024 within each other."""
_UNLIKE = frozenset((RECORD_ID, *(name for name, path in MEMBERS.items() if path in {("seq",), ("prev",)})))
"""Of these no two are alike."""

known: dict[bytes, tuple[str, object]] = {}
"""Name and value of attributes that were parsed, by what follows the quote of their name."""


def read_plain_request(line: bytes) -> list[tuple[bytes, Attributes]] | None:
    """Body and attributes of our log records in the request *line*; None where it takes a closer look."""
    records: list[tuple[bytes, Attributes]] = []
    around: list[bytes] = []
    end = lists = 0
    try:
        while (at := line.find(_RECORDS, end)) >= 0:
            at += len(_RECORDS)
            around += line[end:at], b"%d" % lists
            end = _read_records(line, at, records)
            lists += 1
        around.append(line[end:])
        rest = b"".join(around)
        # No other member is spelt so, and each of these is where records are read from
        if not lists or b"\\" in rest or len(rest) > DENSE_BYTES or rest.count(b'"logRecords"') != lists:
            return None
        found = list(log_records_of(_loads(rest)))
    except (_Unusual, orjson.JSONDecodeError):
        return None
    return records if found == [[number] for number in range(lists)] else None


class _Unusual(Exception):  # noqa: N818 - a state of the data, not a fault
    """Of another shape than the usual one."""


def _read_records(line: bytes, at: int, records: list[tuple[bytes, Attributes]]) -> int:
    """Read log records up to the end of their list; returns where its bracket is."""
    find, recall = line.find, known.get
    while True:
        head = _match_head(line, at)
        if head is None:
            raise _Unusual
        start = head.end()
        end = find(_AFTER_BODY, start)
        body: str = _loads(line[start - 1 : end + 1])
        start = end + len(_AFTER_BODY)
        end = find(_END, start)
        tail = _match_tail(line, end + 2)
        if tail is None or end < 0:
            raise _Unusual
        texts = line[start:end].split(_BETWEEN)
        pairs = [*map(recall, texts)]
        if None in pairs:
            pairs += _parse([text for text, pair in zip(texts, pairs, strict=True) if pair is None])
        attributes: dict[str, object] = dict(filter(None, pairs))
        if len(attributes) != len(texts):
            raise _Unusual  # a name stands there twice
        if is_ours(body, attributes):
            records.append((body.encode()[: MAX_RECORD_BYTES + 1], attributes))
        at = tail.end()
        if tail[1] == b"]":
            return at - 1


def _parse(texts: list[bytes]) -> Iterator[tuple[str, object]]:
    """Yield the attributes *texts*, which are new; parsed together, for it is the calls that cost."""
    joined = b'[{"key":"%b}]' % _BETWEEN.join(texts)
    if (len(joined) > _LONG_BYTES or joined.count(b"[") > 1) and _is_deep_or_dense(joined):
        raise _Unusual
    pairs = _loads(joined)
    if len(pairs) != len(texts):
        raise _Unusual  # one text ends in the midst of a value, another goes on with it
    for text, pair in zip(texts, pairs, strict=True):
        name, value = pair["key"], pair.get("value")
        if name.__class__ is not str:
            raise _Unusual
        if value.__class__ is dict and len(value) == 1 and value.get("stringValue").__class__ is str:
            made = name, value["stringValue"]
        else:
            made = name, value_of(value)
        yield made
        if name not in _UNLIKE and len(text) <= _REMEMBERED_BYTES:
            if len(known) >= _REMEMBERED:
                known.clear()
            known[text] = made


def _is_deep_or_dense(text: bytes) -> bool:
    """Whether it might be refused where it stands: nested too deep, or with more values than are parsed."""
    return text.count(b"{") + text.count(b"[") > _MANY or is_dense(text)
