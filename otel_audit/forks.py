"""Keeps forks away from imports: a child inherits a module's import lock, and not the thread that would release it.

For what is imported when first needed, which may be in any thread. CPython renews its global import lock in a child
and not those of modules (python/cpython#50970): the child would wait for ever at its own first import of the same.
"""

from __future__ import annotations

import os
import threading

importing = threading.RLock()
"""Held while something is imported late; forks wait for it."""

_PATIENCE_S = 10.0
_is_forking = False


def _before() -> None:
    global _is_forking  # noqa: PLW0603 - written by whoever holds the lock
    _is_forking = importing.acquire(timeout=_PATIENCE_S)


def _after() -> None:
    global _is_forking  # noqa: PLW0603 - likewise
    if _is_forking:
        _is_forking = False
        importing.release()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
