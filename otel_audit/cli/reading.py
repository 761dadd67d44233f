"""What a command reads and whom it trusts: the sources it was named, else what this machine knows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from rich.text import Text

from otel_audit.cli import terminal
from otel_audit.cli.printed import printable
from otel_audit.errors import InvalidSetting, SourceError
from otel_audit.evidence.identity import holds_private_key, local_issuers
from otel_audit.settings import Settings
from otel_audit.small_files import MOST_PEM_BYTES, read_small
from otel_audit.sources import Source, open_source


@dataclass(frozen=True, slots=True)
class Reading:
    """Sources to read and issuers to trust."""

    names: tuple[str, ...]
    """As the user gave them; none where the local spool does not exist yet."""
    paths: tuple[Path, ...]
    """Where to look for what is written from now on."""
    sources: tuple[Source, ...]
    trust: tuple[x509.Certificate, ...]
    private_keys_here: tuple[x509.Certificate, ...]
    """Those of the trusted issuers whose private key lies on this machine."""


def open_reading(names: Sequence[str], trust: Sequence[str], *, place: str | None = None) -> Reading:
    """Open the sources *names* (none: the local spool), trust the PEM files *trust* (none: the local issuer).

    Where the reader says which *place* it is, what lies in a directory does not.

    Raises:
        SourceError: a source or a certificate cannot be read.
        InvalidSetting: a setting is invalid, or `memory:` where the local spool is asked for.
    """
    settings = Settings.from_environ(os.environ)
    if not names:
        if settings.directory is None:
            raise InvalidSetting(
                "OTEL_AUDIT_DIR='memory:': nothing is kept on this machine; name a SOURCE, or set a directory"
            )
        paths = [settings.directory]
        names = [str(settings.directory)] if settings.directory.exists() else []
    else:
        paths = [Path(name) for name in names]
    if "" in names:
        # As a path it would be the working directory: not what `verify "$UNSET"` means
        raise InvalidSetting("SOURCE '': expected a directory or a file")
    sources = tuple(open_source(name, names_itself=place is None) for name in names)
    here = known_issuers(settings)
    trusted = tuple(certificate for path in trust for certificate in _certificates(Path(path))) if trust else here
    held = private_keys(settings)
    return Reading(
        tuple(names), tuple(paths), sources, trusted, tuple(issuer for issuer in trusted if issuer in held)
    )


def check_directory(settings: Settings) -> None:
    """Refuse a state directory that is no directory: nothing would be found in it, which is not the truth.

    Raises:
        InvalidSetting: it is a file, or so; where there is nothing yet, that is well.
    """
    directory = settings.directory
    if directory is not None and directory.exists() and not directory.is_dir():
        raise InvalidSetting(f"OTEL_AUDIT_DIR='{directory}': expected a directory, and it is none")


def remark_absence(settings: Settings) -> None:
    """Say on standard error where there is no state directory yet: its name may be a slip."""
    directory = settings.directory
    if directory is not None and not directory.exists():
        words = f"otel-audit: {printable(str(directory))} does not exist (yet); is OTEL_AUDIT_DIR the service's?"
        terminal.say(terminal.remarks(), Text(words))


def known_issuers(settings: Settings) -> tuple[x509.Certificate, ...]:
    """The issuers that this machine uses itself: its self-made one, and that of a configured file.

    Raises:
        IdentityError: the state directory's issuer cannot be read.
        SourceError: the configured certificate cannot be.
    """
    own = local_issuers(settings.directory) if settings.directory is not None else []
    return (*own, *_configured(settings))


def private_keys(settings: Settings) -> tuple[x509.Certificate, ...]:
    """Those of the known issuers whose private key this machine holds as well."""
    has_own = settings.directory is not None and holds_private_key(settings.directory)
    return known_issuers(settings) if has_own else _configured(settings)


def _configured(settings: Settings) -> tuple[x509.Certificate, ...]:
    if not settings.identity.startswith("file:"):
        return ()
    try:
        # The first is the issuer itself; those above it are its business
        return _certificates(Path(settings.identity.removeprefix("file:").split(",")[0]))[:1]
    except SourceError as error:
        raise SourceError(f"OTEL_AUDIT_IDENTITY: {error}") from error


def _certificates(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(read_small(path, MOST_PEM_BYTES)))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}); expected a PEM certificate") from error
    except ValueError as error:
        raise SourceError(f"{path}: not a PEM certificate; otel-audit keys export prints one") from error
