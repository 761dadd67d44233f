"""Canonical bytes: what is refused although it parses."""

from __future__ import annotations

import pytest

from otel_audit.evidence.canonical import MAX_RECORD_BYTES, decode, encode, record_hash


def test_members_are_sorted_and_written_tightly() -> None:
    assert encode({"b": [True, 1], "a": {"z": "ü/\x1f\n", "A": ""}}) == (
        '{"a":{"A":"","z":"ü/\\u001f\\n"},"b":[true,1]}'.encode()
    )


def test_an_integer_beyond_53_bits_is_an_error() -> None:
    assert encode({"n": 2**53 - 1}) == b'{"n":9007199254740991}'
    with pytest.raises(TypeError):
        encode({"n": 2**53})


@pytest.mark.parametrize(
    "body",
    [
        b'{"b":1,"a":1}',
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1} ',
        b'{"a":1}\r',
        b'{"a":1}\n',
        b'{"a":1e0}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":9007199254740992}',
        b'{"a":18446744073709551616}',
        b'{"a":NaN}',
        b'{"a":"\\/"}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\u001F"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b"[]",
        b'"a"',
        b"",
        b"{",
        b'{"a":1}{"a":1}',
        b"[" * 60_000,
        b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}",
        b'{"a":"' + b"x" * MAX_RECORD_BYTES + b'"}',
    ],
)
def test_any_other_text_of_an_object_is_refused(body: bytes) -> None:
    assert decode(body) is None


def test_a_text_of_exactly_the_limit_is_read() -> None:
    body = b'{"a":"' + b"x" * (MAX_RECORD_BYTES - 8) + b'"}'
    assert len(body) == MAX_RECORD_BYTES
    assert decode(body) is not None


def test_record_hash_is_what_sha256sum_prints() -> None:
    """`printf %s '{"a":1}' | sha256sum`."""
    assert record_hash(b'{"a":1}') == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
