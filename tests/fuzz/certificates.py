"""Certificates: hostile DER, of one element or several, as a stream's open may bring them."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from cryptography import x509

from otel_audit.verify.certificates import anchors, check_path
from tests.attacks.world import ISSUER, ISSUER_DER, stream

REGRESSIONS: tuple[bytes, ...] = ()
"""The first find, two unused bits in a signature, is a named test: tests/unit/verify/test_certificates.py."""
_STREAM = stream("odd")
_ANCHORS = anchors([x509.load_der_x509_certificate(ISSUER_DER)])
_SEPARATOR = b"\xff\x00\xff\x00"
_HONEST = _STREAM.issue(ISSUER)[0]
_OPENED = "2026-03-01T08:00:00.000000000Z"


def seeds() -> Iterator[bytes]:
    yield _HONEST
    yield ISSUER_DER
    yield _HONEST + _SEPARATOR + ISSUER_DER
    yield _HONEST + _SEPARATOR + _HONEST + _SEPARATOR + ISSUER_DER


def target(data: bytes) -> None:
    elements = data.split(_SEPARATOR)
    texts = [base64.b64encode(element).decode() for element in elements]
    path = check_path(texts, stream=_STREAM.id, service="shop", opened=_OPENED, trust=_ANCHORS)
    assert len(path.not_before) == len(path.not_after) == 30
    if path.is_good:
        assert elements[0] == _HONEST, "only what the issuer signed is good"
