"""Issuers: made, shown, exported."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

import otel_audit

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Cli


def test_before_the_first_event_there_is_no_issuer(cli: Cli) -> None:
    assert (cli("keys", "show").status, cli("keys", "export").status, cli("keys", "export").out) == (4, 4, "")
    assert json.loads(cli("keys", "show", "--json").out) == {"issuers": []}


def test_the_issuer_that_a_service_made_is_shown_and_exported_without_its_key(cli: Cli, log: Path) -> None:
    exported = cli("keys", "export").out
    (certificate,) = x509.load_pem_x509_certificates(exported.encode())
    (shown,) = json.loads(cli("keys", "show", "--json").out)["issuers"]

    assert "PRIVATE" not in exported
    assert shown["subject"] == certificate.subject.rfc4514_string()
    assert shown["private_key_here"] is True
    assert "PRIVATE" not in cli("keys", "export", "--json").out


def test_an_issuer_of_one_s_own_signs_what_is_recorded_with_it(
    cli: Cli, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse battery staple\n")
    made = cli("keys", "init", tmp_path, "--name", "Shop audit issuer", "--passphrase-file", secret)
    certificate, key = tmp_path / "issuer.pem", tmp_path / "issuer-key.pem"
    setting = f"file:{certificate},{key}"

    assert made.status == 0
    assert f"OTEL_AUDIT_IDENTITY={setting}\n" in made.out
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "ENCRYPTED" in key.read_text()

    monkeypatch.setenv("OTEL_AUDIT_IDENTITY", setting)
    monkeypatch.setenv("OTEL_AUDIT_IDENTITY_PASSPHRASE_FILE", str(secret))
    otel_audit.configure()
    otel_audit.get_audit_logger("test").emit("invoice.read", action="READ")
    otel_audit.shutdown()

    assert json.loads(cli("verify", "--json").out)["trust"][0]["subject"] == "CN=Shop audit issuer"
    assert cli("verify", "--trust", certificate).status == 0
    assert "CN=Shop audit issuer" in cli("keys", "show").out


def test_an_issuer_is_never_overwritten(cli: Cli, tmp_path: Path) -> None:
    cli("keys", "init", tmp_path)
    before = (tmp_path / "issuer-key.pem").read_bytes()

    ran = cli("keys", "init", tmp_path)

    assert (ran.status, (tmp_path / "issuer-key.pem").read_bytes()) == (2, before)
    assert "exists already" in ran.err


@pytest.mark.parametrize("name", ["", "x" * 65, "two\nlines"])
def test_a_name_that_no_certificate_can_carry_is_refused(cli: Cli, tmp_path: Path, name: str) -> None:
    ran = cli("keys", "init", tmp_path, "--name", name)

    assert ran.status == 2
    assert not list(tmp_path.glob("*.pem"))


def test_an_issuer_that_could_be_made_only_by_half_is_not_made(cli: Cli, tmp_path: Path) -> None:
    """A key left behind alone would be refused by the next try, as one that exists already."""
    (tmp_path / "issuer.pem").mkdir()

    assert cli("keys", "init", tmp_path).status == 2
    assert not (tmp_path / "issuer-key.pem").exists()


@pytest.mark.parametrize("what", ["pipe", "zero"])
def test_a_certificate_that_is_a_pipe_or_without_end_is_refused(cli: Cli, tmp_path: Path, what: str) -> None:
    (tmp_path / "x.jsonl").write_text("")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")

    ran = cli("verify", tmp_path / "x.jsonl", "--trust", tmp_path / what)

    assert ran.status == 2
    assert "not a PEM certificate" in ran.err


def test_a_certificate_may_come_out_of_a_pipe(cli: Cli, log: Path) -> None:
    """As in `--trust <(otel-audit keys export)`."""
    exported = cli("keys", "export").out
    reader, writer = os.pipe()
    os.write(writer, exported.encode())
    os.close(writer)

    ran = cli("verify", log, "--trust", f"/dev/fd/{reader}")
    os.close(reader)

    assert (ran.status, ran.out[:8]) == (0, "VERIFIED")
