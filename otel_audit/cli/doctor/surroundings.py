"""Looks at what surrounds it: the frameworks and drivers that are installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points

from otel_audit.cli.doctor.look import Look
from otel_audit.cli.hook_trial import failed_hooks_of_a_trial
from otel_audit.cli.libraries import HOOKED, installed_libraries, installed_version, with_failures


def look_at_hooks(environ: Mapping[str, str]) -> Iterator[Look]:
    """Which installed frameworks and drivers are recorded, and which are not?"""
    libraries = list(installed_libraries(environ))
    tried = {HOOKED[library.name]: library for library in libraries if library.is_hooked}
    failures = failed_hooks_of_a_trial(environ, list(tried))
    for found in libraries:
        library = with_failures(found, failures)
        what = f"{library.name} {library.version}"
        if library.is_hooked:
            yield Look("hooks", what, "ok", "hooked")
        elif library.why == "no instrumentation":
            yield Look("hooks", what, "note", f"installed, not hooked: {library.detail}")
        else:
            yield Look("hooks", what, "wrong", f"not hooked: {library.detail}", library.do)
    if not any(True for hook in entry_points(group="opentelemetry_pre_instrument") if hook.name == "otel_audit"):
        do = "Install otel-audit anew: pip install --force-reinstall otel-audit."
        yield Look("hooks", "opentelemetry-instrument", "wrong", "does not find otel-audit: no entry point", do)
    elif installed_version("opentelemetry-instrumentation") is None:
        do = "pip install opentelemetry-instrumentation"
        yield Look("hooks", "opentelemetry-instrument", "wrong", "is not installed", do)
    else:
        yield Look("hooks", "opentelemetry-instrument", "ok", "starts auditing with the application")
