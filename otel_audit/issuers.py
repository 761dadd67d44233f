"""The issuers of stream certificates that the settings name, as a process asks them.

Between `configure`, which asks for one, and `evidence.identity`, which knows how to issue and is loaded when the
first stream opens: most processes never write.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from otel_audit.errors import IdentityError
from otel_audit.settings import Settings
from otel_audit.small_files import MOST_PEM_BYTES, MOST_SECRET_BYTES, read_small
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.layout import create_once

if TYPE_CHECKING:
    from otel_audit.evidence.identity import Identity, IssuerIdentity, StreamKey


def open_identity_now(settings: Settings, alarms: Alarms) -> Identity:
    """As `open_identity`; one that is not valid at this time is an alarm, in fail mode `closed` an error.

    A machine may start in 1970, and its clock be set a moment later: then streams can be opened, and not before.
    """
    issuer = open_identity(settings)
    if isinstance(issuer, FileIdentity):
        try:
            issuer.check_validity()
        except IdentityError as error:
            if settings.fail_mode == "closed":
                raise
            alarms.note("identity", f"{error}; no stream can be opened until then, and events are lost")
    return issuer


def open_identity(settings: Settings, *, may_make: bool = True) -> Identity:
    """The issuer of stream certificates: `file:` is read now, `self` when the first stream opens.

    *may_make*: a state directory without an issuer of its own gets one.

    Raises:
        IdentityError: the files cannot be read or understood.
    """
    if settings.identity != "self":
        from otel_audit.evidence.identity import file_identity

        certificate, key = settings.identity.removeprefix("file:").split(",")
        passphrase = settings.identity_passphrase_file
        try:
            secret = None if passphrase is None else read_small(passphrase, MOST_SECRET_BYTES).rstrip(b"\r\n")
        except OSError as error:
            raise IdentityError(
                f"OTEL_AUDIT_IDENTITY_PASSPHRASE_FILE={str(passphrase)!r}: cannot be read ({error.strerror})"
            ) from error
        return FileIdentity(lambda: file_identity(Path(certificate), Path(key), secret))
    if settings.directory is not None:
        return SelfIdentity(settings.directory, may_make=may_make)
    from otel_audit.evidence.identity import memory_identity

    return memory_identity()


class FileIdentity:
    """An issuer in files, which are read again where it is not valid: renewing it needs no restart."""

    def __init__(self, read: Callable[[], IssuerIdentity]) -> None:
        """Read the files now.

        Raises:
            IdentityError: they cannot be read or understood.
        """
        self._read = read
        self._issuer = read()

    def certify(self, request: StreamKey) -> tuple[bytes, ...]:
        """See `Identity.certify`."""
        try:
            return self._issuer.certify(request)
        except IdentityError as error:
            self._read_again(error)
            return self._issuer.certify(request)

    def check_validity(self) -> None:
        """See `IssuerIdentity.check_validity`; for now."""
        try:
            self._issuer.check_validity()
        except IdentityError as error:
            self._read_again(error)
            self._issuer.check_validity()

    def _read_again(self, error: IdentityError) -> None:
        try:
            self._issuer = self._read()
        except IdentityError as unreadable:  # a pipe, say, or the process may not any more
            raise IdentityError(f"{error}; and reading it again fails: {unreadable}") from error


class SelfIdentity:
    """The state directory's own issuer, read or made when it is first asked: most processes never write."""

    def __init__(self, directory: Path, *, may_make: bool) -> None:
        self._may_make = may_make
        self.is_fallback_allowed = False
        """In memory only, where the directory holds none and takes none; of records in memory only."""
        self._directory = directory
        self._path = directory / "identity" / "issuer.pem"
        self._pem: bytes | None = None
        self._identity: Identity | None = None

    def certify(self, request: StreamKey) -> tuple[bytes, ...]:
        """See `Identity.certify`."""
        if self._identity is None:
            try:
                from otel_audit.evidence.identity import memory_identity, self_identity
            except ImportError as error:  # no file descriptor is left, say
                raise IdentityError(f"the issuer cannot be loaded: {error}") from error
            if not self._may_make and not self._path.exists():
                raise IdentityError(
                    f"{self._path}: there is no such issuer, so these streams are of another one, and verifiers "
                    "would not know a new one: set OTEL_AUDIT_IDENTITY as the service has it"
                )
            try:
                self._identity = self_identity(self._directory)
                self._pem = read_small(self._path, MOST_PEM_BYTES)
            except (IdentityError, OSError):
                if not self.is_fallback_allowed:
                    raise
                self._identity = memory_identity()
        return self._identity.certify(request)

    def put_back(self) -> None:
        """Make the issuer's file anew, after someone removed it: later streams keep the issuer of earlier ones."""
        if self._pem is not None:
            create_once(self._path, self._pem)
