"""docs/evidence-format.md and docs/identities.md: every command and example works, and a forgery fails them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import otel_audit
from otel_audit import Settings, get_audit_logger
from otel_audit.evidence.identity import file_identity
from otel_audit.logger import install
from otel_audit.sources import read_directory
from otel_audit.verify import verify
from tests.issuers import certificate, name

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.fixture(autouse=True)
def pipeline_of_its_own() -> Iterator[None]:
    previous = install(None)
    yield
    otel_audit.shutdown()
    install(previous)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A directory as the page has it: `audit/` with the log of `shop`, and `issuer.pem`."""
    audit = tmp_path / "audit"
    otel_audit.configure(
        Settings.from_environ(
            {"OTEL_SERVICE_NAME": "shop", "OTEL_AUDIT_DIR": str(audit), "OTEL_AUDIT_SPOOL_RESERVE": "1MiB"}
        )
    )
    for at in range(7):
        get_audit_logger("shop").emit("a.b", action="READ", context={"n": at, "t": ',"sig":"é\x7f\n'})
    otel_audit.shutdown()
    issuer = (audit / "identity" / "issuer.pem").read_bytes().partition(b"-----BEGIN PRIVATE")[0]
    (tmp_path / "issuer.pem").write_bytes(issuer)
    return tmp_path


def sh(directory: Path, commands: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def log_of(archive: Path) -> Path:
    (log,) = (archive / "audit" / "shop").glob("*/*.jsonl")
    return log


def test_every_command_of_the_page_agrees_with_a_real_log(archive: Path) -> None:
    ran = sh(archive, blocks("evidence-format.md", "sh"))

    assert ran.returncode == 0, ran.stderr
    assert "records 1 to 10 follow each other" in ran.stdout
    assert "stream.pem: OK" in ran.stdout
    assert "Signature Verified Successfully" in ran.stdout


@pytest.mark.parametrize(
    ("pattern", "forged", "message"),
    [
        (rb'"n":3', b'"n":4', "record 7 does not follow"),
        (rb'"audit.seal.dropped":0', b'"audit.seal.dropped":1', "Signature Verification Failure"),
    ],
)
def test_the_commands_find_a_forged_record(archive: Path, pattern: bytes, forged: bytes, message: str) -> None:
    log = log_of(archive)
    log.write_bytes(log.read_bytes().replace(pattern, forged, 1))

    ran = sh(archive, blocks("evidence-format.md", "sh"))

    assert ran.returncode != 0
    assert message in ran.stdout + ran.stderr


def test_the_commands_find_a_foreign_issuer(archive: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    foreign = certificate(name(cn="foreign"), key, name(cn="foreign"), key, ca=True)
    (archive / "issuer.pem").write_bytes(foreign.public_bytes(serialization.Encoding.PEM))

    ran = sh(archive, blocks("evidence-format.md", "sh"))

    assert ran.returncode != 0
    assert "unable to get local issuer certificate" in ran.stderr


def test_the_page_s_merkle_tree_is_the_one_that_is_sealed(archive: Path) -> None:
    (program,) = blocks("evidence-format.md", "python")
    arguments = [sys.executable, "-c", program, str(log_of(archive))]

    ran = subprocess.run(arguments, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout) == (0, "record 10 seals the 9 before it\n")


# identities.md


def test_the_issuer_that_the_page_makes_with_openssl_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("correct horse battery\n")

    ran = sh(tmp_path, blocks("identities.md", "sh"))

    assert ran.returncode == 0, ran.stderr
    assert file_identity(tmp_path / "audit.crt", tmp_path / "audit.key", b"correct horse battery")


class Kms:
    """A key service with one key, which counts what it is asked."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.signed: list[str] = []

    def public_key(self, of: str) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, of: str, data: bytes, algorithm: str) -> bytes:
        assert algorithm == "ECDSA_SHA_256"
        self.signed.append(of)
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))


def test_the_example_of_a_key_service_makes_logs_that_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms = Kms()
    issuer = certificate(name(cn="Audit"), kms.key, name(cn="Audit"), kms.key, ca=True)
    (tmp_path / "issuer.pem").write_bytes(issuer.public_bytes(serialization.Encoding.PEM))
    monkeypatch.chdir(tmp_path)
    for variable in [variable for variable in os.environ if variable.startswith("OTEL_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("OTEL_AUDIT_DIR", str(tmp_path / "audit"))
    monkeypatch.setenv("OTEL_AUDIT_SPOOL_RESERVE", "1MiB")
    namespace: dict[str, Any] = {"kms": kms}

    exec("\n".join(blocks("identities.md", "python")), namespace)
    for _ in range(5):
        get_audit_logger("shop").emit("a.b", action="READ")
    otel_audit.shutdown()

    assert kms.signed == ["audit-of-shop"]
    assert verify([read_directory(tmp_path / "audit")], trust=[issuer]).status == "verified"
