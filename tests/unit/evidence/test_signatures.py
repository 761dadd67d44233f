"""Ed25519 as strict as the format asks, against RFC 8032's vector and the classic forgeries."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from otel_audit.evidence.signatures import SIGNING_PREFIX, decode_signature, is_sound_key, sign, verify

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
ORDER = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_a_signature_covers_the_domain_prefix_and_the_record() -> None:
    sig = sign(KEY, b'{"a":1}')

    raw = base64.urlsafe_b64decode(sig + "==")
    KEY.public_key().verify(raw, b'otel-audit/1\n{"a":1}')
    assert len(sig) == 86
    assert verify(KEY.public_key(), b'{"a":1}', sig)
    assert not verify(KEY.public_key(), b'{"a":2}', sig)


def test_the_key_of_rfc_8032_is_sound_and_its_signature_is_the_published_one() -> None:
    """RFC 8032 §7.1, TEST 1: the empty message."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = Ed25519PrivateKey.from_private_bytes(seed)

    assert is_sound_key(key.public_key())
    assert key.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd"
        "25bf5f0595bbe24655141438e7a100b"
    )


def test_spare_bits_padding_and_the_other_alphabet_are_second_encodings() -> None:
    sig = encoded(b"\xfb\xef" * 32)
    last = "AQgw".index(sig[-1])
    assert decode_signature(sig) == b"\xfb\xef" * 32
    assert decode_signature(sig[:-1] + "BRhx"[last]) is None
    assert decode_signature(sig + "==") is None
    assert decode_signature(sig.replace("-", "+").replace("_", "/")) is None
    assert decode_signature(sig[:-1]) is None
    assert decode_signature(sig[:40] + "\n" + sig[41:]) is None
    assert decode_signature(sig[:40] + "é" + sig[41:]) is None


def test_the_malleable_twin_of_a_signature_is_refused() -> None:
    """S + L satisfies the equation too; RFC 8032 §5.1.7 asks for S < L."""
    raw = base64.urlsafe_b64decode(sign(KEY, b"{}") + "==")
    twin = int.from_bytes(raw[32:], "little") + ORDER
    assert verify(KEY.public_key(), b"{}", encoded(raw))
    assert not verify(KEY.public_key(), b"{}", encoded(raw[:32] + twin.to_bytes(32, "little")))


@pytest.mark.parametrize("sign_bit", [0, 1])
@pytest.mark.parametrize(
    "y",
    [
        0,
        1,
        P - 1,
        P,
        P + 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    ],
)
def test_keys_of_small_order_and_in_other_encodings_are_unsound(y: int, sign_bit: int) -> None:
    raw = (y | sign_bit << 255).to_bytes(32, "little")
    assert not is_sound_key(Ed25519PublicKey.from_public_bytes(raw))


@pytest.mark.parametrize(
    "y",
    [
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    ],
)
def test_the_listed_points_of_order_eight_are_on_the_curve_and_of_order_eight(y: int) -> None:
    """Checked from the curve's equation: doubling y three times reaches the identity, y = 1."""
    d = -121665 * pow(121666, -1, P) % P
    x_squared = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
    assert pow(x_squared, (P - 1) // 2, P) == 1
    for _ in range(3):
        # Doubling on -x² + y² = 1 + d x² y²: y' = (y² + x²) / (1 - d x² y²); x'² from the equation.
        y = (y * y + x_squared) * pow(1 - d * x_squared * y * y, -1, P) % P
        x_squared = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
    assert y == 1


def test_a_signature_over_the_bare_record_is_none() -> None:
    assert SIGNING_PREFIX == b"otel-audit/1\n"
    assert not verify(KEY.public_key(), b"{}", encoded(KEY.sign(b"{}")))
