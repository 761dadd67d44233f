"""The table of every environment variable: name, field, default, meaning, how its text is read.

It is also what `opentelemetry-instrument` loads to offer each variable as a command-line flag (entry point group
`opentelemetry_environment_variables`: it takes every module attribute whose name begins with `OTEL_`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from otel_audit.endpoint import parse_address, parse_headers
from otel_audit.variable_values import (
    one_of,
    parse_boolean,
    parse_directory,
    parse_duration,
    parse_header,
    parse_identity,
    parse_integer,
    parse_items,
    parse_key,
    parse_key_file,
    parse_networks,
    parse_reserve,
    parse_retention,
    parse_size,
    parse_timeout,
    within,
)

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
OTEL_AUDIT_COVERAGE = "OTEL_AUDIT_COVERAGE"
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


def _otlp(option: str) -> tuple[str, ...]:
    """Standard variables that an `OTEL_AUDIT_EXPORTER_OTLP_` one falls back to: the signal's, then all signals'."""
    return (f"OTEL_EXPORTER_OTLP_LOGS_{option}", f"OTEL_EXPORTER_OTLP_{option}")


_SEALING = within(parse_duration, timedelta(milliseconds=100), timedelta(seconds=300), "100ms to 300s")

VARIABLES: tuple[Variable, ...] = (
    Variable(
        OTEL_AUDIT_ENABLED, "enabled", "true", "off switch, announced in the application's log", parse_boolean
    ),
    Variable(
        OTEL_AUDIT_DIR,
        "directory",
        "~/.local/state/otel-audit",
        "spool, identity, hash key; `memory:` for none; unset: $STATE_DIRECTORY, else $XDG_STATE_HOME/otel-audit",
        parse_directory,
    ),
    Variable(OTEL_AUDIT_IDENTITY, "identity", "self", "`self`, or `file:CERT.pem,KEY.pem`", parse_identity),
    Variable(
        OTEL_AUDIT_IDENTITY_PASSPHRASE_FILE,
        "identity_passphrase_file",
        "none",
        "file that holds the passphrase of an encrypted identity key",
        Path,
    ),
    Variable(OTEL_AUDIT_SIGN, "sign", "seal", "`seal`, or `record` to sign every record", one_of("seal", "record")),
    Variable(OTEL_AUDIT_SEAL_INTERVAL, "seal_interval", "5s", "longest time a record stays unsealed", _SEALING),
    Variable(
        OTEL_AUDIT_SEAL_RECORDS,
        "seal_records",
        "1000",
        "most records between two seals",
        within(parse_integer, 1, 1_000_000, "1 to 1000000"),
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
        within(parse_duration, timedelta(seconds=10), timedelta(days=30), "10s to 30d"),
    ),
    Variable(
        OTEL_AUDIT_STREAM_MAX_RECORDS,
        "stream_max_records",
        "1000000",
        "a stream has about this many records at most",
        within(parse_integer, 10, 1_000_000_000, "10 to 1000000000"),
    ),
    Variable(
        OTEL_AUDIT_STREAM_MAX_BYTES,
        "stream_max_bytes",
        "256MiB",
        "a stream has about this many bytes at most",
        within(parse_size, 64 << 10, 1 << 40, "64KiB to 1TiB"),
    ),
    Variable(
        OTEL_AUDIT_FSYNC,
        "fsync",
        "interval",
        "`interval` (with each seal), `always` (before emit returns), `never`",
        one_of("interval", "always", "never"),
    ),
    Variable(
        OTEL_AUDIT_FAIL_MODE,
        "fail_mode",
        "open",
        "`open`: the application goes on when a record cannot be made durable; `closed`: it does not",
        one_of("open", "closed"),
    ),
    Variable(
        OTEL_AUDIT_SPOOL_MAX_BYTES,
        "spool_max_bytes",
        "10GiB",
        "beyond it the spool counts as full",
        parse_size,
    ),
    Variable(
        OTEL_AUDIT_SPOOL_RESERVE, "spool_reserve", "5%", "room on the volume that is left to others", parse_reserve
    ),
    Variable(
        OTEL_AUDIT_LOCAL_RETENTION,
        "local_retention",
        "forever",
        "ended streams are removed after this long; where they are delivered, counted from then (default: 24h)",
        parse_retention,
    ),
    Variable(OTEL_AUDIT_POLICY, "policy_path", "built in", "path of the policy file", Path),
    Variable(
        OTEL_AUDIT_COVERAGE,
        "coverage_path",
        "none",
        "manifest that `otel-audit coverage --write` made; its SHA-256 stands in each stream's first record",
        Path,
    ),
    Variable(
        OTEL_AUDIT_EXCLUDED_PATHS,
        "excluded_paths",
        "none",
        "comma-separated globs of request paths that are not recorded",
        parse_items,
    ),
    Variable(
        OTEL_AUDIT_TRUSTED_PROXIES,
        "trusted_proxies",
        "none",
        "comma-separated networks whose Forwarded and X-Forwarded-For are believed; `unix`: peers on a unix socket",
        parse_networks,
    ),
    Variable(
        OTEL_AUDIT_ACTOR_HEADER,
        "actor_header",
        "none",
        "header in which a trusted proxy names the user",
        parse_header,
    ),
    Variable(
        OTEL_AUDIT_HASH_KEY,
        "hash_key",
        "made in the state directory",
        "key of every `hash:` value, at least 16 characters",
        parse_key,
        secret=True,
    ),
    Variable(
        OTEL_AUDIT_HASH_KEY_FILE,
        "hash_key",
        "none",
        "file that holds that key, instead of the variable",
        parse_key_file,
    ),
    Variable(
        OTEL_AUDIT_QUERY_TEXT,
        "query_text",
        "sanitized",
        "how much of a statement is recorded: `none`, `summary`, `sanitized`",
        one_of("none", "summary", "sanitized"),
    ),
    Variable(
        OTEL_AUDIT_SQL_COMMENT,
        "sql_comment",
        "false",
        "send the trace along with every statement, in a comment (`traceparent`), for the database's own log",
        parse_boolean,
    ),
    Variable(
        OTEL_AUDIT_EXPORTER,
        "exporter",
        "thread",
        "who delivers: a `thread` of the process, or `none` of it, because `otel-audit ship` does",
        one_of("thread", "none"),
    ),
    Variable(
        OTEL_AUDIT_ATTRIBUTES,
        "attributes",
        "all",
        "what stands beside the body: `all`, or `core`, the `audit.*` index without `context`",
        one_of("all", "core"),
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
        one_of("http/protobuf", "grpc"),
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
        parse_timeout,
        fallbacks=_otlp("TIMEOUT"),
    ),
    Variable(
        OTEL_AUDIT_EXPORTER_OTLP_COMPRESSION,
        "otlp_compression",
        "none",
        "`none` or `gzip`",
        one_of("none", "gzip"),
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
        parse_boolean,
        fallbacks=_otlp("INSECURE"),
    ),
)
