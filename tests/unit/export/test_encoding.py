"""The encoder against the classes generated from opentelemetry-proto: the same bytes for every record."""

from __future__ import annotations

import base64
from typing import Any, cast

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from otel_audit.evidence.canonical import encode
from otel_audit.evidence.rfc3339 import unix_nanos
from otel_audit.export.encoding import Encoder, NotARecord, resource_head, resource_logs
from otel_audit.export.protobuf import varint
from otel_audit.verify.index import compare, expected_attributes

Members = dict[str, Any]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
ID = st.text("0123456789abcdef", min_size=32, max_size=32)
NAME = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
INTEGER = st.integers(-(2**53) + 1, 2**53 - 1)
SCALAR = st.one_of(st.booleans(), INTEGER, st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
VALUE = st.one_of(SCALAR, st.lists(st.booleans()), st.lists(INTEGER), st.lists(TEXT, max_size=4))
MOMENT = st.sampled_from(["01-01T00:00:00", "02-28T23:59:59", "11-23T15:04:05"])
TIME = st.tuples(st.integers(1968, 2999), MOMENT, st.integers(0, 999_999_999)).map(
    lambda parts: f"{parts[0]:04d}-{parts[1]}.{parts[2]:09d}Z"
)
CONTEXT_NAMES = st.one_of(
    NAME,
    st.sampled_from(
        ["event.name", "audit.policy.text", "audit.certificate", "audit.actor.name", "audit.seal.size",
         "audit.record.id", "audit.sequence.end", "audit.integrity.canonicalization", "audit.integrity.value"]
    ),
)  # fmt: skip
OBJECT = st.fixed_dictionaries({"id": TEXT, "type": TEXT})
ACTOR = st.fixed_dictionaries(
    {"id": TEXT, "type": TEXT}, optional={"auth": TEXT, "name": TEXT, "on_behalf_of": OBJECT}
)
RECORD = st.fixed_dictionaries(
    {
        "schema": st.just("otel-audit/1"),
        "stream": ID,
        "seq": st.integers(1, 2**53 - 1),
        "time": TIME,
        "observed": TIME,
        "event": st.one_of(TEXT, st.just("audit.stream.close")),
        "actor": ACTOR,
        "action": TEXT,
        "outcome": st.sampled_from(["success", "failure", "unknown"]),
    },
    optional={
        "prev": st.text("0123456789abcdef", min_size=64, max_size=64),
        "target": OBJECT,
        "source": OBJECT,
        "trace_id": ID,
        "span_id": st.text("0123456789abcdef", min_size=16, max_size=16),
        "context": st.dictionaries(CONTEXT_NAMES, VALUE, max_size=8),
        "sig": st.binary(min_size=64, max_size=64).map(lambda b: base64.urlsafe_b64encode(b).decode().rstrip("=")),
    },
)


def any_value(value: object) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in cast("list[object]", value)]))
    assert isinstance(value, str)
    return AnyValue(string_value=value)


def official(body: bytes, m: Members, attributes: list[str], given: dict[str, object]) -> LogRecord:
    """The record by the official classes, with *attributes* of *given* in that order."""
    return LogRecord(
        time_unix_nano=min(max(0, unix_nanos(m["time"])), 2**64 - 1),
        observed_time_unix_nano=min(max(0, unix_nanos(m["observed"])), 2**64 - 1),
        event_name=m["event"],
        body=AnyValue(string_value=body.decode()),
        trace_id=bytes.fromhex(m.get("trace_id", "")),
        span_id=bytes.fromhex(m.get("span_id", "")),
        attributes=[KeyValue(key=name, value=any_value(given[name])) for name in attributes],
    )


NOON = b"2026-01-01T12:00:00.000000000Z"
SHARED = Encoder()
"""One for all examples, so that what it remembers is met by other records."""


@settings(deadline=None, max_examples=60)
@given(RECORD)
def test_a_record_has_the_bytes_that_the_official_classes_give_it(m: Members) -> None:
    body = encode(m)
    made = SHARED.log_record(body, m)

    read = ScopeLogs.FromString(made)
    names = [attribute.key for attribute in read.log_records[0].attributes]
    expected = expected_attributes(m)
    assert sorted(names) == sorted(expected)
    scope_logs = ScopeLogs(log_records=[official(body, m, names, expected)])
    assert made == scope_logs.SerializeToString(deterministic=True)


@settings(deadline=None, max_examples=60)
@given(RECORD)
def test_the_verifier_agrees_with_every_attribute(m: Members) -> None:
    (record,) = ScopeLogs.FromString(SHARED.log_record(encode(m), m)).log_records
    attributes = {attribute.key: plain(attribute.value) for attribute in record.attributes}

    if "audit.integrity.canonicalization" not in m.get("context", {}):
        assert list(compare(m, attributes)) == []


def plain(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    assert kind is not None
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, kind)


@settings(deadline=None, max_examples=60)
@given(RECORD)
def test_core_leaves_the_context_to_the_body(m: Members) -> None:
    (record,) = ScopeLogs.FromString(Encoder("core").log_record(encode(m), m)).log_records
    names = {attribute.key for attribute in record.attributes}

    assert names == set(expected_attributes({name: m[name] for name in m if name != "context"}))


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(NAME, VALUE, max_size=4), st.lists(RECORD, max_size=3))
def test_a_request_has_the_bytes_that_the_official_classes_give_it(
    resource: dict[str, object], records: list[Members]
) -> None:
    log_records = [SHARED.log_record(encode(m), m) for m in records]
    made = resource_logs(resource_head(resource, "otel-audit", "1.2.3"), log_records)

    request = ExportLogsServiceRequest(
        resource_logs=[
            ResourceLogs(
                resource=Resource(
                    attributes=[KeyValue(key=name, value=any_value(value)) for name, value in resource.items()]
                ),
                scope_logs=[
                    ScopeLogs(
                        scope=InstrumentationScope(name="otel-audit", version="1.2.3"),
                        log_records=[ScopeLogs.FromString(one).log_records[0] for one in log_records],
                    )
                ],
            )
        ]
    )
    assert made == request.SerializeToString(deterministic=True)


def record(seq: int = 1, **context: object) -> Members:
    return {
        "schema": "otel-audit/1",
        "stream": "ab" * 16,
        "seq": seq,
        "time": NOON.decode(),
        "observed": NOON.decode(),
        "event": "item.read",
        "actor": {"id": "alice", "type": "user"},
        "action": "READ",
        "outcome": "success",
        "context": context,
    }


def attributes_of(encoder: Encoder, m: Members) -> dict[str, object]:
    (made,) = ScopeLogs.FromString(encoder.log_record(encode(m), m)).log_records
    return {attribute.key: plain(attribute.value) for attribute in made.attributes}


def test_what_is_remembered_of_a_number_is_not_taken_for_a_boolean_or_a_fraction() -> None:
    """To a dictionary 1, True and 1.0 are the same key."""
    encoder = Encoder()

    assert attributes_of(encoder, record(flag=1))["flag"] == 1
    assert attributes_of(encoder, record(flag=True))["flag"] is True
    assert attributes_of(encoder, record(flag=1))["flag"] is not True
    with pytest.raises(NotARecord):
        encoder.log_record(b"{}", record(flag=1.0))


def test_an_attribute_of_more_values_than_are_kept_is_right_and_takes_no_more_room() -> None:
    """Of paths and ids every record brings a new one; what repeats beside them stays known."""
    encoder = Encoder()
    paths = [f"/customers/{number}" for number in (*range(600), *range(600))]

    made = [attributes_of(encoder, record(path=path, kind="access")) for path in paths]

    assert [one["path"] for one in made] == paths
    assert {one["kind"] for one in made} == {"access"}
    assert len(encoder._cache) < 300  # pyright: ignore[reportPrivateUsage] - its size is what is promised


def test_numbers_of_one_stream_are_right_wherever_their_length_changes() -> None:
    encoder = Encoder()
    steps = [10**digits for digits in range(1, 7)] + [1 << 7 * size for size in range(1, 5)]

    for seq in sorted(seq for step in steps for seq in (step - 1, step, step + 1)):
        made = attributes_of(encoder, record(seq))
        assert (made["audit.sequence.number"], made["audit.record.id"]) == (seq, f"{'ab' * 16}-{seq}")


@given(st.integers(0, 2**64 - 1))
def test_integers_of_every_length_are_written_as_protobuf_does(value: int) -> None:
    assert b"\x08" + varint(value) == (b"\x08\x00" if value == 0 else LogRecordFlagless(value))


def LogRecordFlagless(value: int) -> bytes:  # noqa: N802 - a small message with one uint64
    from google.protobuf.wrappers_pb2 import UInt64Value

    return UInt64Value(value=value).SerializeToString()


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'"text"',
        b"7",
        b'{"actor":7,"action":"A","event":"e","observed":"x","outcome":"o","schema":"s","seq":1,"stream":"s","time":"t"}',
        b'{"actor":{},"action":1.5,"event":"e","observed":"' + NOON + b'","outcome":"o","schema":"s","seq":1,'
        b'"stream":"s","time":"' + NOON + b'"}',
    ],
)
def test_what_is_no_record_is_refused_and_never_crashes(body: bytes) -> None:
    with pytest.raises(NotARecord):
        Encoder().log_record(body, orjson.loads(body))
