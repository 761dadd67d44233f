"""Looks at what this machine keeps: settings, spool, identity, clock."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from otel_audit.cli.doctor.look import Look
from otel_audit.cli.reading import known_issuers
from otel_audit.errors import IdentityError, InvalidSetting, SourceError
from otel_audit.evidence.identity import holds_private_key, local_issuers
from otel_audit.settings import Settings
from otel_audit.variables import VARIABLES

EXPIRY_NOTICE = timedelta(days=30)
"""The common notice of certificate monitoring (Let's Encrypt renews at this age)."""
_GIB = 1 << 30


def look_at_settings(environ: Mapping[str, str]) -> Iterator[Look]:
    """Each variable on its own, so that every mistake shows at once and not the first alone."""
    known = {variable.name for variable in VARIABLES}
    for variable in VARIABLES:
        text = environ.get(variable.name, "").strip()
        try:
            if text:
                variable.parse(text)
        except (ValueError, OSError) as error:
            shown = "(hidden)" if variable.secret else f"'{text}'"
            yield Look(
                "settings", variable.name, "wrong", f"{shown}: {error}", "Correct it; until then nothing starts."
            )
    for name in sorted(environ):
        if name.startswith("OTEL_AUDIT_") and name not in known and not name.startswith("OTEL_AUDIT_EXPORTER"):
            yield Look("settings", name, "note", "no such setting: it changes nothing", "Compare its spelling.")
    if "OTEL_SERVICE_NAME" not in environ and "service.name=" not in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        message = "is not set: streams are those of unknown_service"
        yield Look("settings", "OTEL_SERVICE_NAME", "note", message, "Set it, as the service itself has it.")
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Look(
            "settings", "OTEL_SDK_DISABLED", "note", "true: tracing is off, auditing is not switched off by it"
        )
    if environ.get("OTEL_AUDIT_ENABLED", "").strip().lower() == "false":
        yield Look(
            "settings",
            "OTEL_AUDIT_ENABLED",
            "wrong",
            "false: nothing is audited",
            "Remove it, unless that is meant.",
        )


def look_at_policy(settings: Settings) -> Look:
    """Can the policy be read, so that a start succeeds?"""
    from otel_audit.configure import read_policy

    try:
        policy = read_policy(settings)
    except InvalidSetting as error:
        return Look("settings", "policy", "wrong", str(error), "Correct it; until then nothing starts.")
    return Look("settings", "policy", "ok", f"{settings.policy_path or 'built in'}, SHA-256 {policy.digest[:16]}…")


def look_at_coverage(settings: Settings) -> Iterator[Look]:
    """Can the manifest of what is audited be read, where one is set?"""
    from otel_audit.configure import read_coverage_digest

    try:
        digest = read_coverage_digest(settings)
    except InvalidSetting as error:
        yield Look("settings", "coverage", "wrong", str(error), "Write it: otel-audit coverage --write.")
    else:
        if digest is not None:
            yield Look("settings", "coverage", "ok", f"{settings.coverage_path}, SHA-256 {digest[:16]}…")


def look_at_spool(settings: Settings) -> Iterator[Look]:
    """Can records be kept, by whom can they be read, and how much room is left?"""
    directory = settings.directory
    if directory is None:
        yield Look(
            "spool", "directory", "note", "memory: records do not survive the process", "Set OTEL_AUDIT_DIR."
        )
        return
    if directory.exists() and not directory.is_dir():
        yield Look("spool", "directory", "wrong", f"{directory} is not a directory", "Set OTEL_AUDIT_DIR to one.")
        return
    if not directory.exists():
        above = next(parent for parent in directory.parents if parent.exists())
        if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
            yield Look("spool", "directory", "ok", f"{directory} does not exist yet; the first event makes it")
        else:
            yield Look(
                "spool", "directory", "wrong", f"{directory} cannot be made", f"Allow this user to write {above}."
            )
        return
    yield _writable(directory)
    yield _private(directory)
    yield from _room(directory, settings)
    yield _crashed(directory, settings)
    yield _whole(directory, settings)


def _writable(directory: Path) -> Look:
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"\0")
            file.flush()
    except OSError as error:
        message = f"{directory} cannot be written ({error.strerror})"
        return Look(
            "spool", "directory", "wrong", message, "Make it writable for the user that the service runs as."
        )
    return Look("spool", "directory", "ok", f"{directory} can be written")


def _private(directory: Path) -> Look:
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & 0o077:
        message = f"{directory} is open to others (mode {mode:04o}): records say who did what"
        return Look("spool", "permissions", "note", message, f"chmod 0700 {directory}")
    return Look("spool", "permissions", "ok", "only its owner may read it")


def _crashed(directory: Path, settings: Settings) -> Look:
    from otel_audit.spool.layout import service_directory
    from otel_audit.spool.recovery import find_crashed

    crashed = find_crashed(service_directory(directory, settings.service_name))
    if crashed is None:
        return Look(
            "spool", "crashes", "ok", f"no stream of {settings.service_name} is left open by a dead process"
        )
    message = f"stream {crashed.name} was left open by a process that is gone"
    return Look(
        "spool", "crashes", "note", message, "The next start ends it within a minute; or now: otel-audit recover."
    )


def _whole(directory: Path, settings: Settings) -> Look:
    """What the ends of crashed streams were like. No verifier sees a hole: it may be a power cut's, or made."""
    from otel_audit.spool.ends import read_end
    from otel_audit.spool.layout import service_directory, stream_directories

    holed = altered = 0
    last = directory
    for stream in stream_directories(service_directory(directory, settings.service_name)):
        end = read_end(stream)
        if end is not None and end.how == "altered":
            altered, last = altered + 1, stream
        elif next(stream.glob("*.torn"), None) is not None:
            holed, last = holed + 1, stream
    if altered:
        message = f"streams that were altered before they were ended: {altered}, one of them {last}"
        return Look(
            "spool", "holes", "wrong", message, "otel-audit verify says what is wrong; find out who wrote there."
        )
    if holed:
        message = f"streams with a hole, as a power cut leaves it: {holed}, one of them {last}"
        step = "Nothing where the power was lost; else keep a copy of it, and find out who can write there."
        return Look("spool", "holes", "note", message, step)
    return Look("spool", "holes", "ok", "no crashed stream was found altered or with a hole")


def _room(directory: Path, settings: Settings) -> Iterator[Look]:
    volume = shutil.disk_usage(directory)
    reserve = settings.spool_reserve.of(volume.total)
    free = f"{volume.free / _GIB:,.1f} GiB free of {volume.total / _GIB:,.1f} GiB"
    if volume.free <= reserve:
        message = f"{free}, the reserve is {reserve / _GIB:,.1f} GiB: the spool counts as full"
        yield Look("spool", "room", "wrong", message, "Free room on the volume, or lower OTEL_AUDIT_SPOOL_RESERVE.")
    else:
        yield Look("spool", "room", "ok", f"{free}, reserve {reserve / _GIB:,.1f} GiB")
    # Blocks, not sizes: a live segment is as long as it may become
    used = sum(path.stat().st_blocks * 512 for path in directory.rglob("*.jsonl") if path.is_file())
    limit = settings.spool_max_bytes
    message = f"{used / _GIB:,.3f} GiB used of at most {limit / _GIB:,.1f} GiB"
    if used >= limit:
        yield Look(
            "spool", "limit", "wrong", message, "Raise OTEL_AUDIT_SPOOL_MAX_BYTES, or set a local retention."
        )
    else:
        yield Look("spool", "limit", "ok", message)


def look_at_identity(settings: Settings) -> Iterator[Look]:
    """Who certifies the keys of streams, and for how long still?"""
    try:
        if settings.identity == "self":
            yield from _look_at_own_issuer(settings)
        else:
            yield _look_at_file(settings)
    except (IdentityError, SourceError) as error:
        yield Look("identity", "issuer", "wrong", str(error), "Correct OTEL_AUDIT_IDENTITY.")
    except OSError as error:
        message = f"{error.filename}: cannot be read ({error.strerror})"
        yield Look("identity", "issuer", "wrong", message, "Run this as the user that the service runs as.")


def _look_at_own_issuer(settings: Settings) -> Iterator[Look]:
    issuers = local_issuers(settings.directory) if settings.directory is not None else []
    if not issuers:
        yield Look("identity", "issuer", "ok", "none yet: the first event makes one")
        return
    left = min(issuer.not_valid_after_utc for issuer in issuers) - datetime.now(UTC)
    yield _validity(left)
    if settings.directory is not None and holds_private_key(settings.directory):
        message = "its private key lies on this machine: whoever controls the machine can sign in its name"
        yield Look(
            "identity", "private key", "note", message, "Copy the log elsewhere, or use an issuer kept elsewhere."
        )


def _look_at_file(settings: Settings) -> Look:
    from otel_audit.issuers import FileIdentity, open_identity

    identity = open_identity(settings)
    if isinstance(identity, FileIdentity):
        identity.check_validity()
    (issuer, *_) = known_issuers(settings)
    return _validity(issuer.not_valid_after_utc - datetime.now(UTC))


def _validity(left: timedelta) -> Look:
    if left <= timedelta(0):
        return Look(
            "identity", "issuer", "wrong", "its certificate has expired", "Issue a new one: otel-audit keys init."
        )
    message = f"valid for {left.days:,} more days"
    if left < EXPIRY_NOTICE:
        return Look("identity", "issuer", "note", message, "Issue a new one before that: otel-audit keys init.")
    return Look("identity", "issuer", "ok", message)


def look_at_clock(settings: Settings) -> Iterator[Look]:
    """Is the machine's time plausible, and does something keep it so?"""
    directory = settings.directory
    newest = 0.0
    if directory is not None and directory.exists():
        newest = max((path.stat().st_mtime for path in directory.rglob("*.jsonl")), default=0.0)
    now = time.time()
    if newest > now + 60:
        message = f"records were written {newest - now:,.0f} s in the future: the clock was set back, or was wrong"
        yield Look("clock", "plausibility", "wrong", message, "Correct the clock before anything is recorded.")
    else:
        yield Look("clock", "plausibility", "ok", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}, not before any record")
    yield _synchronised()


class _Timex(ctypes.Structure):
    # linux/timex.h; only `status` is read, the rest of the kernel's 208 bytes is room for it to write to
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


def _synchronised() -> Look:
    timex = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    # modes 0 reads without changing anything and needs no privilege (adjtimex(2))
    state = libc.adjtimex(ctypes.byref(timex)) if hasattr(libc, "adjtimex") else -1
    if state < 0:
        return Look(
            "clock", "time service", "note", "cannot be asked here", "See to it that the host's clock is kept."
        )
    if state == _TIME_ERROR or timex.status & _STA_UNSYNC:
        message = "the kernel says that nothing keeps the clock synchronised"
        return Look(
            "clock",
            "time service",
            "note",
            message,
            "Start one (chrony, systemd-timesyncd), or ask the host's owner.",
        )
    return Look("clock", "time service", "ok", "the clock is synchronised")
