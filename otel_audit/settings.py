"""What the environment says: one frozen `Settings`, read from a mapping that is given.

The only module that reads the environment; the table of its variables is `variables`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from otel_audit.endpoint import (
    Endpoint,
    Protocol,
    credentials,
    resolve_protocol,
    resolve_target,
    standard_timeout,
    without_credentials,
)
from otel_audit.errors import InvalidSetting
from otel_audit.variable_values import UNIX, Network, Reserve, parse_items
from otel_audit.variables import (
    OTEL_AUDIT_DIR,
    OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT,
    OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL,
    OTEL_AUDIT_EXPORTER_OTLP_TIMEOUT,
    OTEL_AUDIT_HASH_KEY,
    OTEL_AUDIT_HASH_KEY_FILE,
    OTEL_AUDIT_LOCAL_RETENTION,
    OTEL_AUDIT_TRUSTED_PROXIES,
    VARIABLES,
    Variable,
)

_RESOURCE_KEY = re.compile(r"[\x21-\x7e]{1,256}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting's value came from."""

    value: str
    """As it was written, or the default; `(set)` where it is secret."""
    source: str
    """The variable's name, or `default`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says, checked. Durations are timedeltas, sizes are bytes."""

    enabled: bool = True
    directory: Path | None = None
    """State directory: spool, identity, hash key; None is `memory:`."""
    identity: str = "self"
    """`self`, or `file:CERT.pem,KEY.pem`."""
    identity_passphrase_file: Path | None = None
    sign: Literal["seal", "record"] = "seal"
    seal_interval: timedelta = timedelta(seconds=5)
    seal_records: int = 1000
    heartbeat_interval: timedelta = timedelta(seconds=60)
    stream_max_age: timedelta = timedelta(hours=24)
    stream_max_records: int = 1_000_000
    stream_max_bytes: int = 256 << 20
    fsync: Literal["interval", "always", "never"] = "interval"
    fail_mode: Literal["open", "closed"] = "open"
    spool_max_bytes: int = 10 << 30
    spool_reserve: Reserve = field(default_factory=lambda: Reserve(percent=5.0))
    local_retention: timedelta | None = None
    """Counted from the end of a stream, where there is an exporter from its delivery; None: for ever."""
    exporter: Literal["thread", "none"] = "thread"
    attributes: Literal["all", "core"] = "all"
    otlp_address: str | None = None
    otlp_protocol: Protocol = "http/protobuf"
    otlp_headers: tuple[tuple[str, str], ...] = ()
    otlp_timeout: timedelta = timedelta(seconds=10)
    otlp_compression: Literal["none", "gzip"] = "none"
    otlp_certificate: Path | None = None
    otlp_client_certificate: Path | None = None
    otlp_client_key: Path | None = None
    otlp_insecure: bool = False
    endpoint: Endpoint | None = None
    """What the `otlp_*` members mean together; None: records stay on this machine."""
    policy_path: Path | None = None
    coverage_path: Path | None = None
    """Manifest of what is audited; its digest stands in the open record."""
    excluded_paths: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    trusts_unix_socket: bool = False
    """A peer without an address, on a unix socket, is a trusted proxy: `unix` among the networks."""
    actor_header: str | None = None
    hash_key: bytes | None = None
    """None: the one made in the state directory."""
    query_text: Literal["none", "summary", "sanitized"] = "sanitized"
    sql_comment: bool = False
    service_name: str = "unknown_service"
    has_resource_detectors: bool = False
    """`OTEL_EXPERIMENTAL_RESOURCE_DETECTORS` names some."""
    resource: Mapping[str, str] = field(default_factory=dict[str, str])
    """What `OTEL_RESOURCE_ATTRIBUTES` says, `service.name` included."""
    origins: Mapping[str, Origin] = field(default_factory=dict[str, Origin], compare=False)
    """By variable: its value and where that came from."""

    @staticmethod
    def from_environ(environ: Mapping[str, str]) -> Settings:
        """Read every variable of `VARIABLES`, and the standard ones that name the service.

        Raises:
            InvalidSetting: the first variable with a value that is not accepted.
        """
        values: dict[str, object] = {}
        origins: dict[str, Origin] = {}
        for variable in VARIABLES:
            name, text = first_set(environ, variable)
            if text:
                values[variable.field] = _parsed(variable, name, text)
                origins[variable.name] = Origin("(set)" if variable.secret else without_credentials(text), name)
            else:
                origins[variable.name] = Origin(variable.default, "default")
        if OTEL_AUDIT_DIR not in environ or not environ[OTEL_AUDIT_DIR].strip():
            directory, source = default_directory(environ)
            values["directory"] = directory
            origins[OTEL_AUDIT_DIR] = Origin(str(directory), source)
        if environ.get(OTEL_AUDIT_HASH_KEY, "").strip() and environ.get(OTEL_AUDIT_HASH_KEY_FILE, "").strip():
            raise InvalidSetting(
                "OTEL_AUDIT_HASH_KEY and OTEL_AUDIT_HASH_KEY_FILE are both set: expected one of them"
            )
        values["trusts_unix_socket"] = UNIX in parse_items(environ.get(OTEL_AUDIT_TRUSTED_PROXIES, ""))
        resource = _resource(environ)
        values["resource"] = resource
        values["has_resource_detectors"] = bool(environ.get("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "").strip())
        values["service_name"] = resource["service.name"]
        for standard in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
            if environ.get(standard):
                origins[standard] = Origin(environ[standard], standard)
        origins.setdefault("OTEL_SERVICE_NAME", Origin(resource["service.name"], "default"))
        values["origins"] = origins
        settings = Settings(**values)  # type: ignore[arg-type]  # VARIABLES pairs each field with its parser
        settings = replace(settings, endpoint=_endpoint(settings))
        if settings.is_delivered and origins[OTEL_AUDIT_LOCAL_RETENTION].source == "default":
            origins[OTEL_AUDIT_LOCAL_RETENTION] = Origin("24h", "default")
            settings = replace(settings, local_retention=timedelta(hours=24))
        return settings

    @property
    def is_delivered(self) -> bool:
        """Whether somebody delivers the spool: this process, or `otel-audit ship` in its place."""
        return self.endpoint is not None or self.exporter == "none"


def _endpoint(settings: Settings) -> Endpoint | None:
    address, origins = settings.otlp_address, settings.origins
    if address is None:
        return None
    protocol = resolve_protocol(address, settings.otlp_protocol, origins[OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL].source)
    source = origins[OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT].source
    target, is_secure = resolve_target(address, protocol, source, insecure=settings.otlp_insecure)
    if (settings.otlp_client_certificate is None) != (settings.otlp_client_key is None):
        raise InvalidSetting(
            "OTEL_AUDIT_EXPORTER_OTLP_CLIENT_CERTIFICATE and _CLIENT_KEY: expected both of them, or neither"
        )
    return Endpoint(
        protocol,
        target,
        is_secure,
        headers={**credentials(address), **dict(settings.otlp_headers)},
        timeout_s=standard_timeout(
            origins[OTEL_AUDIT_EXPORTER_OTLP_TIMEOUT].source, settings.otlp_timeout
        ).total_seconds(),
        compression=settings.otlp_compression,
        certificate=settings.otlp_certificate,
        client_certificate=settings.otlp_client_certificate,
        client_key=settings.otlp_client_key,
    )


def default_directory(environ: Mapping[str, str]) -> tuple[Path, str]:
    """The state directory when `OTEL_AUDIT_DIR` is unset, and the variable that it follows.

    systemd sets `STATE_DIRECTORY` (a colon-separated list: the first counts); else the XDG base directory
    specification's state home.
    """
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return Path(state), "STATE_DIRECTORY"
    xdg = environ.get("XDG_STATE_HOME", "")
    if xdg and Path(xdg).is_absolute():
        return Path(xdg) / "otel-audit", "XDG_STATE_HOME"
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - falls back to the password database
    return Path(home) / ".local" / "state" / "otel-audit", "HOME"


def first_set(environ: Mapping[str, str], variable: Variable) -> tuple[str, str]:
    """The name and the value of the first of a variable and its fallbacks that is set; no value where none is."""
    for name in (variable.name, *variable.fallbacks):
        text = environ.get(name, "").strip()
        if text:
            return name, text
    return variable.name, ""


def _parsed(variable: Variable, name: str, text: str) -> object:
    try:
        return variable.parse(text)
    except (ValueError, OSError) as error:
        shown = "(hidden)" if variable.secret else repr(without_credentials(text))
        raise InvalidSetting(f"{name}={shown}: {error}") from error


def _resource(environ: Mapping[str, str]) -> dict[str, str]:
    """`OTEL_RESOURCE_ATTRIBUTES` (key=value, comma-separated, values percent-encoded) under `OTEL_SERVICE_NAME`."""
    resource: dict[str, str] = {}
    for item in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, equals, value = item.partition("=")
        if equals and key.strip() and value.strip():
            resource[key.strip()] = unquote(value.strip())
    service = environ.get("OTEL_SERVICE_NAME", "").strip()
    if service:
        resource["service.name"] = service
    resource.setdefault("service.name", "unknown_service")
    # what is not UTF-8 comes as lone surrogates (PEP 383), which no record can carry
    resource = {
        key: value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        for key, value in resource.items()
    }
    for key in resource:
        if _RESOURCE_KEY.fullmatch(key) is None or key.startswith("audit."):
            raise InvalidSetting(f"OTEL_RESOURCE_ATTRIBUTES: {key!r}: expected a name of ASCII, not of 'audit.*'")
    if len(json.dumps(resource, ensure_ascii=False).encode()) > 8192:
        raise InvalidSetting(
            "OTEL_RESOURCE_ATTRIBUTES: expected at most 8192 bytes of JSON, they stand in a record"
        )
    if len(resource["service.name"]) > 64:
        # RFC 5280 ub-organization-name: the certificate of each stream carries it as its one O
        raise InvalidSetting(
            f"OTEL_SERVICE_NAME={resource['service.name']!r}: expected at most 64 characters, "
            "because it stands in the certificate of every stream"
        )
    if len(quote(resource["service.name"], safe="")) > 253:
        # NAME_MAX of every file system in use is 255; a leading dot is encoded too
        raise InvalidSetting(
            f"OTEL_SERVICE_NAME={resource['service.name']!r}: expected at most 253 characters when "
            "percent-encoded, because that is the name of a directory"
        )
    return resource
