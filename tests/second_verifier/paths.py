"""Paths of certificates, good ones and others, for a key that is ours: by name, from the members of an open."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.name import _ASN1Type  # pyright: ignore[reportPrivateUsage] - no public name for it
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.issuers import IssuerKey, certificate, der64, name, seed
from tests.second_verifier.model import ISSUER, STRANGER, certificate_for, key_of
from tests.second_verifier.verifier import Json

Make = Callable[[Json], list[str]]
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
ALT = x509.SubjectAlternativeName([x509.DNSName("shop")])
PURPOSE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
CONSTRAINTS = x509.NameConstraints([x509.DNSName("shop")], None)


@cache
def key(kind: str) -> IssuerKey:
    if kind.startswith("p"):
        return ec.generate_private_key(
            {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[kind]
        )
    if kind.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[3:]))
    return Ed25519PrivateKey.from_private_bytes(seed(f"key {kind}"))


def opened(opening: Json) -> datetime:
    return datetime.fromisoformat(opening["observed"][:19]).replace(tzinfo=UTC)


def leaf(**options: Any) -> Make:
    """The issuer's certificate for the stream, with *options* of `certificate`."""
    return lambda opening: der64([certificate_for(opening, **options)])


def valid(before_s: int, after_s: int) -> Make:
    """Valid from so many seconds after the open until so many after it."""

    def make(opening: Json) -> list[str]:
        first, last = (opened(opening) + timedelta(seconds=one) for one in (before_s, after_s))
        return der64([certificate_for(opening, not_before=first, not_after=last)])

    return make


def subject(change: Callable[[str, str], x509.Name]) -> Make:
    def make(opening: Json) -> list[str]:
        said = change(opening["stream"], opening["context"].get("service.name") or "-")
        return der64([certificate_for(opening, subject=said)])

    return make


def through(
    kinds: tuple[str, ...] = ("a",), *, anchored: bool = False, top: Any = ISSUER, leaf_extra: Any = (),
    self_issued: bool = False, **options: Any,
) -> Make:  # fmt: skip
    """By way of intermediates with keys of these *kinds*, nearest to the stream last; *options* go to each."""

    def make(opening: Json) -> list[str]:
        when = opened(opening)
        span: dict[str, Any] = {"not_before": when - timedelta(hours=1), "not_after": when + timedelta(hours=1)}
        above, above_key, made = top.name, top.key, [top.certificate] if anchored else []
        for at, kind in enumerate(kinds):
            middle = name(cn="again" if self_issued else f"middle {at}")
            made.insert(
                0,
                certificate(middle, key(kind), above, above_key, **dict[str, Any]({"ca": True, **span} | options)),
            )
            above, above_key = middle, key(kind)
        who = name(cn=opening["stream"], o=opening["context"].get("service.name") or "-")
        mine = key_of(opening["stream"])
        own = certificate(who, mine, above, above_key, ca=False, extensions=leaf_extra, **span)
        return der64([own, *made])

    return make


def texts(change: Callable[[str], list[str]]) -> Make:
    return lambda opening: change(der64([certificate_for(opening)])[0])


def both(cn: str, o: str) -> x509.Name:
    return name(cn=cn, o=o)


def printable(cn: str, o: str) -> x509.Name:
    kind = _ASN1Type.PrintableString
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o), x509.NameAttribute(NameOID.COMMON_NAME, cn, kind)]
    )


PATHS: dict[str, Make] = {
    "good": leaf(),
    "stranger": leaf(issuer=STRANGER),
    "no constraints": leaf(ca=None),
    "a CA": leaf(ca=True),
    "no CA, may sign": leaf(cert_sign=True),
    "other key": leaf(key=key("other")),
    "P-256 key": leaf(key=key("p256")),
    "unknown extension": leaf(extensions=[(UNKNOWN, False)]),
    "unknown critical": leaf(extensions=[(UNKNOWN, True)]),
    "alternative name critical": leaf(extensions=[(ALT, True)]),
    "purpose critical": leaf(extensions=[(PURPOSE, True)]),
    "purpose": leaf(extensions=[(PURPOSE, False)]),
    "expired": valid(-7200, -1),
    "until the very second": valid(-7200, 0),
    "from the very second": valid(0, 7200),
    "not yet": valid(1, 7200),
    "short": valid(-10, 5),
    "long": valid(-10, 86_400 * 400),
    "no O": subject(lambda cn, _: name(cn=cn)),
    "no CN": subject(lambda _, o: name(o=o)),
    "two CNs": subject(lambda cn, o: name(cn=[cn, cn], o=o)),
    "two Os": subject(lambda cn, o: name(cn=cn, o=[o, "other"])),
    "other O": subject(lambda cn, _: name(cn=cn, o="other")),
    "other CN": subject(lambda cn, o: name(cn=cn[::-1], o=o)),
    "printable CN": subject(printable),
    "intermediate": through(),
    "intermediates": through(("a", "b")),
    "seven elements": through(("a", "b", "a", "b", "a", "b")),
    "eight elements": through(("a", "b", "a", "b", "a", "b", "a")),
    "nine elements": through(("a", "b", "a", "b", "a", "b", "a", "b")),
    "eight and the anchor": through(("a", "b", "a", "b", "a", "b", "a"), anchored=True),
    "anchored": through((), anchored=True),
    "anchored intermediate": through(anchored=True),
    "stranger intermediate": through(top=STRANGER),
    "stranger anchored": through(anchored=True, top=STRANGER),
    "self-issued": through(("a", "b"), self_issued=True),
    "self-issued, length 0": through(("a", "b"), self_issued=True, path_length=0),
    "length 0": through(("a",), path_length=0),
    "length 0, too deep": through(("a", "b"), path_length=0),
    "length 1": through(("a", "b"), path_length=1),
    "no keyCertSign": through(cert_sign=False),
    "intermediate no CA": through(ca=False, cert_sign=True),
    "intermediate without constraints": through(ca=None, cert_sign=True),
    "intermediate unknown critical": through(extensions=[(UNKNOWN, True)]),
    "intermediate name constraints": through(extensions=[(CONSTRAINTS, True)]),
    "intermediate purpose critical": through(extensions=[(PURPOSE, True)]),
    "leaf unknown critical by intermediate": through(leaf_extra=[(UNKNOWN, True)]),
    "P-256": through(("p256",)),
    "P-384": through(("p384",), hash_algorithm=hashes.SHA384()),
    "P-521": through(("p521",)),
    "RSA": through(("rsa2048",)),
    "small RSA": through(("rsa1024",)),
    "RSA, SHA-512": through(("rsa2048", "rsa2048"), hash_algorithm=hashes.SHA512()),
    "empty": texts(lambda _: []),
    "twice": texts(lambda own: [own, own]),
    "garbage behind": texts(lambda own: [own, base64.b64encode(b"garbage").decode()]),
    "no base64 behind": texts(lambda own: [own, "?"]),
    "garbage": texts(lambda _: [base64.b64encode(b"garbage").decode()]),
    "no base64": texts(lambda own: ["?" + own]),
    "empty text": texts(lambda _: [""]),
    "cut": texts(lambda own: [base64.b64encode(base64.b64decode(own)[:-1]).decode()]),
    "trailing byte": texts(lambda own: [base64.b64encode(base64.b64decode(own) + b"\0").decode()]),
    "without padding": texts(lambda own: [own.rstrip("=")]),
    "line feed": texts(lambda own: [own + "\n"]),
}
