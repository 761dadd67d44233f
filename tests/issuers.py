"""Issuers and certificates for tests, good ones and any other kind."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
IssuerKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey


def seed(text: str) -> bytes:
    """32 bytes that are always the same for *text*."""
    return hashlib.sha256(text.encode()).digest()


def name(*, cn: str | Sequence[str] = (), o: str | Sequence[str] = ()) -> x509.Name:
    """A subject with any number of common names and organizations."""
    cns, os = ([value] if isinstance(value, str) else value for value in (cn, o))
    return x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, value) for value in os),
            *(x509.NameAttribute(NameOID.COMMON_NAME, value) for value in cns),
        ]
    )


def certificate(
    subject: x509.Name,
    key: Any,
    issuer: x509.Name,
    issuer_key: Any,
    *,
    ca: bool | None,
    path_length: int | None = None,
    cert_sign: bool | None = None,
    not_before: datetime = START - timedelta(hours=1),
    not_after: datetime = START + timedelta(hours=25),
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    hash_algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
) -> x509.Certificate:
    """Any certificate; *ca* None leaves basicConstraints out, *cert_sign* None takes keyUsage from *ca*."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(seed(subject.rfc4514_string())[:8], "big") or 1)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    can_sign = bool(ca) if cert_sign is None else cert_sign
    usage = x509.KeyUsage(
        digital_signature=not can_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=can_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = builder.add_extension(usage, critical=True)
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    algorithm = None if isinstance(issuer_key, Ed25519PrivateKey) else hash_algorithm or hashes.SHA256()
    return builder.sign(issuer_key, algorithm)


class Issuer:
    """An identity: a CA key and its certificate."""

    def __init__(self, label: str = "issuer", key: IssuerKey | None = None) -> None:
        self.key: IssuerKey = key or Ed25519PrivateKey.from_private_bytes(seed(f"issuer {label}"))
        self.name = name(cn=label)
        self.certificate = certificate(self.name, self.key, self.name, self.key, ca=True, path_length=0)

    def issue(self, stream: str, service: str, key: Any, **kwargs: Any) -> x509.Certificate:
        """A stream's certificate; keywords as of `certificate`, *subject* too."""
        subject = kwargs.pop("subject", name(cn=stream, o=service))
        kwargs.setdefault("ca", False)
        return certificate(subject, key, self.name, self.key, **kwargs)


def der64(certificates: Sequence[x509.Certificate]) -> list[str]:
    return [base64.b64encode(element.public_bytes(serialization.Encoding.DER)).decode() for element in certificates]


NEUTRAL = (1).to_bytes(32, "little")
"""The neutral element as an Ed25519 key: with it, S = 0 and R = A verify for every message."""


def of_small_order(issuer: Issuer, stream: str, service: str, key: Ed25519PrivateKey) -> x509.Certificate:
    """A stream's certificate, well signed, for `NEUTRAL` in place of *key*."""
    assert isinstance(issuer.key, Ed25519PrivateKey)
    good = issuer.issue(stream, service, key)
    signed = good.tbs_certificate_bytes.replace(key.public_key().public_bytes_raw(), NEUTRAL)
    der = good.public_bytes(serialization.Encoding.DER).replace(good.tbs_certificate_bytes, signed)
    return x509.load_der_x509_certificate(der.replace(good.signature, issuer.key.sign(signed)))


def write_intermediate(directory: Path, *, since: datetime, until: datetime) -> tuple[str, x509.Certificate]:
    """An issuer that a root has issued, valid for a time, as files: its `OTEL_AUDIT_IDENTITY`, and the root."""
    root, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    lasting: dict[str, Any] = {"ca": True, "not_before": since, "not_after": until}
    above = certificate(name(cn="root"), root, name(cn="root"), root, **lasting)
    issuer = certificate(name(cn="issuer"), key, name(cn="root"), root, **lasting)
    (directory / "issuer.crt").write_bytes(issuer.public_bytes(serialization.Encoding.PEM))
    (directory / "issuer.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return f"file:{directory / 'issuer.crt'},{directory / 'issuer.key'}", above
