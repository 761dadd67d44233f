"""Which installed frameworks and drivers leave events in this very process, after the application's import?"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

from otel_audit.capture.hooking import failed_hooks
from otel_audit.cli.libraries import HOOKED, Library, installed_libraries, with_failures


def survey_libraries() -> Iterator[tuple[Library, bool]]:
    """Every installed library that is known, as it is hooked here, and whether the application has loaded it."""
    instrumentors = {hook.name: hook for hook in entry_points(group="opentelemetry_instrumentor")}
    for library in installed_libraries(os.environ):
        if library.is_hooked:
            yield _in_place(library, instrumentors[HOOKED[library.name]].load()()), _is_loaded(library)
        else:
            yield library, _is_loaded(library)


def _is_loaded(library: Library) -> bool:
    return library.module in sys.modules


def _in_place(library: Library, instrumentor: Any) -> Library:
    """*library* as this process has hooked it; *instrumentor* is its one instance, and ours."""
    failed = with_failures(library, failed_hooks())
    if not failed.is_hooked:
        return failed
    if not instrumentor.is_instrumented_by_opentelemetry:
        do = "See what opentelemetry-instrument says when it starts."
        return replace(library, why="incomplete", detail="it was not put in place", do=do)
    replaced: tuple[str, ...] = instrumentor.replaced()
    if replaced:
        return replace(library, why="replaced", detail=f"the application has replaced {', '.join(replaced)}")
    early: tuple[str, ...] = instrumentor.taken_early() if hasattr(instrumentor, "taken_early") else ()
    if early:
        names = ", ".join(early)
        return replace(library, why="too early", detail=f"taken by name before it was audited: {names}")
    return library
