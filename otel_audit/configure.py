"""Builds the pipeline of a process from its settings; the only module that knows every stage."""

from __future__ import annotations

import base64
import functools
import hashlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from otel_audit.capture.coverage import MOST_MANIFEST_BYTES, is_manifest
from otel_audit.capture.hooking import configure_hooking
from otel_audit.capture.http import HttpCaptureConfig, configure_http
from otel_audit.capture.policy import Policy
from otel_audit.capture.redaction import configure_hash_key
from otel_audit.capture.rows import configure_rows
from otel_audit.capture.sql_config import SqlCaptureConfig, configure_sql
from otel_audit.ending import close_with_child, close_with_process
from otel_audit.errors import InvalidSetting
from otel_audit.evidence.canonical import encode
from otel_audit.evidence.stream import Declaration
from otel_audit.export.delivering import Delivering, Pace
from otel_audit.export.exporter import Exporter
from otel_audit.export.metrics import Watched, watch
from otel_audit.export.resource import detected_resource
from otel_audit.issuers import SelfIdentity, open_identity, open_identity_now
from otel_audit.logger import Pipeline, install, installed, uninstall
from otel_audit.pipeline import AuditPipeline, DisabledPipeline
from otel_audit.settings import Settings
from otel_audit.small_files import MOST_TEXT_BYTES, read_small
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.ends import End
from otel_audit.spool.keeper import Keeper
from otel_audit.spool.layout import create_once, make_directory, place_name, service_directory, service_names
from otel_audit.spool.live import Clock, Limits
from otel_audit.spool.recovery import find_crashed
from otel_audit.spool.retention import Retention
from otel_audit.spool.room import Room
from otel_audit.spool.storage import DiskStorage, MemoryStorage, Storage
from otel_audit.spool.succession import WriterConfig
from otel_audit.spool.writer import Writer
from otel_audit.subinterpreters import refuse_subinterpreter

if TYPE_CHECKING:
    from otel_audit.evidence.identity import Identity

_log = logging.getLogger("otel_audit")

_last: AuditPipeline | None = None
"""The pipeline that was shut down last, or is just being."""

SYSTEM_CLOCK = Clock(time.time_ns, time.monotonic_ns, lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME))


@dataclass(frozen=True, slots=True)
class _Ground:
    """Where a process's streams will lie."""

    storage: Storage
    place: str | None
    put_back: Callable[[], None] = lambda: None
    """Makes anew what the state directory holds beside records, as it was, after someone removed it."""


def configure(settings: Settings | None = None, *, identity: Identity | None = None) -> None:
    """Make this process audit: build its pipeline and install it. Called again, it replaces the one before.

    *settings* None: from the environment. *identity* takes the place of `OTEL_AUDIT_IDENTITY`: a KMS, an HSM, or
    any other issuer that the settings do not name.

    Nothing is opened yet: the stream begins with the first event, or now when a crashed process has left one to be
    ended. It is closed when the process ends or is told to; see `ending`.

    Raises:
        NotConfigured: this is no main interpreter.
        InvalidSetting: a variable, or the policy file, says something that is not accepted.
        IdentityError: the files of `OTEL_AUDIT_IDENTITY` cannot be read or understood; in fail mode `closed` also
            when the issuer is not valid at this time.
        OSError: fail mode `closed`, and the spool cannot be written.
    """
    if settings is None:
        settings = Settings.from_environ(os.environ)
    if not settings.enabled:
        _log.warning("otel-audit: auditing is OFF (OTEL_AUDIT_ENABLED=false): nothing is recorded")
        _replace(DisabledPipeline())
        return
    refuse_subinterpreter()
    policy = read_policy(settings)
    alarms = Alarms()
    ground = _prepare(settings, alarms)
    issuer = identity or open_identity_now(settings, alarms)
    if isinstance(issuer, SelfIdentity):
        issuer.is_fallback_allowed = isinstance(ground.storage, MemoryStorage)
    pipeline = build(settings, policy, ground.storage, issuer, alarms, place=ground.place, delivers=True)
    pipeline.keeper.on_start = close_with_child
    pipeline.keeper.on_put_back = functools.partial(_put_back, ground, issuer)
    configure_capture(settings, policy)
    _replace(pipeline)
    watch(Watched(pipeline.writer, pipeline.exporter, settings.directory, settings.is_delivered))
    close_with_process(shutdown_then)
    alarms.say()
    if isinstance(ground.storage, DiskStorage) and find_crashed(ground.storage.service_directory) is not None:
        pipeline.keeper.wake()


def configure_capture(settings: Settings, policy: Policy) -> None:
    """Tell the capture stage what the settings and the policy say of it."""
    configure_hooking(is_refusing=settings.fail_mode == "closed")
    configure_rows(policy.rows)
    configure_http(
        HttpCaptureConfig(
            settings.trusted_proxies, settings.actor_header, trusts_unix_socket=settings.trusts_unix_socket
        )
    )
    configure_sql(SqlCaptureConfig(settings.query_text, settings.sql_comment))


def shutdown(timeout_s: float = 5.0) -> None:
    """Close this process's stream and sync it, waiting at most about *timeout_s* seconds; safe to call twice.

    Afterwards `emit` raises `NotConfigured`, and instrumentations are silent.
    """
    _replace(None, timeout_s)


def shutdown_then(timeout_s: float, then: Callable[[], object]) -> None:
    """As `shutdown`, and *then* do that; for a signal handler, which may interrupt anything.

    In the middle of a record, or of another shutdown, of its own thread it returns at once, and both are done
    right after that.
    """
    _replace(None, timeout_s, then)


def recover(settings: Settings) -> dict[str, list[End]]:
    """End what crashed processes left open in the spool, of every service; how each stream ended, by service.

    Of a service whose streams have all ended nothing is opened. The streams of living processes are left alone.

    Raises:
        InvalidSetting, IdentityError: as `configure`.
        OSError: the spool cannot be read or written; what was recovered before stays so.
    """
    if settings.directory is None:
        raise InvalidSetting(
            "OTEL_AUDIT_DIR=memory: nothing outlives its process there, so nothing can be recovered"
        )
    policy = read_policy(settings)
    found: dict[str, list[End]] = {}
    for service in service_names(settings.directory):
        alarms = Alarms()
        one = replace(settings, service_name=service, resource={**settings.resource, "service.name": service})
        ground = _prepare(replace(one, fail_mode="closed"), alarms)
        pipeline = build(
            one, policy, ground.storage, open_identity(one, may_make=False), alarms, place=ground.place
        )
        try:
            found[service] = pipeline.keeper.recover()
        finally:
            pipeline.shutdown(5.0)
    return found


def build(
    settings: Settings,
    policy: Policy,
    storage: Storage,
    identity: Identity,
    alarms: Alarms,
    *,
    place: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
    delivers: bool = False,
    pace: Pace | None = None,
) -> AuditPipeline:
    """Put a pipeline together without installing it.

    *place* None: nothing is ever retired. *delivers*: to the endpoint of the settings, if there is one, at
    *pace* (None: the usual one).
    """
    declaration = Declaration(
        service=settings.service_name,
        resource={
            "host.name": socket.gethostname(),
            **detected_resource(has_detectors=settings.has_resource_detectors),
            **settings.resource,
            "service.name": settings.service_name,
        },
        policy_text=policy.text,
        sign=settings.sign,
        seal_interval_ms=int(settings.seal_interval.total_seconds() * 1000),
        heartbeat_interval_ms=int(settings.heartbeat_interval.total_seconds() * 1000),
        fail_mode=settings.fail_mode,
        durability="disk" if isinstance(storage, DiskStorage) else "memory",
        coverage_digest=read_coverage_digest(settings),
    )
    limits = Limits(settings.stream_max_age, settings.stream_max_records, settings.stream_max_bytes)
    config = WriterConfig(declaration, limits, settings.seal_records, settings.fsync)
    writer = Writer(config, storage, identity, clock, alarms)
    keep = settings.local_retention
    retention = (
        Retention(keep, place, only_delivered=settings.is_delivered)
        if keep is not None and place is not None
        else None
    )
    keeper = Keeper(writer, retention)
    return AuditPipeline(
        writer, keeper, policy, _exporter(settings, writer, keeper, pace or Pace()) if delivers else None
    )


def _exporter(settings: Settings, writer: Writer, keeper: Keeper, pace: Pace) -> Exporter | None:
    """Who delivers what *writer* writes; None where nobody in this process does."""
    if settings.endpoint is None or settings.exporter == "none":
        return None
    directory = settings.directory if isinstance(writer.storage, DiskStorage) else None
    delivering = Delivering(settings.endpoint, settings.attributes, pace)
    exporter = Exporter(delivering, directory, writer.storage, writer.alarms)
    writer.on_open = exporter.add
    keeper.on_synced = exporter.wake
    return exporter


def read_policy(settings: Settings) -> Policy:
    """The policy in force.

    Raises:
        InvalidSetting: the file cannot be read or understood, or its text does not fit a record.
    """
    path = settings.policy_path
    try:
        text = None if path is None else read_small(path, MOST_TEXT_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"OTEL_AUDIT_POLICY={str(path)!r}: cannot be read ({error})") from error
    policy = Policy.parse(text, excluded_paths=settings.excluded_paths, name=str(path or "built-in policy"))
    if len(encode({"": policy.text})) > 60_000:
        raise InvalidSetting(f"{path}: too many characters that JSON escapes; the text stands in a record")
    return policy


def read_coverage_digest(settings: Settings) -> str | None:
    """Lower-case hex SHA-256 of the manifest of what is audited; None where no setting names one.

    Raises:
        InvalidSetting: the file cannot be read, or is no such manifest.
    """
    path = settings.coverage_path
    if path is None:
        return None
    try:
        manifest = read_small(path, MOST_MANIFEST_BYTES)
    except OSError as error:
        raise InvalidSetting(f"OTEL_AUDIT_COVERAGE={str(path)!r}: cannot be read ({error.strerror})") from error
    if not is_manifest(manifest):
        raise InvalidSetting(
            f"OTEL_AUDIT_COVERAGE={str(path)!r}: expected a file that `otel-audit coverage --write` has made"
        )
    return hashlib.sha256(manifest).hexdigest()


def _put_back(ground: _Ground, issuer: Identity) -> None:
    ground.put_back()
    if isinstance(issuer, SelfIdentity):
        issuer.put_back()


def _prepare(settings: Settings, alarms: Alarms) -> _Ground:
    """The spool, ready to be written to; in fail mode `open` memory instead, where it is not."""
    directory = settings.directory
    if directory is None:
        configure_hash_key(settings.hash_key or secrets.token_bytes(32))
        return _Ground(MemoryStorage(), None)
    try:
        service = service_directory(directory, settings.service_name)
        make_directory(service)
        place = place_name(directory)
        key = settings.hash_key or create_once(directory / "hash.key", base64.b64encode(secrets.token_bytes(32)))
        if not os.access(service, os.W_OK | os.X_OK):
            raise PermissionError(30, "not writable", str(service))
    except OSError as error:
        if settings.fail_mode == "closed":
            raise
        alarms.note(
            "start",
            f"{error.filename or directory}: the spool cannot be written ({error.strerror}); records are kept in "
            "memory only and are lost with the process (and signed by an issuer that no verifier knows, where the "
            "directory's cannot be had): mend it, or set OTEL_AUDIT_DIR, and restart",
        )
        configure_hash_key(settings.hash_key or secrets.token_bytes(32))
        return _Ground(MemoryStorage(), None)
    configure_hash_key(key)

    def put_back() -> None:
        create_once(directory / "place", place.encode())
        if settings.hash_key is None:
            create_once(directory / "hash.key", key)

    return _Ground(
        DiskStorage(
            directory, settings.service_name, Room(directory, settings.spool_max_bytes, settings.spool_reserve)
        ),
        place,
        put_back,
    )


def _replace(pipeline: Pipeline | None, timeout_s: float = 5.0, then: Callable[[], object] = lambda: None) -> None:
    global _last  # noqa: PLW0603 - a signal handler may interrupt its shutdown
    previous = installed() if pipeline is None else install(pipeline)
    if isinstance(previous, AuditPipeline):
        _last = previous
    if _last is None:
        then()
    else:
        _last.shutdown(timeout_s, then)
    # only now: until the stream is closed, other threads and signal handlers may still emit
    if pipeline is None and previous is not None and installed() is previous:
        uninstall(is_closed=_last is not None and _last.is_closed_mode)
