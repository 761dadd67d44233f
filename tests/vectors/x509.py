"""Certificates of the vectors, DER by hand (X.690), so that any of them may break one rule and no other."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.vectors.openssl import Key

CN, O = "2.5.4.3", "2.5.4.10"  # noqa: E741 - the attribute's own name
KEY_CERT_SIGN = bytes([0x03, 0x02, 0x02, 0x04])
"""KeyUsage with bit 5 alone (RFC 5280 §4.2.1.3)."""
DIGITAL_SIGNATURE = bytes([0x03, 0x02, 0x07, 0x80])
EPOCH, FAR = datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)

Name = Sequence[tuple[str, str]]


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    if size < 128:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def oid(dotted: str) -> bytes:
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    body = bytearray([40 * first + second])
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        body.extend(reversed(groups))
    return tlv(0x06, bytes(body))


def name(attributes: Name) -> bytes:
    return tlv(0x30, *(tlv(0x31, tlv(0x30, oid(kind), tlv(0x0C, value.encode()))) for kind, value in attributes))


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    flag = tlv(0x01, b"\xff") if critical else b""
    return tlv(0x30, oid(dotted), flag, tlv(0x04, value))


def basic_constraints(*, ca: bool, path_length: int | None = None) -> bytes:
    flag = tlv(0x01, b"\xff") if ca else b""
    length = b"" if path_length is None else tlv(0x02, bytes([path_length]))
    return extension("2.5.29.19", tlv(0x30, flag, length), critical=True)


def key_usage(bits: bytes) -> bytes:
    return extension("2.5.29.15", bits, critical=True)


UNKNOWN = "1.3.6.1.4.1.57264.99.1"
"""An extension that nobody has defined."""

LEAF = (basic_constraints(ca=False), key_usage(DIGITAL_SIGNATURE))
AUTHORITY = (basic_constraints(ca=True), key_usage(KEY_CERT_SIGN))


@dataclass(frozen=True)
class Issuer:
    """Who signs a certificate: a name and a key."""

    subject: Name
    key: Key
    path: tuple[bytes, ...] = field(default=())
    """DER certificates from this issuer up to, and without, the anchor."""


def certificate(
    subject: Name,
    key: Key,
    issuer: Issuer,
    *,
    extensions: Sequence[bytes] = LEAF,
    valid: tuple[datetime, datetime] = (EPOCH, FAR),
    serial: int = 1,
) -> bytes:
    """One X.509 v3 certificate (RFC 5280 §4.1), DER."""
    tbs = tlv(
        0x30,
        tlv(0xA0, tlv(0x02, b"\x02")),
        tlv(0x02, serial.to_bytes(serial.bit_length() // 8 + 1, "big")),
        issuer.key.algorithm,
        name(issuer.subject),
        tlv(0x30, *(tlv(0x17, moment.strftime("%y%m%d%H%M%SZ").encode()) for moment in valid)),
        name(subject),
        key.spki,
        tlv(0xA3, tlv(0x30, *extensions)),
    )
    return tlv(0x30, tbs, issuer.key.algorithm, tlv(0x03, b"\x00", issuer.key.sign(tbs)))


def root(
    subject: str, key: Key, *, valid: tuple[datetime, datetime] = (EPOCH, FAR), ca: bool = True
) -> tuple[Issuer, bytes]:
    """A self-signed issuer and its certificate."""
    issuer = Issuer([(CN, subject)], key)
    return issuer, certificate(
        issuer.subject, key, issuer, extensions=AUTHORITY if ca else LEAF, valid=valid, serial=7
    )


def intermediate(
    subject: str,
    key: Key,
    issuer: Issuer,
    *,
    extensions: Sequence[bytes] = AUTHORITY,
    valid: tuple[datetime, datetime] = (EPOCH, FAR),
) -> Issuer:
    """An issuer under *issuer*, which brings its own certificate along."""
    dn = [(CN, subject)]
    own = certificate(dn, key, issuer, extensions=extensions, valid=valid, serial=8)
    return Issuer(dn, key, (own, *issuer.path))


def pem(der: bytes) -> str:
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])
