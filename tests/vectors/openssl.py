"""Keys and signatures of the vectors, by the openssl command and the standard library alone.

Ed25519 and RSA PKCS#1 v1.5 are deterministic and left to openssl 3. ECDSA is not (openssl learnt
RFC 6979 nonces in 3.2), so its signatures are computed here, by RFC 6979, and checked by openssl.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ED25519_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")
"""RFC 8410 §7: everything of a PKCS#8 Ed25519 key that comes before its 32 seed bytes."""

ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")

ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
"""RFC 8032 §5.1: L, the order of the base point."""

RSA_KEYS = Path(__file__).parent / "keys"


class Key(Protocol):
    """A private key as certificates need it: who it is, and how it signs."""

    @property
    def spki(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        ...

    @property
    def algorithm(self) -> bytes:
        """DER AlgorithmIdentifier of its signatures."""
        ...

    def sign(self, message: bytes) -> bytes: ...


def run(*arguments: str, stdin: bytes = b"") -> bytes:
    """Standard output of `openssl *arguments*`."""
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


def version() -> tuple[int, ...]:
    """The openssl command's version, `(3, 0, 19)`; empty where there is none."""
    try:
        words = run("version").split()
    except (OSError, subprocess.CalledProcessError):
        return ()
    return tuple(int(part) for part in words[1].split(b".") if part.isdigit())


class Ed25519:
    """An Ed25519 key whose seed is the SHA-256 of a label."""

    algorithm = bytes.fromhex("300506032b6570")
    _signatures: dict[tuple[bytes, bytes], bytes] = {}  # noqa: RUF012 - one openssl call a message
    _public: dict[bytes, bytes] = {}  # noqa: RUF012 - likewise

    def __init__(self, label: str) -> None:
        self._seed = hashlib.sha256(f"otel-audit vector key: {label}".encode()).digest()

    @property
    def spki(self) -> bytes:
        if self._seed not in self._public:
            pem = run("pkey", "-pubout", "-outform", "DER", stdin=self._pem())
            self._public[self._seed] = pem
        return self._public[self._seed]

    def sign(self, message: bytes) -> bytes:
        known = self._signatures.get((self._seed, message))
        if known is None:
            with tempfile.TemporaryDirectory() as scratch:
                key, text = Path(scratch, "key.pem"), Path(scratch, "message")
                key.write_bytes(self._pem())
                text.write_bytes(message)
                known = run("pkeyutl", "-sign", "-rawin", "-inkey", str(key), "-in", str(text))
            self._signatures[self._seed, message] = known
        return known

    def _pem(self) -> bytes:
        body = base64.b64encode(ED25519_PKCS8 + self._seed)
        return b"-----BEGIN PRIVATE KEY-----\n" + body + b"\n-----END PRIVATE KEY-----\n"


class IdentityPoint:
    """The Ed25519 "key" of order one: under it, one signature without any secret fits every message."""

    algorithm = Ed25519.algorithm
    point = bytes([1]) + bytes(31)

    @property
    def spki(self) -> bytes:
        return ED25519_SPKI + self.point

    def sign(self, message: bytes) -> bytes:
        return self.point + bytes(32)


class Rsa:
    """A fixed RSA key from `keys/`, PKCS#1 v1.5."""

    def __init__(self, name: str, digest: str = "sha256") -> None:
        self._path = RSA_KEYS / f"{name}.pem"
        self._digest = digest
        arc = {"sha256": "0b", "sha1": "05"}[digest]  # RFC 8017 Appendix A.2.4: 1.2.840.113549.1.1.*
        self.algorithm = bytes.fromhex("300d06092a864886f70d0101" + arc + "0500")

    @property
    def spki(self) -> bytes:
        return run("pkey", "-in", str(self._path), "-pubout", "-outform", "DER")

    def sign(self, message: bytes) -> bytes:
        return run("dgst", f"-{self._digest}", "-sign", str(self._path), stdin=message)


@dataclass(frozen=True)
class Curve:
    """y² = x³ - 3x + b over GF(p), with base point (x, y) of prime order n (FIPS 186-4 D.1.2)."""

    p: int
    b: int
    n: int
    x: int
    y: int
    spki_prefix: str
    algorithm: str
    digest: str


P256 = Curve(
    p=2**256 - 2**224 + 2**192 + 2**96 - 1,
    b=0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    n=0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    x=0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    y=0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    spki_prefix="3059301306072a8648ce3d020106082a8648ce3d030107034200",
    algorithm="300a06082a8648ce3d040302",
    digest="sha256",
)
P384 = Curve(
    p=2**384 - 2**128 - 2**96 + 2**32 - 1,
    b=0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    n=0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    x=0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
    y=0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
    spki_prefix="3076301006072a8648ce3d020106052b81040022036200",
    algorithm="300a06082a8648ce3d040303",
    digest="sha384",
)


class Ecdsa:
    """An ECDSA key from a label, nonces by RFC 6979."""

    def __init__(self, curve: Curve, label: str) -> None:
        self._curve = curve
        seed = hashlib.sha512(f"otel-audit vector key: {label}".encode()).digest()
        self._secret = int.from_bytes(seed, "big") % (curve.n - 1) + 1
        self._size = (curve.n.bit_length() + 7) // 8
        self.algorithm = bytes.fromhex(curve.algorithm)

    @property
    def spki(self) -> bytes:
        x, y = self._multiply(self._secret)
        point = b"\x04" + x.to_bytes(self._size, "big") + y.to_bytes(self._size, "big")
        return bytes.fromhex(self._curve.spki_prefix) + point

    def sign(self, message: bytes) -> bytes:
        n = self._curve.n
        digest = hashlib.new(self._curve.digest, message).digest()
        z = int.from_bytes(digest, "big") % n
        nonce = self._nonce(z)
        r = self._multiply(nonce)[0] % n
        s = pow(nonce, -1, n) * (z + r * self._secret) % n
        body = _der_integer(r) + _der_integer(s)
        signature = bytes([0x30, len(body)]) + body
        self._check(message, signature)
        return signature

    def _nonce(self, z: int) -> int:
        """RFC 6979 §3.2, for a digest as long as the order."""
        name, size = self._curve.digest, self._size
        material = self._secret.to_bytes(size, "big") + z.to_bytes(size, "big")
        v, k = b"\x01" * size, bytes(size)
        for step in (b"\x00", b"\x01"):
            k = hmac.digest(k, v + step + material, name)
            v = hmac.digest(k, v, name)
        while True:
            v = hmac.digest(k, v, name)
            candidate = int.from_bytes(v, "big")
            if 0 < candidate < self._curve.n:
                return candidate
            k = hmac.digest(k, v + b"\x00", name)
            v = hmac.digest(k, v, name)

    def _multiply(self, scalar: int) -> tuple[int, int]:
        p = self._curve.p
        result: tuple[int, int] | None = None
        addend = (self._curve.x, self._curve.y)
        while scalar:
            if scalar & 1:
                result = addend if result is None else _add(result, addend, p)
            addend = _add(addend, addend, p)
            scalar >>= 1
        assert result is not None
        return result

    def _check(self, message: bytes, signature: bytes) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            public, proof = Path(scratch, "public.pem"), Path(scratch, "signature")
            body = base64.b64encode(self.spki)
            public.write_bytes(b"-----BEGIN PUBLIC KEY-----\n" + body + b"\n-----END PUBLIC KEY-----\n")
            proof.write_bytes(signature)
            run(
                "dgst", f"-{self._curve.digest}", "-verify", str(public), "-signature", str(proof),
                stdin=message,
            )  # fmt: skip


def _add(one: tuple[int, int], two: tuple[int, int], p: int) -> tuple[int, int]:
    """Affine addition or doubling, a = -3; never meets the point at infinity below the order."""
    if one == two:
        slope = (3 * one[0] * one[0] - 3) * pow(2 * one[1], -1, p) % p
    else:
        slope = (two[1] - one[1]) * pow(two[0] - one[0], -1, p) % p
    x = (slope * slope - one[0] - two[0]) % p
    return x, (slope * (one[0] - x) - one[1]) % p


def _der_integer(value: int) -> bytes:
    body = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([0x02, len(body)]) + body
