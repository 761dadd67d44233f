"""Each rule of "Keys": one certificate path that keeps it, and one that does not."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from tests.archives import START, Archive, Issuer, certificate, der64, name, seed
from tests.issuers import NEUTRAL, of_small_order
from tests.unit.verify import findings

ROOT = Issuer("root")
OTHER = Issuer("other")
Path = Callable[[str, str, Ed25519PrivateKey], Sequence[x509.Certificate]]


class Between(Issuer):
    """An issuer issued by another one."""

    def __init__(self, above: Issuer, label: str, **kwargs: Any) -> None:
        super().__init__(label)
        kwargs.setdefault("ca", True)
        self.certificate = certificate(self.name, self.key, above.name, above.key, **kwargs)


def found(path: Path, *, trust: Sequence[x509.Certificate] = (ROOT.certificate,)) -> list[tuple[str, int | None]]:
    archive = Archive()
    stream = archive.stream(certificates=path)
    stream.close()
    return findings.of(archive.verify(trust=list(trust)), stream)


def leaf(issuer: Issuer = ROOT, **kwargs: Any) -> Path:
    return lambda stream, service, key: [issuer.issue(stream, service, key, **kwargs)]


def through(*issuers: Issuer, **kwargs: Any) -> Path:
    """The leaf is issued by the first of *issuers*, whose certificates follow."""
    return lambda stream, service, key: [
        issuers[0].issue(stream, service, key, **kwargs),
        *(issuer.certificate for issuer in issuers),
    ]


def chain(length: int) -> list[Issuer]:
    """Issuers, the lowest first, *length* below the root."""
    above, issuers = ROOT, list[Issuer]()
    for number in range(length):
        above = Between(above, f"between {number}")
        issuers.insert(0, above)
    return issuers


UNTRUSTED = [("untrusted-key", 1)]
WRONG = [("wrong-certificate", 1)]
EKU = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


UPPER = Between(ROOT, "upper", path_length=1)
GOOD: list[Path] = [
    leaf(),
    through(ROOT),
    through(*chain(1)),
    through(*chain(1), ROOT, OTHER),
    through(*chain(7)),
    through(*chain(6), ROOT),
    through(Between(UPPER, "lower", path_length=0), UPPER),
    leaf(extensions=[(EKU, False), (UNKNOWN, False)]),
    lambda s, o, k: [ROOT.issue(s, o, k, subject=name(cn=s, o=o))],
]


@pytest.mark.parametrize("path", GOOD)
def test_a_good_path_is_good(path: Path) -> None:
    assert found(path) == []


@pytest.mark.parametrize(
    "key",
    [
        ec.derive_private_key(7, ec.SECP256R1()),
        ec.derive_private_key(7, ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
)
def test_issuers_may_have_other_keys_than_streams(key: Any) -> None:
    issuer = Issuer("strong", key)
    assert found(leaf(issuer), trust=[issuer.certificate]) == []
    assert found(leaf(issuer, hash_algorithm=hashes.SHA512()), trust=[issuer.certificate]) == []


@pytest.mark.parametrize("key", [ec.derive_private_key(7, ec.SECP521R1()), rsa.generate_private_key(65537, 1024)])
def test_issuers_with_weak_or_other_keys_are_wrong(key: Any) -> None:
    issuer = Issuer("weak", key)
    assert found(leaf(issuer), trust=[issuer.certificate]) == WRONG


UNTRUSTED_PATHS: list[Path] = [
    leaf(OTHER),
    through(OTHER),
    lambda s, o, k: [certificate(name(cn=s, o=o), k, ROOT.name, OTHER.key, ca=False)],
    lambda s, o, k: [certificate(name(cn=s, o=o), k, name(cn="root "), ROOT.key, ca=False)],
]


@pytest.mark.parametrize("path", UNTRUSTED_PATHS)
def test_a_path_that_reaches_no_trusted_certificate_is_untrusted(path: Path) -> None:
    assert found(path) == UNTRUSTED


def test_what_a_record_brings_is_not_trusted_for_it() -> None:
    assert found(through(OTHER, ROOT)) == WRONG, "issued by another, with the trusted one pasted behind"


WRONG_PATHS: list[Path] = [
    lambda s, o, k: [ROOT.issue("ab" * 16, o, k)],
    lambda s, o, k: [ROOT.issue(s, "billing", k)],
    lambda s, o, k: [ROOT.issue(s, o, k, subject=name(cn=s))],
    lambda s, o, k: [ROOT.issue(s, o, k, subject=name(o=o))],
    lambda s, o, k: [ROOT.issue(s, o, k, subject=name(cn=[s, s], o=o))],
    lambda s, o, k: [ROOT.issue(s, o, k, subject=name(cn=s, o=[o, "billing"]))],
    lambda s, o, k: [ROOT.issue(s, o, ec.derive_private_key(9, ec.SECP256R1()))],
    leaf(ca=True),
    leaf(ca=None),
    leaf(not_after=START - timedelta(minutes=1)),
    leaf(not_before=START + timedelta(minutes=1)),
    leaf(extensions=[(EKU, True)]),
    leaf(extensions=[(UNKNOWN, True)]),
    through(Between(ROOT, "no ca", ca=False)),
    through(Between(ROOT, "no constraints", ca=None, cert_sign=True)),
    through(Between(ROOT, "no cert sign", cert_sign=False)),
    through(Between(ROOT, "expired", not_after=START - timedelta(minutes=1))),
    through(Between(ROOT, "critical", extensions=[(UNKNOWN, True)])),
    through(Between(Between(ROOT, "upper", path_length=0), "lower"), Between(ROOT, "upper", path_length=0)),
    through(*chain(8)),
    through(*chain(7), ROOT),
]


@pytest.mark.parametrize("path", WRONG_PATHS)
def test_a_path_that_breaks_another_rule_is_wrong(path: Path) -> None:
    assert found(path)[0] == ("wrong-certificate", 1)


def test_issuers_in_the_wrong_order_are_wrong_and_lead_nowhere() -> None:
    lower, upper = chain(2)
    assert found(lambda s, o, k: [lower.issue(s, o, k), upper.certificate, lower.certificate]) == [
        *UNTRUSTED,
        *WRONG,
    ]


def test_a_streams_own_certificate_issues_none() -> None:
    """The holder of a stream's key makes a second stream for itself."""
    archive = Archive(issuer=ROOT)
    first = archive.stream()
    own = ROOT.issue(first.id, "shop", first.key)
    second = archive.stream(
        certificates=lambda s, o, k: [certificate(name(cn=s, o=o), k, own.subject, first.key, ca=False), own]
    )
    assert findings.of(archive.verify(), second) == WRONG


def test_an_expired_anchor_still_counts_as_name_and_key() -> None:
    old = Issuer("old")
    old.certificate = certificate(
        old.name,
        old.key,
        old.name,
        old.key,
        ca=False,
        not_before=START - timedelta(days=9),
        not_after=START - timedelta(days=8),
    )
    assert found(leaf(old), trust=[old.certificate]) == []
    assert found(through(old), trust=[old.certificate]) == []


def test_two_certificates_for_one_stream_are_a_fork() -> None:
    archive = Archive(issuer=ROOT)
    stream = archive.stream()
    twin = archive.stream()
    twin.id, twin.key = stream.id, stream.key
    twin.records.clear()
    twin.open([ROOT.issue(stream.id, "shop", stream.key, not_after=START + timedelta(hours=3))])

    assert findings.of(archive.verify(), stream)[0] == ("forked", 1)


@pytest.mark.parametrize("elements", [[], ["!"], ["AAAA"], [base64.b64encode(seed("x")).decode()]])
def test_what_is_no_certificate_is_wrong(elements: list[str]) -> None:
    archive = Archive(issuer=ROOT)
    stream = archive.stream(open_overrides={"context": {"audit.certificate": elements}})

    assert findings.of(archive.verify(), stream) == [*UNTRUSTED, *WRONG]


def test_a_key_of_small_order_signs_nothing() -> None:
    """With the neutral element as key, S = 0 and R = A verify for every message."""
    archive = Archive(issuer=ROOT)
    stream = archive.stream()
    stream.records.clear()
    stream.open([of_small_order(ROOT, stream.id, "shop", stream.key)])
    stream.replace(1, sig=base64.urlsafe_b64encode(NEUTRAL + bytes(32)).rstrip(b"=").decode())

    assert findings.of(archive.verify(), stream) == [("bad-signature", 1)]


def test_a_signature_that_is_not_whole_octets_leads_to_no_issuer() -> None:
    """Two unused bits in its BIT STRING: openssl refuses that, the cryptography package passes it over."""
    archive = Archive(issuer=ROOT)
    stream = archive.stream()
    # Unused bits must be zero (X.690 §11.2.1), so it takes a signature that happens to end with two
    issued = (
        ROOT.issue(stream.id, "shop", stream.key, not_after=START + timedelta(hours=hours))
        for hours in range(1, 99)
    )
    good = next(one for one in issued if one.signature[-1] & 3 == 0)
    odd = good.public_bytes(Encoding.DER).replace(b"\0" + good.signature, b"\2" + good.signature)
    stream.records.clear()
    stream.open([x509.load_der_x509_certificate(odd)])
    stream.close()

    assert findings.of(archive.verify(), stream) == UNTRUSTED


def test_a_signature_of_an_unknown_algorithm_leads_to_no_issuer() -> None:
    """What cannot be checked is not good: the algorithm's name is read lazily, and raises."""
    archive = Archive(issuer=ROOT)
    stream = archive.stream()
    ed25519, unknown = bytes.fromhex("300506032b6570"), bytes.fromhex("300506032b657f")
    # The name stands in what is signed, beside the stream's key, and beside the signature
    certificate = ROOT.issue(stream.id, "shop", stream.key).public_bytes(Encoding.DER)
    signed, key, signature, rest = certificate.split(ed25519)
    odd = signed + unknown + key + ed25519 + signature + unknown + rest
    stream.records.clear()
    stream.open([x509.load_der_x509_certificate(odd)])
    stream.close()

    assert findings.of(archive.verify(), stream) == UNTRUSTED


def test_of_two_certificates_for_one_stream_the_streams_own_are_compared() -> None:
    """With which issuers they come is not the question."""
    archive = Archive(issuer=ROOT)
    stream = archive.stream(certificates=through(ROOT))
    own, root = stream.members(1)["context"]["audit.certificate"]
    other = der64([ROOT.issue(stream.id, "shop", stream.key, not_after=START + timedelta(hours=3))])
    for path in ([own], [*other, root]):
        context = {**stream.members(1)["context"], "audit.certificate": path}
        stream.lifecycle("audit.stream.open", context)

    assert findings.of(archive.verify(), stream) == [("misplaced", 2), ("forked", 3), ("misplaced", 3)]
