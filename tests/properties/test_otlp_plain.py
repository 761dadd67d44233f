"""A request that is read by its bytes holds what parsing all of it finds there, or is left to that."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_audit.sources import otlp_plain
from otel_audit.sources.otlp_documents import Document
from otel_audit.sources.otlp_plain import read_plain_request
from otel_audit.sources.otlp_records import records_of
from tests.archives import Archive
from tests.otlp_json_files import any_value, log_record, request

Found = list[tuple[bytes, Mapping[str, object] | None]]


def in_full(line: bytes) -> Found | None:
    """None of what is no JSON."""
    try:
        return list(records_of(Document(orjson.loads(line), b"")))
    except orjson.JSONDecodeError:
        return None


def compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    archive = Archive()
    stream = archive.stream()
    stream.event(context={"url.path": '/é/"\\', "sizes": [1, 2], "flag": True, "none": [], "n": -7, "}],.": '},{"'})
    stream.events(2)
    stream.close()
    return stream.records


@pytest.fixture(scope="module")
def line(bodies: list[bytes]) -> bytes:
    """As the Collector writes it: two streams in one request, ids behind the attributes."""
    ids = {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331"}
    several = [request(log_record(body) | ids for body in some) for some in (bodies[:2], bodies[2:])]
    return compact({"resourceLogs": [one["resourceLogs"][0] for one in several]})


def test_a_request_as_the_collector_writes_it_is_read_by_its_bytes(line: bytes, bodies: list[bytes]) -> None:
    quick = read_plain_request(line)

    assert quick == in_full(line)
    assert quick is not None
    assert [body for body, _ in quick] == bodies


PIECES = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"0", b"-", b"\xff", b"\xed\xa0\x80", b"\x01",
    b'"body":{"stringValue":"{}"},', b'"attributes":[],', b'"logRecords":[', b'"logRecords":[0]', b'{"key":"',
    b'},{"key":"', b'}],"', b'"},"attributes":[{"key":"', b'"resourceLogs":[],', b'"scopeLogs":[],', b'\\"',
    b"\\u0022", b'{"a":1}', b"1e5", b'"key":7,', b'{"kvlistValue":{"values":[{"key":"a","value":{}}]}}',
    b'"traceId":"\\u00e9",', b"",
)  # fmt: skip


@settings(max_examples=600)
@given(seed=st.integers(0, 2**32))
def test_whatever_a_byte_is_both_ways_agree(line: bytes, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(line)
    for _ in range(chance.randint(1, 3)):
        if chance.random() < 0.5:
            start = chance.randrange(len(data))
            end = start + chance.choice((0, 0, 1, 2, 20))
        else:
            # Where it matters: at a place of structure
            start = data.find(chance.choice(PIECES[:12]), chance.randrange(len(data)))
            end = start + chance.randint(0, 2)
        data[max(0, start) : max(0, end)] = chance.choice(PIECES)

    quick = read_plain_request(bytes(data))

    assert quick is None or quick == in_full(bytes(data))


SCALARS = st.text(max_size=5) | st.integers(-(2**70), 2**70) | st.booleans() | st.none() | st.just("otel-audit/1")
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)
KEYS = st.sampled_from(
    [
        "key",
        "value",
        "stringValue",
        "intValue",
        "boolValue",
        "arrayValue",
        "values",
        "body",
        "attributes",
        "logRecords",
    ]
)
PAIRS = st.one_of(
    st.tuples(st.sampled_from(["a", "b", "audit.schema.version"]), SCALARS | st.lists(SCALARS, max_size=2)).map(
        lambda pair: {"key": pair[0], "value": any_value(pair[1])}
    ),
    st.dictionaries(KEYS, VALUES, max_size=2),
    VALUES,
)
RECORDS = st.fixed_dictionaries(
    {"body": st.fixed_dictionaries({"stringValue": st.sampled_from(['{"schema":"otel-audit/1"}', "x", 7])})},
    optional={
        "attributes": st.lists(PAIRS, max_size=3),
        "eventName": st.text(max_size=3),
        "severityNumber": st.integers(0, 10**20),
        "extra": VALUES,
    },
)
LISTS = st.lists(RECORDS, max_size=3)


@settings(max_examples=400)
@given(lists=st.lists(LISTS, max_size=3), beside=VALUES, is_ascii=st.booleans())
def test_whatever_a_request_says_both_ways_agree(lists: list[Any], beside: object, is_ascii: bool) -> None:
    document = {
        "resourceLogs": [{"scopeLogs": [{"logRecords": records}]} for records in lists],
        "logRecords": beside,
    }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=is_ascii).encode()

    quick = read_plain_request(text)

    assert quick is None or quick == in_full(text)


SUCCESS = b'{"key":"audit.outcome","value":{"stringValue":"success"}}'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"]}]}]}", b'],"log\\u0052ecords":[1]}]}]}'),
        (b"]}]}]}", b'],"logRecords": [1]}]}]}'),
        (b"]}]}]}", b'],"logRecords":7}]}]}'),
        (b"]}]}]}", b']}]}],"resourceLogs":[]}'),
        (b'{"resourceLogs":', b'{"resourceSpans":'),
        (b'"eventName":', b'"attributes":0,"eventName":'),
        (b'"eventName":', b'"body":0,"eventName":'),
        (b'"eventName":"', b'"eventName":"\x01'),
        (b'"eventName":"', b'"eventName":"\xff'),
        (b'"eventName":"', b'"eventName":"\\x'),
        (b'"eventName":"', b'"eventName":"\\u0041'),
        (b'"eventName":', b'"flags":01,"eventName":'),
        (b'"eventName":', b'"flags":9,"eventName":'),
        (SUCCESS, SUCCESS + b"," + SUCCESS),
        (SUCCESS, SUCCESS + b"," + SUCCESS.replace(b"success", b"failure")),
        (SUCCESS, SUCCESS[:-1] + b',"key":7}'),
        (SUCCESS, SUCCESS[:-1] + b',"key":"other"}'),
        (SUCCESS, SUCCESS[:-1] + b',"value":{}}'),
        (SUCCESS, SUCCESS[:-2] + b',"intValue":"1"}}'),
        (SUCCESS, b'{"key":"a","value":[{"b":1},' + SUCCESS + b'],"b":1}'),
        (SUCCESS, b'{"key":"a","value":{"kvlistValue":{"values":[' + SUCCESS + b"]}}}"),
        (b'"body":{"stringValue":"{', b'"body":{"stringValue":"\xff{'),
        (b'"body":{"stringValue":"{', b'"body":{"stringValue":"\x01{'),
        (b'"schema\\":', b'"schemes\\":'),
        (b"otel-audit/1", b"x"),
    ],
)
def test_what_is_said_in_another_way_is_read_as_in_full(line: bytes, old: bytes, new: bytes) -> None:
    for count in (1, -1):
        text = line.replace(old, new, count)
        assert text != line

        quick = read_plain_request(text)

        assert quick is None or quick == in_full(text)


def test_others_records_of_the_same_shape_are_not_ours(bodies: list[bytes]) -> None:
    other = {"body": {"stringValue": "GET /"}, "attributes": [{"key": "a", "value": {"intValue": "1"}}], "flags": 1}
    text = compact(request([log_record(bodies[0]), other]))

    quick = read_plain_request(text)

    assert quick == in_full(text)
    assert quick is not None
    assert [body for body, _ in quick] == bodies[:1]


def test_a_request_without_an_end_is_given_up() -> None:
    """What it lacks must not be looked for from its beginning again."""
    record = b'{"body":{"stringValue":""},"attributes":[{"key":"a","value":{}'

    assert read_plain_request(b"{}," + record + b'},"logRecords":[' + record + b"}") is None


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_an_attribute_nested_deeper_than_is_parsed_is_left_to_parsing(
    line: bytes, opening: bytes, closing: bytes
) -> None:
    """By itself it would be parsed; where it stands, it makes the request none."""
    for levels in (10, 1_008, *range(1_012, 1_024)):
        deep = opening * levels + b"0" + closing * levels
        text = line.replace(SUCCESS, b'{"key":"a","value":{"a":%b,"b":"%b"}}' % (deep, b"x" * 20_000), 1)

        quick = read_plain_request(text)

        assert quick is None or quick == in_full(text)


def test_what_is_remembered_of_hostile_requests_is_bounded(line: bytes) -> None:
    for number in range(6_000):
        for text in (b"x%d" % number, b"y" * 700 + b"%d" % number):
            read_plain_request(line.replace(b'"stringValue":"success"', b'"stringValue":"%b"' % text))

    assert len(otlp_plain.known) <= 4_096
    assert sum(map(len, otlp_plain.known)) < 1_000_000
