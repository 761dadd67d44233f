"""`otel-audit keys`: who signs, until when, and whom should an auditor trust?"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from rich.text import Text

from otel_audit.cli import terminal
from otel_audit.cli.options import Json
from otel_audit.cli.printed import printable
from otel_audit.cli.reading import check_directory, known_issuers, private_keys
from otel_audit.errors import InvalidSetting
from otel_audit.evidence.identity import create_issuer
from otel_audit.settings import Settings
from otel_audit.small_files import read_small

NOTHING = 4
_MOST_PASSPHRASE_BYTES = 1023

keys = typer.Typer(
    name="keys",
    help="Who signs, until when? Issuers vouch for the keys of streams; an auditor trusts issuers.",
    rich_markup_mode=None,
    no_args_is_help=False,
)


@keys.command("init")
def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="Where issuer.pem and issuer-key.pem are made.")
    ] = Path(),
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Common name of the issuer.")
    ] = "otel-audit issuer",
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--passphrase-file", metavar="FILE", help="Encrypt the private key with what this file holds."
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Make an issuer of one's own: a certificate and its private key, in two new files.

    Without one a service makes its own, on the machine that it runs on; an issuer
    made elsewhere can be kept elsewhere, and serve several machines.

    \b
    Examples:
      otel-audit keys init /etc/otel-audit --name "Shop audit issuer"
      otel-audit keys init . --passphrase-file /run/secrets/audit-passphrase
    """
    certificate, key = directory / "issuer.pem", directory / "issuer-key.pem"
    passphrase = _passphrase(passphrase_file)
    if not 1 <= len(name) <= 64 or not name.isprintable():
        # RFC 5280 ub-common-name
        raise InvalidSetting(f"--name '{name}': expected 1 to 64 printable characters")
    issued = create_issuer(certificate, key, name=name, passphrase=passphrase)
    if json:
        terminal.write_json({"certificate": str(certificate), "key": str(key), "sha256": _sha256(issued)})
        return 0
    console = terminal.answers()
    console.print(Text(f"Made {printable(str(certificate))}, to be given to auditors (otel-audit verify --trust)"))
    console.print(Text(f"Made {printable(str(key))}, to be kept secret (mode 0600)"))
    console.print(Text("Use it: set"))
    setting = f"OTEL_AUDIT_IDENTITY=file:{certificate.absolute()},{key.absolute()}"
    terminal.write_line("  " + printable(setting))
    if passphrase is not None:
        terminal.write_line(f"  OTEL_AUDIT_IDENTITY_PASSPHRASE_FILE={printable(str(passphrase_file))}")
    return 0


@keys.command("show")
def show(json: Json = False) -> int:
    """Who signs here, and until when?

    \b
    Examples:
      otel-audit keys show
      OTEL_AUDIT_DIR=/var/lib/otel-audit otel-audit keys show --json

    \b
    Exit status: 0 there is an issuer, 4 there is none yet.
    """
    settings = Settings.from_environ(os.environ)
    check_directory(settings)
    issuers = known_issuers(settings)
    held = private_keys(settings)
    if json:
        terminal.write_json({"issuers": [_document(issuer, is_held=issuer in held) for issuer in issuers]})
        return 0 if issuers else NOTHING
    console = terminal.answers()
    for issuer in issuers:
        console.print(Text(printable(issuer.subject.rfc4514_string()), style="bold"))
        days = (issuer.not_valid_after_utc - datetime.now(UTC)).days
        state = f"{days:,} days left" if days >= 0 else "expired"
        for line in (
            f"valid {issuer.not_valid_before_utc:%Y-%m-%d} to {issuer.not_valid_after_utc:%Y-%m-%d} ({state})",
            f"SHA-256 {_sha256(issuer)}",
            "private key: on this machine" if issuer in held else "private key: not on this machine",
        ):
            terminal.say(console, Text(line), 2)
    if not issuers:
        console.print(Text("No issuer yet: the first event makes one, or otel-audit keys init does."))
    return 0 if issuers else NOTHING


@keys.command("export")
def export(json: Json = False) -> int:
    """Print the issuers to trust as PEM, for whoever verifies elsewhere.

    \b
    Examples:
      otel-audit keys export > issuer.pem
      otel-audit verify copy-of-the-log/ --trust issuer.pem

    \b
    Exit status: 0 printed, 4 there is none yet.
    """
    issuers = known_issuers(Settings.from_environ(os.environ))
    pems = [issuer.public_bytes(serialization.Encoding.PEM).decode() for issuer in issuers]
    if json:
        documents = [
            _document(issuer, is_held=None) | {"pem": pem} for issuer, pem in zip(issuers, pems, strict=True)
        ]
        terminal.write_json({"issuers": documents})
    else:
        sys.stdout.write("".join(pems))
    if not issuers:
        terminal.remarks().print(Text("otel-audit: no issuer here yet: the first event makes one"))
    return 0 if issuers else NOTHING


def _passphrase(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        passphrase = read_small(path, _MOST_PASSPHRASE_BYTES + 1).rstrip(b"\r\n")
    except OSError as error:
        raise InvalidSetting(
            f"--passphrase-file '{path}': cannot be read ({error.strerror}); expected a file with the passphrase"
        ) from error
    if len(passphrase) > _MOST_PASSPHRASE_BYTES:
        # openssl pem_local.h, PEM_BUFSIZE: what it cannot read back
        raise InvalidSetting(f"--passphrase-file '{path}': expected at most {_MOST_PASSPHRASE_BYTES} bytes")
    if not passphrase:
        raise InvalidSetting(f"--passphrase-file '{path}': is empty; expected the passphrase")
    return passphrase


def _document(issuer: x509.Certificate, *, is_held: bool | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "subject": issuer.subject.rfc4514_string(),
        "sha256": _sha256(issuer),
        "not_before": f"{issuer.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{issuer.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }
    return document if is_held is None else {**document, "private_key_here": is_held}


def _sha256(issuer: x509.Certificate) -> str:
    return issuer.fingerprint(hashes.SHA256()).hex()
