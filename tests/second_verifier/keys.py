"""The page's "Signature" and "Keys"; words in quotes are the page's own."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PSS, PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate
from cryptography.x509.oid import ExtensionOID, NameOID

from tests.second_verifier.records import Json, instant, jcs, moment

FIELD = 2**255 - 19
EIGHTH = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
WEAK_KEYS = {0, 1, FIELD - 1, EIGHTH, FIELD - EIGHTH}
"""The y of every point of small order."""


def verifies(key: bytes, record: Json) -> bool:
    """RFC 8032 with "S < L", R compared as bytes (OpenSSL does both), and a key canonical and strong."""
    sig, y = record.get("sig", ""), int.from_bytes(key, "little") % 2**255
    raw = base64.urlsafe_b64decode(sig + "==")
    if not key or base64.urlsafe_b64encode(raw).decode() != sig + "==" or y >= FIELD or y in WEAK_KEYS:
        return False
    signed = b"otel-audit/1\n" + jcs({name: value for name, value in record.items() if name != "sig"})
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key).verify(raw, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def issued(child: Certificate, parent: Certificate) -> bool:
    """Names equal, signature good."""
    key, algorithm = parent.public_key(), child.signature_hash_algorithm
    signed, padding = (child.signature, child.tbs_certificate_bytes), child.signature_algorithm_parameters
    try:
        if isinstance(key, ed25519.Ed25519PublicKey) and algorithm is None:
            key.verify(*signed)
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(padding, ec.ECDSA):
            key.verify(*signed, padding)
        elif isinstance(key, rsa.RSAPublicKey) and isinstance(padding, (PKCS1v15, PSS)) and algorithm:
            key.verify(*signed, padding, algorithm)
        else:
            return False
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return child.issuer == parent.subject


def is_strong(child: Certificate, parent: Certificate) -> bool:
    """ "Ed25519, ECDSA P-256 or P-384, or RSA >= 2048 with SHA-256 or better"."""
    key, digest = parent.public_key(), child.signature_hash_algorithm
    if isinstance(key, ec.EllipticCurvePublicKey):
        sound = key.curve.name in {"secp256r1", "secp384r1"}
    else:
        sound = not isinstance(key, rsa.RSAPublicKey) or key.key_size >= 2048
    return sound and (digest is None or digest.digest_size >= 32)


def may_issue(one: Certificate, below: Sequence[Certificate]) -> bool:
    """CA:TRUE, keyCertSign, path length respected (RFC 5280 §4.2.1.9: self-issued ones do not count)."""
    basic = one.extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = one.extensions.get_extension_for_class(x509.KeyUsage).value
    depth = sum(each.issuer != each.subject for each in below[1:])
    return basic.ca and usage.key_cert_sign and (basic.path_length is None or depth <= basic.path_length)


def is_right(path: Sequence[Certificate], anchored: bool, opening: Json) -> bool:
    """The rules of "Keys" but trust; of an *anchored* path the last is a trusted certificate, and unread."""
    own, names, read = path[0], path[0].subject, path[: len(path) - anchored]
    known = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}
    wanted = (opening["stream"], opening["context"]["service.name"])
    subject = [
        [one.value for one in names.get_attributes_for_oid(oid)]
        for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    ]
    when = moment(opening["observed"])
    try:
        return (
            subject == [[one] for one in wanted]
            and isinstance(own.public_key(), ed25519.Ed25519PublicKey)
            and not (read and own.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
            and all(issued(child, parent) and is_strong(child, parent) for child, parent in pairwise(path))
            and all(may_issue(one, path[:at]) for at, one in enumerate(read) if at)
            and all(instant(one.not_valid_before_utc) <= when <= instant(one.not_valid_after_utc) for one in read)
            and not any(each.critical and each.oid not in known for one in read for each in one.extensions)
        )
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False


def judge_path(opening: Json, anchors: Sequence[Certificate]) -> tuple[Certificate | None, str]:
    """The stream's own certificate, and the finding of its path: empty where that is good."""
    chain: list[Certificate] = []
    texts = opening["context"]["audit.certificate"]
    for text in texts:
        try:
            chain.append(x509.load_der_x509_certificate(base64.b64decode(text, validate=True)))
            _ = chain[-1].public_key(), chain[-1].subject, chain[-1].issuer
        except (ValueError, UnsupportedAlgorithm):
            break  # nothing is known of what stands behind
    own = chain[0] if chain else None
    trusted = {(one.subject, spki(one)) for one in anchors}
    end = next((at for at, one in enumerate(chain) if (one.subject, spki(one)) in trusted), None)
    path = chain if end is None else chain[: end + 1]
    issuers = [one for one in anchors if path and issued(path[-1], one)] if len(chain) == len(texts) else []
    if anchors and end is None and not issuers:
        return own, "untrusted-key"
    is_read = bool(path) and (end is not None or len(chain) == len(texts))
    sound = is_read and is_right(path, end is not None, opening) and len(texts) <= 8
    if end is None and anchors:
        sound = sound and any(is_strong(path[-1], one) for one in issuers)
    return own, "" if sound else "wrong-certificate"


def spki(one: Certificate) -> bytes:
    return one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
