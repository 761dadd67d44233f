"""Whether a stream's certificate is good: the path of "Keys" in the evidence format, word by word.

Not a web PKI verifier: those ask for names, purposes and validities that this format does not have, and
leave unchecked some that it does. What a record brings is never trusted; anchors are given by the reader
of the log and count as name and key alone.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID, SignatureAlgorithmOID

from otel_audit.evidence.rfc3339 import from_datetime

MAX_ELEMENTS = 8
_MIN_RSA_BITS = 2048
_UNDERSTOOD = frozenset((ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE))
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_RSA_OIDS = frozenset(
    (
        SignatureAlgorithmOID.RSA_WITH_SHA1,
        SignatureAlgorithmOID.RSA_WITH_SHA256,
        SignatureAlgorithmOID.RSA_WITH_SHA384,
        SignatureAlgorithmOID.RSA_WITH_SHA512,
        SignatureAlgorithmOID.RSASSA_PSS,
    )
)


@dataclass(frozen=True, slots=True)
class Path:
    """What checking a stream's certificates has shown."""

    key: Ed25519PublicKey | None
    """The stream's own key, also when the path is not good; None when there is none to be read."""
    anchor: x509.Certificate | None
    """The trusted certificate at its end, None when it reaches none."""
    fault: str | None
    """Which rule other than reaching an anchor is broken."""
    not_before: str
    not_after: str
    """Validity of the stream's own certificate, as times of records; the widest when it cannot be read."""

    @property
    def is_good(self) -> bool:
        """Whether what this stream says may name, recover or retire others."""
        return self.anchor is not None and self.fault is None


class Anchor(NamedTuple):
    """A trusted certificate, as what it counts for."""

    name: bytes
    """Subject, DER."""
    key: bytes
    """SubjectPublicKeyInfo, DER; empty where the key is of a kind that cannot be read, which matches none."""
    certificate: x509.Certificate


def anchors(trust: Sequence[x509.Certificate]) -> tuple[Anchor, ...]:
    """Take from each trusted certificate the name and the key."""
    found: list[Anchor] = []
    for certificate in trust:
        try:
            key = _key_bytes(certificate)
        except (ValueError, UnsupportedAlgorithm):
            key = b""
        found.append(Anchor(_name(certificate.subject), key, certificate))
    return tuple(found)


_WIDEST = ("0000-01-01T00:00:00.000000000Z", "9999-12-31T23:59:59.999999999Z")


class _Fault(Exception):  # noqa: N818 - a state of the data, not a fault of ours
    """A rule is broken; the message says which."""


def check_path(elements: Sequence[str], *, stream: str, service: str, opened: str, trust: Sequence[Anchor]) -> Path:
    """Check the path whose *elements* are base64 DER, the stream's own certificate first.

    *opened* is the open's `observed`, at which every element but the anchor must be valid.
    """
    certificates: list[x509.Certificate] = []
    fault: str | None = None
    anchor: x509.Certificate | None = None
    for element in elements:
        try:
            certificate = x509.load_der_x509_certificate(base64.b64decode(element, validate=True))
            name, public_key = _name(certificate.subject), _key_bytes(certificate)
        except Exception:  # noqa: BLE001 - see below
            fault = "an element is not a certificate that can be read"
            break
        certificates.append(certificate)
        anchor = next((a.certificate for a in trust if a.name == name and a.key == public_key), None)
        if anchor is not None:
            break
    if not certificates:
        return Path(None, None, fault or "there is no certificate", *_WIDEST)
    ends_in_anchor = anchor is not None
    if anchor is None and fault is None:
        anchor = _issuing_anchor(certificates[-1], trust)
    leaf = certificates[0]
    key: Ed25519PublicKey | None = None
    not_before, not_after = _WIDEST
    try:
        key = _leaf_key(leaf, stream, service)
        not_before, not_after = _validity(leaf)
        if fault is None:
            below_anchor = certificates[:-1] if ends_in_anchor else certificates
            _check_elements(below_anchor, opened)
            _check_count(len(certificates))
            issuers = certificates[1:] if ends_in_anchor or anchor is None else [*certificates[1:], anchor]
            for child, issuer in zip(certificates, issuers, strict=False):
                # That the anchor signed the last one is how it was found: a signature is the dearest step here
                _check_issued(child, issuer, is_signed=not ends_in_anchor and issuer is anchor)
    except _Fault as broken:
        fault = fault or str(broken)
        key = key or _ed25519(leaf)
    except Exception:  # noqa: BLE001 - cryptography 50 parses lazily, and raises what it likes for hostile
        # bytes, KeyError and InvalidVersion among it: whatever it is, a field of a certificate is unreadable.
        fault = fault or "an element has a field that cannot be read"
        key = key or _ed25519(leaf)
    return Path(key, anchor, fault, not_before, not_after)


def _check_count(elements: int) -> None:
    if elements > MAX_ELEMENTS:
        raise _Fault(f"{elements} elements, of at most {MAX_ELEMENTS}")


def _leaf_key(leaf: x509.Certificate, stream: str, service: str) -> Ed25519PublicKey:
    key = _ed25519(leaf)
    if key is None:
        raise _Fault("the stream's key is not Ed25519")
    if [name.value for name in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] != [stream]:
        raise _Fault("the common name is not, or not only, the stream's id")
    if [name.value for name in leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] != [service]:
        raise _Fault("the organization is not, or not only, service.name")
    return key


def _ed25519(certificate: x509.Certificate) -> Ed25519PublicKey | None:
    try:
        key = certificate.public_key()
    except Exception:  # noqa: BLE001 - as in check_path
        return None
    return key if isinstance(key, Ed25519PublicKey) else None


def _validity(certificate: x509.Certificate) -> tuple[str, str]:
    return from_datetime(certificate.not_valid_before_utc), from_datetime(certificate.not_valid_after_utc)


def _check_elements(elements: Sequence[x509.Certificate], opened: str) -> None:
    """Validity, extensions, basicConstraints, keyUsage and path length of what is not the anchor."""
    issuers_below = 0
    for at, element in enumerate(elements):
        not_before, not_after = _validity(element)
        if not not_before <= opened <= not_after:
            raise _Fault("an element was not valid when the stream opened")
        constraints: x509.BasicConstraints | None = None
        signs_certificates = False
        for extension in element.extensions:
            if extension.critical and extension.oid not in _UNDERSTOOD:
                raise _Fault(f"a critical extension that is not known: {extension.oid.dotted_string}")
            if isinstance(extension.value, x509.BasicConstraints):
                constraints = extension.value
            elif isinstance(extension.value, x509.KeyUsage):
                signs_certificates = extension.value.key_cert_sign
        if constraints is None or constraints.ca != (at > 0):
            raise _Fault("basicConstraints: expected CA:FALSE for the stream, CA:TRUE for its issuers")
        if at == 0:
            continue
        if not signs_certificates:
            raise _Fault("an issuer's keyUsage is without keyCertSign")
        if constraints.path_length is not None and issuers_below > constraints.path_length:
            raise _Fault("the path is longer than an issuer allows")
        # RFC 5280 §4.2.1.9: self-issued certificates do not count.
        issuers_below += _name(element.subject) != _name(element.issuer)


def _check_issued(child: x509.Certificate, issuer: x509.Certificate, *, is_signed: bool) -> None:
    if _name(child.issuer) != _name(issuer.subject):
        raise _Fault("an element was not issued in the name of the next")
    weakness = _weakness(child, issuer.public_key())
    if weakness is not None:
        raise _Fault(weakness)
    if not is_signed and not _is_signed_by(child, issuer.public_key()):
        raise _Fault("an element was not signed by the next")


def _issuing_anchor(last: x509.Certificate, trust: Sequence[Anchor]) -> x509.Certificate | None:
    """Return the anchor that issued *last*, strong enough or not: weakness is another rule's business."""
    try:
        issuer = _name(last.issuer)
    except Exception:  # noqa: BLE001 - as in check_path
        return None
    for anchor in trust:
        if anchor.name == issuer and anchor.key and _is_signed_by(last, anchor.certificate.public_key()):
            return anchor.certificate
    return None


def _weakness(child: x509.Certificate, key: CertificatePublicKeyTypes) -> str | None:
    """Say why *key*, or its use to sign *child*, is not strong enough."""
    if isinstance(key, Ed25519PublicKey):
        return None
    if isinstance(key, EllipticCurvePublicKey):
        if not isinstance(key.curve, SECP256R1 | SECP384R1):
            return "an issuer's curve is neither P-256 nor P-384"
    elif not isinstance(key, RSAPublicKey):
        return "an issuer's key is neither Ed25519, ECDSA nor RSA"
    elif key.key_size < _MIN_RSA_BITS:
        return f"an issuer's RSA key has less than {_MIN_RSA_BITS} bits"
    if not isinstance(child.signature_hash_algorithm, _HASHES):
        return "a certificate is signed with a hash weaker than SHA-256"
    return None


def _is_signed_by(child: x509.Certificate, key: CertificatePublicKeyTypes) -> bool:
    signature, signed = child.signature, child.tbs_certificate_bytes
    # A signature is whole octets: a BIT STRING with unused bits is refused by openssl and passed over by
    # cryptography 50, so that two verifiers would differ.
    if not child.public_bytes(Encoding.DER).endswith(b"\0" + signature):
        return False
    try:
        algorithm = child.signature_hash_algorithm
        if isinstance(key, Ed25519PublicKey):
            if child.signature_algorithm_oid != SignatureAlgorithmOID.ED25519:
                return False
            key.verify(signature, signed)
        elif isinstance(key, EllipticCurvePublicKey):
            parameters = child.signature_algorithm_parameters
            if not isinstance(parameters, ECDSA):
                return False
            key.verify(signature, signed, parameters)
        elif isinstance(key, RSAPublicKey):
            scheme = child.signature_algorithm_parameters
            if (
                child.signature_algorithm_oid not in _RSA_OIDS
                or algorithm is None
                or not isinstance(scheme, padding.PKCS1v15 | padding.PSS)
            ):
                return False
            key.verify(signature, signed, scheme, algorithm)
        else:
            return False
    except InvalidSignature:
        return False
    except Exception:  # noqa: BLE001 - as in check_path
        return False
    return True


def _name(name: x509.Name) -> bytes:
    return name.public_bytes()


def _key_bytes(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
