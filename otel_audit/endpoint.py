"""Where records are delivered to: what the `OTEL_[AUDIT_]EXPORTER_OTLP_*` variables mean together.

Below the settings, which read the variables. The rules are those of the OpenTelemetry specification, "OpenTelemetry
Protocol Exporter", and where it leaves something open, those of the page "Settings" of the design.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

Protocol = Literal["http/protobuf", "grpc"]

LOGS_PATH = "/v1/logs"
HTTP_PORT = 4318
"""Where OTLP/HTTP is received by default (specification, "OpenTelemetry Protocol Exporter"), and no gRPC."""
GRPC_PORT = 4317
"""Likewise OTLP/gRPC, and no HTTP."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LEAST_STANDARD_TIMEOUT = timedelta(seconds=1)
"""The standard variables are milliseconds, but stock OpenTelemetry-Python reads seconds: `10` is 10 s to many."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that acknowledges records."""

    protocol: Protocol
    target: str
    """HTTP: the whole URL. gRPC: `host:port`. Without a password: it is shown to people."""
    is_secure: bool
    """gRPC: TLS or not; HTTP says it in its URL."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout_s: float = 10.0
    compression: Literal["none", "gzip"] = "none"
    certificate: Path | None = None
    """PEM of the authorities to trust; None: those of the system."""
    client_certificate: Path | None = None
    client_key: Path | None = None


def parse_address(text: str) -> str:
    """The address of an endpoint, checked.

    Raises:
        ValueError: it has no host, or a scheme that neither protocol has.
    """
    address = _split(text)
    if address.scheme not in ("http", "https", "") or not address.hostname:
        raise ValueError("expected an address such as https://collector:4318")
    return text


def parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    """`name=value,name=value`, percent-encoded (W3C baggage without its properties); names in lower case.

    Raises:
        ValueError: an item has no name, or a character that a header cannot have. The value is not repeated.
    """
    headers: list[tuple[str, str]] = []
    for item in text.split(","):
        if not item.strip():
            continue
        name, equals, value = (unquote(part.strip()) for part in item.partition("="))
        if not equals or _HEADER_NAME.fullmatch(name) is None or not (value.isascii() and value.isprintable()):
            raise ValueError("expected headers as name=value,name=value, values percent-encoded")
        headers.append((name.lower(), value))
    return tuple(headers)


def standard_timeout(name: str, timeout: timedelta) -> timedelta:
    """*timeout* as the variable *name* means it."""
    return timeout if name.startswith("OTEL_AUDIT_") else max(timeout, _LEAST_STANDARD_TIMEOUT)


def resolve_protocol(address: str, protocol: Protocol, variable: str) -> Protocol:
    """The protocol to speak, which *variable* gives, or `default`.

    opentelemetry-distro 0.66 puts `OTEL_EXPORTER_OTLP_PROTOCOL=grpc` into the environment of whoever sets none, so
    that generic variable is not believed against an address which only HTTP can have: port 4318, or a path. And
    since `otel-audit ship` beside that application is not under the distro, it speaks gRPC to port 4317 unasked.
    """
    parts = _split(address)
    has_path = bool(parts.path.strip("/"))
    if variable == "OTEL_EXPORTER_OTLP_PROTOCOL" and (parts.port == HTTP_PORT or has_path):
        return "http/protobuf"
    if variable == "default" and parts.port == GRPC_PORT and not has_path:
        return "grpc"
    return protocol


def resolve_target(address: str, protocol: Protocol, variable: str, *, insecure: bool) -> tuple[str, bool]:
    """The target of an `Endpoint`, and whether TLS is spoken to it; *variable* is where *address* comes from."""
    parts = _split(address)
    host = parts.netloc.rpartition("@")[2]
    if protocol == "grpc":
        return host, parts.scheme == "https" or (parts.scheme == "" and not insecure)
    path = parts.path
    if variable == "OTEL_EXPORTER_OTLP_ENDPOINT":
        path = path.rstrip("/") + LOGS_PATH
    elif variable.startswith("OTEL_AUDIT_") and path in ("", "/"):
        path = LOGS_PATH
    elif not path:
        path = "/"  # specification: a signal's own endpoint is used as it is
    scheme = parts.scheme or ("http" if insecure else "https")
    return urlunsplit((scheme, host, path, parts.query, "")), scheme == "https"


def credentials(address: str) -> dict[str, str]:
    """The header that the user and password within an address stand for."""
    parts = _split(address)
    if parts.username is None:
        return {}
    text = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def without_credentials(address: str) -> str:
    """*address* as it may be shown."""
    return re.sub(r"//[^/@]*@", "//", address)


def _split(address: str) -> SplitResult:
    """Parts of an address; one without a scheme (gRPC has such) begins with its host."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    _ = parts.port  # refused here and not later: ValueError where it is no number
    return parts
