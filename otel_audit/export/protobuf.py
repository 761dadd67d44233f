"""Fields of protobuf as OTLP's messages have them: lengths, strings, attributes.

Export stage, no I/O. Field numbers are those of opentelemetry/proto/common/v1.
"""

from __future__ import annotations

from typing import cast

ATTRIBUTE = b"\x32"  # LogRecord.attributes = 6


def varint(value: int) -> bytes:
    """A non-negative integer in protobuf's base 128."""
    if value < _KNOWN:
        return _VARINTS[value]
    if value < 0x20_0000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_KNOWN = 0x4000
"""One or two bytes, as nearly all lengths have; `varint` counts on it."""
_VARINTS = (
    *(bytes((value,)) for value in range(0x80)),
    *(bytes((value & 0x7F | 0x80, value >> 7)) for value in range(0x80, _KNOWN)),
)


def delimited(tag: bytes, data: bytes) -> bytes:
    """A field of wire type LEN."""
    return tag + varint(len(data)) + data


def attribute(name: str, value: object, tag: bytes = ATTRIBUTE) -> bytes:
    """`KeyValue{key, AnyValue}` as the field *tag*.

    Raises:
        TypeError: of a type that a record does not have.
    """
    if type(value) is str:
        return string_attribute(name, value, tag)
    if type(value) is int and value >= 0:
        return count_attribute(name, value, tag)
    return delimited(tag, delimited(b"\x0a", name.encode()) + delimited(b"\x12", _any_value(value)))


def string_attribute(name: str, text: str, tag: bytes = ATTRIBUTE) -> bytes:
    """`KeyValue{key, AnyValue{string_value}}`."""
    key, data = name.encode(), text.encode()
    size, length = len(data), len(key)
    total = length + size + 6
    if total < 0x80:  # every length is one byte
        return b"%b%c\x0a%c%b\x12%c\x0a%c%b" % (tag, total, length, key, size + 2, size, data)
    return delimited(tag, delimited(b"\x0a", key) + delimited(b"\x12", delimited(b"\x0a", data)))


def count_attribute(name: str, value: int, tag: bytes) -> bytes:
    """`KeyValue{key, AnyValue{int_value}}`, of one that is not negative."""
    key, data = name.encode(), varint(value)
    size, length = len(data), len(key)
    total = length + size + 5
    if total < 0x80:
        return b"%b%c\x0a%c%b\x12%c\x18%b" % (tag, total, length, key, size + 1, data)
    return delimited(tag, delimited(b"\x0a", key) + delimited(b"\x12", b"\x18" + data))


def _any_value(value: object) -> bytes:
    kind = type(value)
    if kind is str:
        return delimited(b"\x0a", cast("str", value).encode())
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if kind is int:
        return b"\x18" + varint(cast("int", value) & 0xFFFF_FFFF_FFFF_FFFF)
    if kind is list:
        values = [delimited(b"\x0a", _any_value(item)) for item in cast("list[object]", value)]
        return delimited(b"\x2a", b"".join(values))
    raise TypeError(f"a context value of type {kind.__name__}")
