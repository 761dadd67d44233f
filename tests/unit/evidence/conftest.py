"""Issuers made by openssl, and streams that ask them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otel_audit.evidence.identity import MARGIN, StreamKey

OpenSSL = Callable[..., str]
Request = Callable[..., StreamKey]

ISSUER = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
KEYS = {
    "ed25519": ("-algorithm", "ed25519"),
    "p256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "p384": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "rsa2048": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "rsa1024": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"),
    "p521": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"),
    "x25519": ("-algorithm", "x25519"),
}


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of issuers: `<kind>.pem` and `<kind>.crt` for each of `KEYS`, and an intermediate of p256."""
    directory = tmp_path_factory.mktemp("keys")

    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    for name, options in KEYS.items():
        run("genpkey", *options, "-out", f"{name}.pem")
    for name in KEYS.keys() - {"x25519"}:
        run(
            "req",
            "-x509",
            "-key",
            f"{name}.pem",
            "-subj",
            f"/CN={name}",
            "-days",
            "30",
            *ISSUER,
            "-out",
            f"{name}.crt",
        )
    run("req", "-x509", "-key", "p256.pem", "-subj", "/CN=leaf", "-addext", "basicConstraints=critical,CA:FALSE",
        "-addext", "keyUsage=critical,digitalSignature", "-out", "leaf.crt")  # fmt: skip
    run("req", "-x509", "-key", "p256.pem", "-subj", "/CN=bare", "-out", "bare.crt")
    extensions = directory / "extensions"
    extensions.write_text("basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n")
    run("req", "-new", "-key", "p384.pem", "-subj", "/CN=intermediate", "-out", "intermediate.csr")
    for name, days in (("intermediate", "30"), ("expired", "-1")):
        run("x509", "-req", "-in", "intermediate.csr", "-CA", "p256.crt", "-CAkey", "p256.pem", "-days", days,
            "-CAcreateserial", "-extfile", "extensions", "-out", f"{name}.crt")  # fmt: skip
    return directory


@pytest.fixture
def openssl(tmp_path: Path) -> OpenSSL:
    """Run openssl in the test's own directory; what it printed."""

    def run(*arguments: str) -> str:
        return subprocess.run(
            ["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    return run


@pytest.fixture
def request_of() -> Request:
    """What a stream asks its identity for, from an hour ago to tomorrow."""

    def make(service: str = "shop", stream: str = "0123456789abcdef" * 2) -> StreamKey:
        now = datetime.now(UTC).replace(microsecond=0)
        return StreamKey(
            Ed25519PrivateKey.generate().public_key(), stream, service, now - MARGIN, now + timedelta(hours=25)
        )

    return make
