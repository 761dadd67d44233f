"""Looks at OpenTelemetry's own start, without which nothing is audited: an exporter that is missing ends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points

from otel_audit.cli.doctor.look import Look

_SIGNALS = ("traces", "metrics", "logs")
_BY_PROTOCOL = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_UNAUDITED = "OpenTelemetry does not start, its instrumentations are not loaded and NOTHING IS AUDITED"


def look_at_exporters(environ: Mapping[str, str]) -> Iterator[Look]:
    """Is every exporter installed that the environment names? As opentelemetry-sdk 1.45 reads it.

    *environ* is that of the application, see `as_instrumented`.
    """
    if environ.get("OTEL_CONFIG_FILE", "").strip():
        message = f"{environ['OTEL_CONFIG_FILE']}: takes the place of OTEL_*_EXPORTER; not checked"
        yield Look("opentelemetry", "OTEL_CONFIG_FILE", "note", message, "See that the start logs no failure.")
        return
    for signal in _SIGNALS:
        yield _look_at(signal, environ)


def _look_at(signal: str, environ: Mapping[str, str]) -> Look:
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    text = environ.get(variable, "")
    if not text or text.strip().lower() == "none":
        return Look("opentelemetry", variable, "ok", f"{text.strip() or 'unset'}: no {signal} leave")
    protocol_variable, protocol = _protocol(signal, environ)
    names = [name.strip() for name in text.split(",")]
    if "otlp" in names and protocol not in _BY_PROTOCOL:
        return Look(
            "opentelemetry", protocol_variable, "wrong",
            f"'{protocol}' is no protocol that OpenTelemetry-Python knows: {_UNAUDITED}",
            "Set it to grpc or http/protobuf.",
        )  # fmt: skip
    installed = {found.name for found in entry_points(group=f"opentelemetry_{signal}_exporter")}
    wanted = [_BY_PROTOCOL[protocol] if name == "otlp" else name for name in names]
    missing = [name for name, exporter in zip(names, wanted, strict=True) if exporter not in installed]
    if missing:
        known = ", ".join(sorted({"none", "otlp", *installed}))
        return Look(
            "opentelemetry", variable, "wrong",
            f"'{missing[0]}': no such exporter is installed: {_UNAUDITED}",
            f"Install it, or set {variable} to what is there: {known}.",
        )  # fmt: skip
    return Look("opentelemetry", variable, "ok", f"{', '.join(names)}: installed")


def _protocol(signal: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The protocol of `otlp`, and the variable that says so."""
    for variable in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if environ.get(variable):
            return variable, environ[variable].strip()
    return "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"
