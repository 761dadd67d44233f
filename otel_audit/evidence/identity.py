"""Who certifies the keys of streams: an issuer, asked once for each stream.

Evidence stage. A stream's key lives in memory and signs seals; the certificate that says whose key it is comes
from an *identity*. The seam (`Identity`) fits a file, a KMS or an HSM alike: it is given a public key and answers
with certificates. It is asked from a background thread at rotation, never on a request's path but the first.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

from otel_audit.errors import IdentityError
from otel_audit.small_files import MOST_PEM_BYTES, read_small

IssuerKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
"""What may sign certificates ("Keys" in the evidence format). A KMS or HSM is one of these classes, subclassed,
whose `sign` asks the device: `cryptography` calls `sign` of whatever key it is given."""

MARGIN = timedelta(hours=1)
"""A stream's certificate is valid from this long before its open until this long after its latest rotation."""

MAX_CHAIN_BYTES = 16 << 10
"""The chain stands in every open record (65,536 bytes), in base64, beside 200 predecessors and the resource."""

ISSUER_FILE = "issuer.pem"
_EXTENSIONS = {ExtensionOID.BASIC_CONSTRAINTS: "basicConstraints", ExtensionOID.KEY_USAGE: "keyUsage"}


@dataclass(frozen=True, slots=True)
class StreamKey:
    """What an identity is asked to certify."""

    public_key: ed25519.Ed25519PublicKey
    stream: str
    service: str
    not_before: datetime
    not_after: datetime


class Identity(Protocol):
    """An issuer of stream certificates."""

    def certify(self, request: StreamKey) -> tuple[bytes, ...]:
        """Certificates in DER form, the stream's own first, each next one the issuer of the one before.

        Raises:
            IdentityError: the issuer cannot be reached, or refuses.
        """
        ...


class IssuerIdentity:
    """An issuer whose private key, or a handle of it, is in this process.

    *chain* is the issuer's certificate and those above it. A self-signed one at its end is left out of what a
    stream carries: a verifier trusts what it was given, not what a record brings.
    """

    def __init__(self, chain: Sequence[x509.Certificate], key: IssuerKey) -> None:
        if not chain:
            raise IdentityError("no certificate of the issuer: expected one or more, the issuer's own first")
        issuer = chain[0]
        try:
            constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
            usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        except x509.ExtensionNotFound as error:
            raise IdentityError(
                f"certificate {_named(issuer)}: not an issuer, it lacks {_EXTENSIONS[error.oid]}; "
                "make one with `otel-audit keys init`, or openssl's -addext"
            ) from error
        if not (constraints.ca and usage.key_cert_sign):
            raise IdentityError(f"certificate {_named(issuer)}: not an issuer (CA:TRUE and keyCertSign are needed)")
        if _public_bytes(key.public_key()) != _public_bytes(issuer.public_key()):
            raise IdentityError(f"certificate {_named(issuer)}: the private key is not the one it was issued for")
        if isinstance(key, rsa.RSAPrivateKey) and key.key_size < 2048:
            raise IdentityError(f"certificate {_named(issuer)}: an RSA key of {key.key_size} bits, 2048 are needed")
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in ("secp256r1", "secp384r1"):
            raise IdentityError(
                f"certificate {_named(issuer)}: curve {key.curve.name}, P-256 or P-384 are accepted"
            )
        for below, above in itertools.pairwise(chain):
            _check_issued(below, above)
        self._issuer = issuer
        self._key = key
        self._carried = tuple(certificate for certificate in chain if certificate.issuer != certificate.subject)
        self._above = tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in self._carried)
        # "Keys" in the evidence format: at most 8 elements, the stream's own among them
        if len(self._above) > 7 or sum(len(der) for der in self._above) > MAX_CHAIN_BYTES:
            raise IdentityError(
                f"certificate {_named(issuer)}: a chain of {len(self._above)} certificates, expected at most 7 of "
                f"{MAX_CHAIN_BYTES} bytes together; leave out those that verifiers hold"
            )

    def certify(self, request: StreamKey) -> tuple[bytes, ...]:
        """Issue a certificate for a stream's key; see `Identity.certify`."""
        self.check_validity(request.not_before + MARGIN)
        names = [
            x509.NameAttribute(NameOID.COMMON_NAME, request.stream),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, request.service),
        ]
        key = self._key
        algorithm: hashes.SHA256 | hashes.SHA384 | None = (
            None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        )
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp384r1":
            algorithm = hashes.SHA384()
        try:
            certificate = (
                x509.CertificateBuilder()
                .subject_name(x509.Name(names))
                .issuer_name(self._issuer.subject)
                .public_key(request.public_key)
                .serial_number(x509.random_serial_number())
                .not_valid_before(request.not_before)
                .not_valid_after(request.not_after)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(_usage(sign_certificates=False), critical=True)
                .add_extension(_authority(self._issuer), critical=False)
                .sign(key, algorithm)
            )
        except Exception as error:  # a device's library raises what it likes; here it becomes ours
            raise IdentityError(
                f"issuer {_named(self._issuer)} did not certify the stream's key: {error}"
            ) from error
        return (certificate.public_bytes(serialization.Encoding.DER), *self._above)

    def check_validity(self, opened: datetime | None = None) -> None:
        """Refuse an issuer under which a stream that opens then (None: now) is a `wrong-certificate` to verifiers.

        A self-signed issuer has no such time: it is an anchor, whose validity is not read.

        Raises:
            IdentityError: a certificate that streams would carry is not valid then.
        """
        opened = opened or datetime.now(UTC)
        for certificate in self._carried:
            if not certificate.not_valid_before_utc <= opened <= certificate.not_valid_after_utc:
                since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
                raise IdentityError(
                    f"certificate {_named(certificate)}: valid from {since:%Y-%m-%d %H:%M} to "
                    f"{until:%Y-%m-%d %H:%M} UTC, and it is {opened:%Y-%m-%d %H:%M}: renew it, or set the clock"
                )


def self_identity(directory: Path) -> IssuerIdentity:
    """The issuer that the service makes for itself, in `<directory>/identity/issuer.pem` (0600), on first use.

    What it is worth: it shows every change by whoever cannot read this directory. Whoever can, may issue
    certificates in the service's name; closed streams are then protected by what was delivered or named
    elsewhere, not by this key. Two processes that start at once agree on one issuer.

    Raises:
        IdentityError: the file cannot be made, read or understood.
    """
    path = directory / "identity" / ISSUER_FILE
    try:
        if not path.exists():
            _make_self_issuer(path)
        pem = read_small(path, MOST_PEM_BYTES)
    except OSError as error:
        raise IdentityError(
            f"{path}: cannot make or read the issuer ({error.strerror}); see OTEL_AUDIT_IDENTITY"
        ) from error
    return _loaded(pem, pem, None, str(path), str(path))


def file_identity(certificate: Path, key: Path, passphrase: bytes | None = None) -> IssuerIdentity:
    """An issuer from PEM files: its certificate, then those above it; its private key, perhaps encrypted.

    Whether it is valid now is another question: a machine may start with a wrong clock, see `check_validity`.

    Raises:
        IdentityError: a file cannot be read or understood, or key and certificate do not fit.
    """
    try:
        return _loaded(
            read_small(certificate, MOST_PEM_BYTES),
            read_small(key, MOST_PEM_BYTES),
            passphrase,
            str(certificate),
            str(key),
        )
    except OSError as error:
        raise IdentityError(
            f"{error.filename}: cannot be read ({error.strerror}); see OTEL_AUDIT_IDENTITY"
        ) from error


def memory_identity() -> IssuerIdentity:
    """An issuer that lives as long as the process: for `memory:` without an identity, and for tests."""
    certificate, key = _new_issuer("otel-audit in-memory issuer", timedelta(days=3650))
    return IssuerIdentity([certificate], key)


def create_issuer(certificate: Path, key: Path, *, name: str, passphrase: bytes | None = None) -> x509.Certificate:
    """Make a new issuer in two new PEM files, the key with mode 0600, encrypted when a passphrase is given.

    Raises:
        IdentityError: a file exists already, or cannot be written; then neither is made.
    """
    issued, private = _new_issuer(name, timedelta(days=3650))
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    try:
        _write_new(key, _private_pem(private, encryption), 0o600)
        try:
            _write_new(certificate, issued.public_bytes(serialization.Encoding.PEM), 0o644)
        except OSError:
            key.unlink()  # alone it is of no use, and in the way of the next try
            raise
    except FileExistsError as error:
        raise IdentityError(
            f"{error.filename}: exists already; an issuer is never overwritten: name another directory, "
            "or move this one's files away"
        ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise IdentityError(
            f"{key.parent}: no such directory to make an issuer in; make it first, or name another"
        ) from error
    except OSError as error:
        raise IdentityError(f"{error.filename}: cannot be written ({error.strerror})") from error
    return issued


def local_issuers(directory: Path) -> list[x509.Certificate]:
    """The issuer that the state directory knows: its own, if it made one.

    Raises:
        IdentityError: the file is there and cannot be read or understood.
    """
    path = directory / "identity" / ISSUER_FILE
    try:
        return x509.load_pem_x509_certificates(read_small(path, MOST_PEM_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise IdentityError(
            f"{path}: cannot be read ({error.strerror}); run this as the user that it belongs to"
        ) from error
    except ValueError as error:
        raise IdentityError(f"{path}: not a readable PEM certificate ({error})") from error


def holds_private_key(directory: Path) -> bool:
    """True where the state directory also holds the private key of its own issuer."""
    path = directory / "identity" / ISSUER_FILE
    return path.exists() and b"PRIVATE KEY" in read_small(path, MOST_PEM_BYTES)


def _make_self_issuer(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"otel-audit self-made issuer {socket.gethostname()[:20]} {secrets.token_hex(4)}"
    certificate, key = _new_issuer(name, timedelta(days=36500))
    draft = path.with_name(f".{secrets.token_hex(8)}")
    pem = certificate.public_bytes(serialization.Encoding.PEM) + _private_pem(key, serialization.NoEncryption())
    _write_new(draft, pem, 0o600)
    try:
        # link, not rename: the second of two processes that start at once must keep the first one's issuer
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    # an issuer lost to a power cut would leave streams that nobody answers for
    for directory in (path.parent, path.parent.parent):
        _sync_directory(directory)


def _new_issuer(name: str, lifetime: timedelta) -> tuple[x509.Certificate, ed25519.Ed25519PrivateKey]:
    key = ed25519.Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, None)
    )
    return certificate, key


def _loaded(
    certificates: bytes, key: bytes, passphrase: bytes | None, certificate_name: str, key_name: str
) -> IssuerIdentity:
    try:
        chain = x509.load_pem_x509_certificates(certificates)
    except ValueError as error:
        raise IdentityError(f"{certificate_name}: not a PEM certificate ({error})") from error
    try:
        private = serialization.load_pem_private_key(key, passphrase)
    except TypeError as error:  # cryptography's answer to a passphrase that is missing, or not needed
        raise IdentityError(f"{key_name}: {error}; see OTEL_AUDIT_IDENTITY_PASSPHRASE_FILE") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError(f"{key_name}: not a PEM private key, or another passphrase ({error})") from error
    if not isinstance(private, IssuerKey):
        raise IdentityError(f"{key_name}: expected an Ed25519, ECDSA P-256, P-384 or RSA key")
    return IssuerIdentity(chain, private)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private_pem(key: ed25519.Ed25519PrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _check_issued(below: x509.Certificate, above: x509.Certificate) -> None:
    try:
        below.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise IdentityError(
            f"certificate {_named(below)}: not issued by the next one, {_named(above)}: expected the issuer's own "
            "certificate first, then each one's issuer"
        ) from error


def _authority(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """RFC 5280 §4.2.1.1; our verifier does not read it, `openssl verify -x509_strict` asks for it."""
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        identifier = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _named(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()


def _public_bytes(key: object) -> bytes:
    assert isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
