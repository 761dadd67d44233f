"""Issuers: which keys they may have, what they certify, and how a refusal reads. Judged by openssl."""

from __future__ import annotations

import multiprocessing
import stat
import subprocess
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from otel_audit.errors import IdentityError
from otel_audit.evidence.identity import (
    MARGIN,
    IssuerIdentity,
    StreamKey,
    create_issuer,
    file_identity,
    holds_private_key,
    local_issuers,
    memory_identity,
    self_identity,
)
from otel_audit.evidence.rfc3339 import from_datetime
from otel_audit.verify.certificates import anchors, check_path
from tests.archives import der64

OpenSSL = Callable[..., str]
Request = Callable[..., StreamKey]

SERVICES = [
    "shop",
    'the "quoted", comma=plus+;<>#\\ shop',
    "Café Zürich 日本 😀",
    " leading and trailing ",
    "..",
    "a/b%2F\n\x01",
    "é" * 42,
    "x" * 64,
]


def is_good(chain: tuple[bytes, ...], request: StreamKey, trust: list[x509.Certificate]) -> bool:
    """The verdict of the verifier that logs are read with."""
    elements = der64([x509.load_der_x509_certificate(der) for der in chain])
    opened = from_datetime(request.not_before + MARGIN)
    path = check_path(elements, stream=request.stream, service=request.service, opened=opened, trust=anchors(trust))
    return path.is_good


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


# Files


@pytest.mark.parametrize("kind", ["ed25519", "p256", "p384", "rsa2048"])
def test_a_certificate_of_each_kind_of_issuer_is_good_to_openssl_and_to_our_verifier(
    kind: str, keys: Path, tmp_path: Path, openssl: OpenSSL, request_of: Request
) -> None:
    identity = file_identity(keys / f"{kind}.crt", keys / f"{kind}.pem")
    request = request_of()

    chain = identity.certify(request)

    (tmp_path / "stream.der").write_bytes(chain[0])
    openssl("x509", "-inform", "der", "-in", "stream.der", "-out", "stream.pem")
    text = openssl("x509", "-in", "stream.pem", "-noout", "-text")
    assert (
        openssl("verify", "-x509_strict", "-CAfile", str(keys / f"{kind}.crt"), "stream.pem") == "stream.pem: OK\n"
    )
    assert f"CN = {request.stream}, O = shop" in text
    assert "CA:FALSE" in text
    assert "Public Key Algorithm: ED25519" in text
    assert len(chain) == 1
    assert is_good(chain, request, [load(keys / f"{kind}.crt")])


@pytest.mark.parametrize("service", SERVICES)
def test_the_name_of_the_service_stands_in_the_certificate_as_it_is(service: str, request_of: Request) -> None:
    identity = memory_identity()
    request = request_of(service)

    chain = identity.certify(request)

    certificate = x509.load_der_x509_certificate(chain[0])
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    assert [name.value for name in names] == [service]


def test_a_stream_of_an_intermediate_brings_it_and_is_good_to_whoever_trusts_the_root(
    keys: Path, tmp_path: Path, openssl: OpenSSL, request_of: Request
) -> None:
    whole = tmp_path / "chain.crt"
    whole.write_bytes((keys / "intermediate.crt").read_bytes() + (keys / "p256.crt").read_bytes())
    request = request_of()

    chain = file_identity(whole, keys / "p384.pem").certify(request)

    (tmp_path / "stream.pem").write_bytes(x509.load_der_x509_certificate(chain[0]).public_bytes(Encoding.PEM))
    intermediate, root = str(keys / "intermediate.crt"), str(keys / "p256.crt")
    assert openssl("verify", "-CAfile", root, "-untrusted", intermediate, "stream.pem") == "stream.pem: OK\n"
    assert [x509.load_der_x509_certificate(der).subject.rfc4514_string() for der in chain[1:]] == [
        "CN=intermediate"
    ]
    assert is_good(chain, request, [load(keys / "p256.crt")])
    assert is_good(chain, request, [load(keys / "intermediate.crt")])


@pytest.mark.parametrize("kind", ["ed25519", "p256", "rsa2048"])
def test_an_encrypted_key_opens_with_its_passphrase_alone(
    kind: str, keys: Path, tmp_path: Path, openssl: OpenSSL, request_of: Request
) -> None:
    key = tmp_path / "locked.pem"
    openssl("pkey", "-in", str(keys / f"{kind}.pem"), "-aes256", "-passout", "pass:correct horse", "-out", str(key))
    certificate = keys / f"{kind}.crt"

    assert file_identity(certificate, key, b"correct horse").certify(request_of())
    with pytest.raises(IdentityError, match=r"locked\.pem: .*another passphrase"):
        file_identity(certificate, key, b"wrong horse")
    with pytest.raises(IdentityError, match=r"locked\.pem: .*OTEL_AUDIT_IDENTITY_PASSPHRASE_FILE"):
        file_identity(certificate, key)
    with pytest.raises(IdentityError, match=r"ed25519\.pem: .*OTEL_AUDIT_IDENTITY_PASSPHRASE_FILE"):
        file_identity(keys / "ed25519.crt", keys / "ed25519.pem", b"not needed")


@pytest.mark.parametrize(
    ("certificate", "key", "message"),
    [
        ("ed25519.crt", "p256.pem", "CN=ed25519: the private key is not the one it was issued for"),
        ("leaf.crt", "p256.pem", "CN=leaf: not an issuer (CA:TRUE and keyCertSign are needed)"),
        ("bare.crt", "p256.pem", "CN=bare: not an issuer, it lacks keyUsage; make one with `otel-audit keys init`"),
        ("rsa1024.crt", "rsa1024.pem", "CN=rsa1024: an RSA key of 1024 bits, 2048 are needed"),
        ("p521.crt", "p521.pem", "CN=p521: curve secp521r1, P-256 or P-384 are accepted"),
        ("ed25519.crt", "x25519.pem", "x25519.pem: expected an Ed25519, ECDSA P-256, P-384 or RSA key"),
        ("none.crt", "p256.pem", "none.crt: cannot be read (No such file or directory); see OTEL_AUDIT_IDENTITY"),
        ("p256.crt", "none.pem", "none.pem: cannot be read (No such file or directory); see OTEL_AUDIT_IDENTITY"),
        ("p256.pem", "p256.pem", "p256.pem: not a PEM certificate"),
        ("p256.crt", "p256.crt", "p256.crt: not a PEM private key"),
        (".", "p256.pem", "cannot be read (Is a directory); see OTEL_AUDIT_IDENTITY"),
    ],
)
def test_an_identity_that_cannot_certify_says_which_file_or_certificate_and_why(
    certificate: str, key: str, message: str, keys: Path
) -> None:
    with pytest.raises(IdentityError) as refusal:
        file_identity(keys / certificate, keys / key)

    assert message in str(refusal.value)


def test_an_expired_certificate_says_until_when_it_was_valid_and_what_to_do(keys: Path) -> None:
    until = load(keys / "expired.crt").not_valid_after_utc

    with pytest.raises(IdentityError, match=f"to {until:%Y-%m-%d %H:%M} UTC, .*: renew it, or set the clock"):
        file_identity(keys / "expired.crt", keys / "p384.pem").check_validity()


def test_an_issuer_that_expires_while_it_is_in_use_certifies_no_further_stream(
    keys: Path, request_of: Request
) -> None:
    identity = file_identity(keys / "intermediate.crt", keys / "p384.pem")
    later = load(keys / "intermediate.crt").not_valid_after_utc + MARGIN
    request = request_of()

    with pytest.raises(IdentityError, match="CN=intermediate: valid from"):
        identity.certify(StreamKey(request.public_key, request.stream, request.service, later, later + MARGIN))


def test_a_chain_in_another_order_is_refused(keys: Path, tmp_path: Path) -> None:
    """It would be found only when the log is verified."""
    wrong = tmp_path / "chain.crt"
    wrong.write_bytes((keys / "intermediate.crt").read_bytes() + (keys / "ed25519.crt").read_bytes())

    with pytest.raises(IdentityError, match="CN=intermediate: not issued by the next one, CN=ed25519"):
        file_identity(wrong, keys / "p384.pem")


def test_a_chain_too_long_for_a_record_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tests.issuers import certificate, name

    key = Ed25519PrivateKey.generate()
    chain = [certificate(name(cn=f"{at}"), key, name(cn=f"{at + 1}"), key, ca=True) for at in range(8)]

    with pytest.raises(IdentityError, match="a chain of 8 certificates, expected at most 7"):
        IssuerIdentity(chain, key)


# The service's own


def test_the_self_made_issuer_is_kept_private_and_used_again(tmp_path: Path, request_of: Request) -> None:
    request = request_of()

    first, second = self_identity(tmp_path).certify(request), self_identity(tmp_path).certify(request)

    path = tmp_path / "identity" / "issuer.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["issuer.pem"]
    assert is_good(first, request, local_issuers(tmp_path))
    assert is_good(second, request, local_issuers(tmp_path))
    assert holds_private_key(tmp_path)


def _make_at_once(directory: Path, barrier: Barrier, answer: Path) -> None:
    barrier.wait()
    identity = self_identity(directory)
    key = Ed25519PrivateKey.generate().public_key()
    now = load(directory / "identity" / "issuer.pem").not_valid_before_utc
    answer.write_bytes(identity.certify(StreamKey(key, "a" * 32, "shop", now, now + MARGIN))[0])


def test_processes_that_start_at_once_agree_on_one_issuer(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(8)
    answers = [tmp_path / f"answer-{at}" for at in range(8)]
    processes = [context.Process(target=_make_at_once, args=(tmp_path, barrier, answer)) for answer in answers]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    issuers = {x509.load_der_x509_certificate(answer.read_bytes()).issuer.rfc4514_string() for answer in answers}
    assert issuers == {issuer.subject.rfc4514_string() for issuer in local_issuers(tmp_path)}
    assert [entry.name for entry in (tmp_path / "identity").iterdir()] == ["issuer.pem"]


def test_an_issuer_file_that_is_no_issuer_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "identity" / "issuer.pem"
    path.parent.mkdir()
    path.write_bytes(b"")

    with pytest.raises(IdentityError, match=r"issuer\.pem: not a PEM certificate"):
        self_identity(tmp_path)
    with pytest.raises(IdentityError, match=r"issuer\.pem: not a readable PEM certificate"):
        local_issuers(tmp_path)
    assert path.read_bytes() == b""


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(
        IdentityError, match=r"file/identity/issuer\.pem: cannot make or read the issuer \(Not a dir"
    ):
        self_identity(tmp_path / "file")


def test_where_there_is_no_issuer_none_is_known(tmp_path: Path) -> None:
    assert local_issuers(tmp_path) == []
    assert not holds_private_key(tmp_path)


# Made by `keys init`


def test_a_created_issuer_is_read_back_by_openssl_and_by_us(
    tmp_path: Path, openssl: OpenSSL, request_of: Request
) -> None:
    certificate, key = tmp_path / "issuer.crt", tmp_path / "issuer.key"

    issued = create_issuer(certificate, key, name="Audit of shop", passphrase=b"correct horse")

    assert openssl("verify", "-x509_strict", "-CAfile", "issuer.crt", "issuer.crt") == "issuer.crt: OK\n"
    assert "ED25519" in openssl("pkey", "-in", "issuer.key", "-passin", "pass:correct horse", "-noout", "-text")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert is_good(
        file_identity(certificate, key, b"correct horse").certify(request := request_of()), request, [issued]
    )
    with pytest.raises(subprocess.CalledProcessError):
        openssl("pkey", "-in", "issuer.key", "-passin", "pass:wrong", "-noout")


def test_an_issuer_is_never_overwritten(tmp_path: Path) -> None:
    certificate, key = tmp_path / "issuer.crt", tmp_path / "issuer.key"
    create_issuer(certificate, key, name="first")
    before = certificate.read_bytes(), key.read_bytes()

    with pytest.raises(IdentityError, match=r"issuer\.key: exists already; an issuer is never overwritten"):
        create_issuer(certificate, key, name="second")
    assert (certificate.read_bytes(), key.read_bytes()) == before
