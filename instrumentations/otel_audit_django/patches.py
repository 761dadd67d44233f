"""Attributes of others' classes and modules, replaced while Django is audited, and put back afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from otel_audit.capture.doors import leads_to

_log = logging.getLogger("otel_audit")


class Patches:
    """What was replaced, in order; removed in the reverse order."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, str, object, object]] = []

    def wrap(self, owner: Any, name: str, around: Callable[[Any], Any]) -> None:
        """Replace attribute *name* that *owner* itself defines by what *around* makes of it; without one, nothing.

        A second call for the same attribute changes nothing.
        """
        original: object = owner.__dict__.get(name)
        if original is not None and not any(made[:2] == (owner, name) for made in self._made):
            ours: object = around(original)
            setattr(owner, name, ours)
            self._made.append((owner, name, original, ours))

    def replaced(self) -> tuple[str, ...]:
        """Names of what somebody has replaced since, by something that does not lead to ours."""
        return tuple(
            f"{owner.__name__}.{name}"
            for owner, name, _, ours in self._made
            if not leads_to(owner.__dict__.get(name), ours)
        )

    def remove(self) -> None:
        """Put every original back, unless somebody has wrapped ours since: theirs then stays, around ours."""
        while self._made:
            owner, name, original, ours = self._made.pop()
            if owner.__dict__.get(name) is ours:
                setattr(owner, name, original)
            else:
                _log.warning(
                    "otel-audit: %s.%s was replaced again after it was audited; auditing goes on until shutdown()",
                    getattr(owner, "__name__", owner),
                    name,
                )
