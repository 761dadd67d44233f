"""Whether what an instrumentation has put in place is still there; capture stage, for `otel-audit coverage`."""

from __future__ import annotations

_MAX_LAYERS = 50


def leads_to(found: object, ours: object) -> bool:
    """Whether *found* is *ours*, or wraps it and says so (`functools.wraps`, wrapt)."""
    for _ in range(_MAX_LAYERS):
        if found is ours:
            return True
        found = getattr(found, "__wrapped__", None)
        if found is None:
            return False
    return False
