"""Looks at where records go: which protocol to which address, and what answers there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from otel_audit.cli.doctor.look import Look
from otel_audit.endpoint import GRPC_PORT, HTTP_PORT, Endpoint
from otel_audit.errors import InvalidSetting
from otel_audit.settings import Settings
from otel_audit.variables import OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT as ADDRESS
from otel_audit.variables import OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL as PROTOCOL

_PATIENCE_S = 5.0
"""Somebody watches; a sink that takes longer for an empty request is no good for records either."""

_DISTRO_SETS = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
}
"""opentelemetry-distro 0.66: `os.environ.setdefault`, before any hook is called."""


def as_instrumented(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment as the application has it under `opentelemetry-instrument`: the stock distro adds to it."""
    wanted = environ.get("OTEL_PYTHON_DISTRO")
    # as opentelemetry-instrumentation 0.66 chooses: the one that is named, else the first that it finds
    distro = next((d for d in entry_points(group="opentelemetry_distro") if wanted in (None, d.name)), None)
    is_stock = distro is not None and distro.value.startswith("opentelemetry.distro:")
    return {**(_DISTRO_SETS if is_stock else {}), **environ}


def look_at_collector(environ: Mapping[str, str]) -> Iterator[Look]:
    """Is the configured endpoint there, and does it take logs? An empty request is sent, no record."""
    try:
        here = Settings.from_environ(environ)
        settings = Settings.from_environ(as_instrumented(environ))
    except InvalidSetting:
        yield Look("collector", "endpoint", "note", "not looked at: a setting is wrong, see above")
        return
    endpoint, outside = settings.endpoint, here.endpoint
    if endpoint is None or outside is None:
        if settings.exporter == "none":
            message = "none is set here, and OTEL_AUDIT_EXPORTER=none: otel-audit ship delivers, where one is set"
            yield Look("collector", "endpoint", "note", message, "Run the doctor with the environment of ship too.")
        else:
            yield Look("collector", "endpoint", "ok", "none is set: the log stays on this machine")
        return
    if endpoint.protocol != outside.protocol:
        message = (
            f"{endpoint.protocol} under opentelemetry-instrument, whose stock distro sets "
            f"OTEL_EXPORTER_OTLP_PROTOCOL=grpc; {outside.protocol} elsewhere (otel-audit ship and recover)"
        )
        yield Look("collector", "protocol", "note", message, f"Set {PROTOCOL} to the one that is meant.")
    yield from _disagreement(endpoint)
    yield _answer(settings.origins[ADDRESS].source, endpoint)


def _disagreement(endpoint: Endpoint) -> Iterator[Look]:
    address = endpoint.target if "://" in endpoint.target else f"//{endpoint.target}"
    port, other = (HTTP_PORT, "http/protobuf") if endpoint.protocol == "grpc" else (GRPC_PORT, "grpc")
    if urlsplit(address).port == port:
        message = f"{endpoint.protocol} to port {port}, where collectors speak {other}"
        yield Look("collector", "port", "note", message, f"Set {PROTOCOL}={other}, or the other port.")


def _answer(variable: str, endpoint: Endpoint) -> Look:
    from otel_audit.export.loop import open_transport
    from otel_audit.export.outcome import Delivered, Partial, Refused, Retry

    transport = open_transport(replace(endpoint, timeout_s=min(endpoint.timeout_s, _PATIENCE_S)))
    try:
        outcome = transport.send(b"")
    finally:
        transport.close()
    by = f"{endpoint.target}, by {endpoint.protocol}"
    waits = "Until then records wait in the spool, and nothing is lost."
    match outcome:
        case Delivered():
            return Look("collector", variable, "ok", f"{by}: takes OTLP logs (an empty request was acknowledged)")
        case Retry():
            return Look("collector", variable, "wrong", f"{by}: {outcome.why}", waits)
        case Refused() | Partial():
            message = f"{by}: is there, and refuses an empty request ({outcome.why})"
            return Look("collector", variable, "note", message, "Only a record shows whether it takes records.")
