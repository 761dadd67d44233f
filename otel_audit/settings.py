"""Every setting: one table of variables, one frozen `Settings`, read from a mapping that is given.

The only module that reads the environment. It is also what `opentelemetry-instrument` loads to offer each
variable as a command-line flag (entry point group `opentelemetry_environment_variables`: it takes every
module attribute whose name begins with `OTEL_`).
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar
from urllib.parse import quote, unquote

from otel_audit.endpoint import (
    Endpoint,
    Protocol,
    credentials,
    parse_address,
    parse_headers,
    resolve_protocol,
    resolve_target,
    standard_timeout,
    without_credentials,
)
from otel_audit.errors import InvalidSetting

T = TypeVar("T")
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

OTEL_AUDIT_ENABLED = "OTEL_AUDIT_ENABLED"
OTEL_AUDIT_DIR = "OTEL_AUDIT_DIR"
OTEL_AUDIT_IDENTITY = "OTEL_AUDIT_IDENTITY"
OTEL_AUDIT_IDENTITY_PASSPHRASE_FILE = "OTEL_AUDIT_IDENTITY_PASSPHRASE_FILE"  # noqa: S105 - a variable's name
OTEL_AUDIT_SIGN = "OTEL_AUDIT_SIGN"
OTEL_AUDIT_SEAL_INTERVAL = "OTEL_AUDIT_SEAL_INTERVAL"
OTEL_AUDIT_SEAL_RECORDS = "OTEL_AUDIT_SEAL_RECORDS"
OTEL_AUDIT_HEARTBEAT_INTERVAL = "OTEL_AUDIT_HEARTBEAT_INTERVAL"
OTEL_AUDIT_STREAM_MAX_AGE = "OTEL_AUDIT_STREAM_MAX_AGE"
OTEL_AUDIT_STREAM_MAX_RECORDS = "OTEL_AUDIT_STREAM_MAX_RECORDS"
OTEL_AUDIT_STREAM_MAX_BYTES = "OTEL_AUDIT_STREAM_MAX_BYTES"
OTEL_AUDIT_FSYNC = "OTEL_AUDIT_FSYNC"
OTEL_AUDIT_FAIL_MODE = "OTEL_AUDIT_FAIL_MODE"
OTEL_AUDIT_SPOOL_MAX_BYTES = "OTEL_AUDIT_SPOOL_MAX_BYTES"
OTEL_AUDIT_SPOOL_RESERVE = "OTEL_AUDIT_SPOOL_RESERVE"
OTEL_AUDIT_LOCAL_RETENTION = "OTEL_AUDIT_LOCAL_RETENTION"
OTEL_AUDIT_POLICY = "OTEL_AUDIT_POLICY"
OTEL_AUDIT_EXCLUDED_PATHS = "OTEL_AUDIT_EXCLUDED_PATHS"
OTEL_AUDIT_TRUSTED_PROXIES = "OTEL_AUDIT_TRUSTED_PROXIES"
OTEL_AUDIT_ACTOR_HEADER = "OTEL_AUDIT_ACTOR_HEADER"
OTEL_AUDIT_HASH_KEY = "OTEL_AUDIT_HASH_KEY"
OTEL_AUDIT_HASH_KEY_FILE = "OTEL_AUDIT_HASH_KEY_FILE"
OTEL_AUDIT_QUERY_TEXT = "OTEL_AUDIT_QUERY_TEXT"
OTEL_AUDIT_SQL_COMMENT = "OTEL_AUDIT_SQL_COMMENT"
OTEL_AUDIT_EXPORTER = "OTEL_AUDIT_EXPORTER"
OTEL_AUDIT_ATTRIBUTES = "OTEL_AUDIT_ATTRIBUTES"
OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT = "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT"
OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL = "OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL"
OTEL_AUDIT_EXPORTER_OTLP_HEADERS = "OTEL_AUDIT_EXPORTER_OTLP_HEADERS"
OTEL_AUDIT_EXPORTER_OTLP_TIMEOUT = "OTEL_AUDIT_EXPORTER_OTLP_TIMEOUT"
OTEL_AUDIT_EXPORTER_OTLP_COMPRESSION = "OTEL_AUDIT_EXPORTER_OTLP_COMPRESSION"
OTEL_AUDIT_EXPORTER_OTLP_CERTIFICATE = "OTEL_AUDIT_EXPORTER_OTLP_CERTIFICATE"
OTEL_AUDIT_EXPORTER_OTLP_CLIENT_CERTIFICATE = "OTEL_AUDIT_EXPORTER_OTLP_CLIENT_CERTIFICATE"
OTEL_AUDIT_EXPORTER_OTLP_CLIENT_KEY = "OTEL_AUDIT_EXPORTER_OTLP_CLIENT_KEY"
OTEL_AUDIT_EXPORTER_OTLP_INSECURE = "OTEL_AUDIT_EXPORTER_OTLP_INSECURE"

_UNIX = "unix"
_RESOURCE_KEY = re.compile(r"[\x21-\x7e]{1,256}")
_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_UNITS_BYTES = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def parse_duration(text: str) -> timedelta:
    """`500ms`, `30s`, `5m`, `24h`, `7d` as a positive duration.

    Raises:
        ValueError: anything else; the message says what is expected.
    """
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)", text)
    if match is None or float(match[1]) == 0:
        raise ValueError("expected a duration such as 1s or 500ms (units: ms, s, m, h, d)")
    return timedelta(seconds=float(match[1]) * _UNITS_S[match[2]])


def parse_size(text: str) -> int:
    """`65536`, `64KiB`, `256MiB`, `10GiB` in bytes.

    Raises:
        ValueError: anything else; the message says what is expected.
    """
    match = re.fullmatch(r"([0-9]{1,15})(KiB|MiB|GiB|TiB|)", text)
    if match is None or int(match[1]) == 0:
        raise ValueError("expected a size such as 64MiB (units: KiB, MiB, GiB, TiB, or none for bytes)")
    return int(match[1]) * _UNITS_BYTES[match[2]]


@dataclass(frozen=True, slots=True)
class Reserve:
    """Room on the volume that the spool leaves to others: a share of its size, or bytes."""

    percent: float = 0.0
    size_bytes: int = 0

    def of(self, volume_bytes: int) -> int:
        """The reserve in bytes, on a volume of that size."""
        return self.size_bytes or int(volume_bytes * self.percent / 100)


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable as the documentation and `otel-audit doctor` show it."""

    name: str
    field: str
    """The member of `Settings` that it sets."""
    default: str
    meaning: str
    parse: Callable[[str], object]
    secret: bool = False
    fallbacks: tuple[str, ...] = ()
    """Standard variables that count where it is unset, the first that is set of them."""


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
        values["trusts_unix_socket"] = _UNIX in _items(environ.get(OTEL_AUDIT_TRUSTED_PROXIES, ""))
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


def _timeout(text: str) -> timedelta:
    """A duration, or as the specification has it, milliseconds."""
    return parse_duration(f"{text}ms" if text.isdecimal() else text)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("expected true or false")
    return text.lower() == "true"


def _one_of(*accepted: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in accepted:
            raise ValueError(f"expected one of {', '.join(accepted)}")
        return text

    return parse


def _within(parse: Callable[[str], T], low: T, high: T, words: str) -> Callable[[str], T]:
    def checked(text: str) -> T:
        value = parse(text)
        if not low <= value <= high:  # type: ignore[operator]  # durations and integers both compare
            raise ValueError(f"expected {words}")
        return value

    return checked


def _directory(text: str) -> Path | None:
    if text == "memory:":
        return None
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("expected an absolute path, or memory:")
    return path


def _identity(text: str) -> str:
    if text == "self":
        return text
    scheme, _, paths = text.partition(":")
    if scheme != "file" or len(paths.split(",")) != 2 or not all(paths.split(",")):
        raise ValueError("expected self, or file:CERT.pem,KEY.pem")
    return text


def _integer(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,12}", text) is None:
        raise ValueError("expected a whole number")
    return int(text)


def _reserve(text: str) -> Reserve:
    match = re.fullmatch(r"([0-9]{1,2}(?:\.[0-9]{1,3})?)%", text)
    if match is not None:
        return Reserve(percent=float(match[1]))
    try:
        return Reserve(size_bytes=parse_size(text))
    except ValueError as error:
        raise ValueError("expected a share such as 5%, or a size such as 1GiB") from error


def _retention(text: str) -> timedelta | None:
    if text == "forever":
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError("expected forever, or a duration such as 90d") from error


def _items(text: str) -> tuple[str, ...]:
    if not text.isascii():
        text.encode()  # a ValueError where it is not UTF-8: these stand in the policy's text, which records carry
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(item) for item in _items(text) if item != _UNIX)
    except ValueError as error:
        raise ValueError(f"expected networks such as 10.0.0.0/8, or {_UNIX}, comma-separated ({error})") from error


def _header(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text) is None:
        raise ValueError("expected the name of a header, such as X-Forwarded-User")
    return text


def _key(text: str) -> bytes:
    if len(text) < 16:
        raise ValueError("expected at least 16 characters")
    return text.encode()


def _key_file(text: str) -> bytes:
    return _key(Path(text).read_text(encoding="utf-8").strip())


def _otlp(option: str) -> tuple[str, ...]:
    """Standard variables that an `OTEL_AUDIT_EXPORTER_OTLP_` one falls back to: the signal's, then all signals'."""
    return (f"OTEL_EXPORTER_OTLP_LOGS_{option}", f"OTEL_EXPORTER_OTLP_{option}")


_SEALING = _within(parse_duration, timedelta(milliseconds=100), timedelta(seconds=300), "100ms to 300s")

VARIABLES: tuple[Variable, ...] = (
    Variable(OTEL_AUDIT_ENABLED, "enabled", "true", "off switch, announced in the application's log", _boolean),
    Variable(
        OTEL_AUDIT_DIR,
        "directory",
        "~/.local/state/otel-audit",
        "spool, identity, hash key; `memory:` for none; unset: $STATE_DIRECTORY, else $XDG_STATE_HOME/otel-audit",
        _directory,
    ),
    Variable(OTEL_AUDIT_IDENTITY, "identity", "self", "`self`, or `file:CERT.pem,KEY.pem`", _identity),
    Variable(
        OTEL_AUDIT_IDENTITY_PASSPHRASE_FILE,
        "identity_passphrase_file",
        "none",
        "file that holds the passphrase of an encrypted identity key",
        Path,
    ),
    Variable(
        OTEL_AUDIT_SIGN, "sign", "seal", "`seal`, or `record` to sign every record", _one_of("seal", "record")
    ),
    Variable(OTEL_AUDIT_SEAL_INTERVAL, "seal_interval", "5s", "longest time a record stays unsealed", _SEALING),
    Variable(
        OTEL_AUDIT_SEAL_RECORDS,
        "seal_records",
        "1000",
        "most records between two seals",
        _within(_integer, 1, 1_000_000, "1 to 1000000"),
    ),
    Variable(
        OTEL_AUDIT_HEARTBEAT_INTERVAL,
        "heartbeat_interval",
        "60s",
        "a silent stream is sealed this often",
        _SEALING,
    ),
    Variable(
        OTEL_AUDIT_STREAM_MAX_AGE,
        "stream_max_age",
        "24h",
        "a stream, and its key, lives at most this long",
        _within(parse_duration, timedelta(seconds=10), timedelta(days=30), "10s to 30d"),
    ),
    Variable(
        OTEL_AUDIT_STREAM_MAX_RECORDS,
        "stream_max_records",
        "1000000",
        "a stream has about this many records at most",
        _within(_integer, 10, 1_000_000_000, "10 to 1000000000"),
    ),
    Variable(
        OTEL_AUDIT_STREAM_MAX_BYTES,
        "stream_max_bytes",
        "256MiB",
        "a stream has about this many bytes at most",
        _within(parse_size, 64 << 10, 1 << 40, "64KiB to 1TiB"),
    ),
    Variable(
        OTEL_AUDIT_FSYNC,
        "fsync",
        "interval",
        "`interval` (with each seal), `always` (before emit returns), `never`",
        _one_of("interval", "always", "never"),
    ),
    Variable(
        OTEL_AUDIT_FAIL_MODE,
        "fail_mode",
        "open",
        "`open`: the application goes on when a record cannot be made durable; `closed`: it does not",
        _one_of("open", "closed"),
    ),
    Variable(
        OTEL_AUDIT_SPOOL_MAX_BYTES,
        "spool_max_bytes",
        "10GiB",
        "beyond it the spool counts as full",
        parse_size,
    ),
    Variable(
        OTEL_AUDIT_SPOOL_RESERVE, "spool_reserve", "5%", "room on the volume that is left to others", _reserve
    ),
    Variable(
        OTEL_AUDIT_LOCAL_RETENTION,
        "local_retention",
        "forever",
        "ended streams are removed after this long; where they are delivered, counted from then (default: 24h)",
        _retention,
    ),
    Variable(OTEL_AUDIT_POLICY, "policy_path", "built in", "path of the policy file", Path),
    Variable(
        OTEL_AUDIT_EXCLUDED_PATHS,
        "excluded_paths",
        "none",
        "comma-separated globs of request paths that are not recorded",
        _items,
    ),
    Variable(
        OTEL_AUDIT_TRUSTED_PROXIES,
        "trusted_proxies",
        "none",
        "comma-separated networks whose Forwarded and X-Forwarded-For are believed; `unix`: peers on a unix socket",
        _networks,
    ),
    Variable(
        OTEL_AUDIT_ACTOR_HEADER,
        "actor_header",
        "none",
        "header in which a trusted proxy names the user",
        _header,
    ),
    Variable(
        OTEL_AUDIT_HASH_KEY,
        "hash_key",
        "made in the state directory",
        "key of every `hash:` value, at least 16 characters",
        _key,
        secret=True,
    ),
    Variable(
        OTEL_AUDIT_HASH_KEY_FILE,
        "hash_key",
        "none",
        "file that holds that key, instead of the variable",
        _key_file,
    ),
    Variable(
        OTEL_AUDIT_QUERY_TEXT,
        "query_text",
        "sanitized",
        "how much of a statement is recorded: `none`, `summary`, `sanitized`",
        _one_of("none", "summary", "sanitized"),
    ),
    Variable(
        OTEL_AUDIT_SQL_COMMENT,
        "sql_comment",
        "false",
        "send the trace along with every statement, in a comment (`traceparent`), for the database's own log",
        _boolean,
    ),
    Variable(
        OTEL_AUDIT_EXPORTER,
        "exporter",
        "thread",
        "who delivers: a `thread` of the process, or `none` of it, because `otel-audit ship` does",
        _one_of("thread", "none"),
    ),
    Variable(
        OTEL_AUDIT_ATTRIBUTES,
        "attributes",
        "all",
        "what stands beside the body: `all`, or `core`, the `audit.*` index without `context`",
        _one_of("all", "core"),
    ),
    Variable(
        OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT,
        "otlp_address",
        "none",
        "where records are delivered to; without a path, /v1/logs is appended (HTTP)",
        parse_address,
        fallbacks=_otlp("ENDPOINT"),
    ),
    Variable(
        OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL,
        "otlp_protocol",
        "http/protobuf",
        "`http/protobuf` or `grpc`; unset, an address with port 4317 means `grpc`",
        _one_of("http/protobuf", "grpc"),
        fallbacks=_otlp("PROTOCOL"),
    ),
    Variable(
        OTEL_AUDIT_EXPORTER_OTLP_HEADERS,
        "otlp_headers",
        "none",
        "name=value,name=value, percent-encoded: where a token goes",
        parse_headers,
        secret=True,
        fallbacks=_otlp("HEADERS"),
    ),
    Variable(
        OTEL_AUDIT_EXPORTER_OTLP_TIMEOUT,
        "otlp_timeout",
        "10s",
        "how long one request may take; a bare number is milliseconds",
        _timeout,
        fallbacks=_otlp("TIMEOUT"),
    ),
    Variable(
        OTEL_AUDIT_EXPORTER_OTLP_COMPRESSION,
        "otlp_compression",
        "none",
        "`none` or `gzip`",
        _one_of("none", "gzip"),
        fallbacks=_otlp("COMPRESSION"),
    ),
    Variable(
        OTEL_AUDIT_EXPORTER_OTLP_CERTIFICATE,
        "otlp_certificate",
        "none",
        "PEM of the authorities to trust; unset: the system's",
        Path,
        fallbacks=_otlp("CERTIFICATE"),
    ),
    Variable(
        OTEL_AUDIT_EXPORTER_OTLP_CLIENT_CERTIFICATE,
        "otlp_client_certificate",
        "none",
        "PEM of the certificate to show (mTLS)",
        Path,
        fallbacks=_otlp("CLIENT_CERTIFICATE"),
    ),
    Variable(
        OTEL_AUDIT_EXPORTER_OTLP_CLIENT_KEY,
        "otlp_client_key",
        "none",
        "PEM of its key",
        Path,
        fallbacks=_otlp("CLIENT_KEY"),
    ),
    Variable(
        OTEL_AUDIT_EXPORTER_OTLP_INSECURE,
        "otlp_insecure",
        "false",
        "an address without a scheme means no TLS (gRPC)",
        _boolean,
        fallbacks=_otlp("INSECURE"),
    ),
)
