"""Forks: noticed however they are made, and kept away from imports.

`os.fork` runs the hooks of `os.register_at_fork`; a `fork(2)` of C code (uWSGI, an embedding program, ctypes) runs
none. So a page that the kernel hands to a child empty (`MADV_WIPEONFORK`) tells too, at a tenth of the price of
`getpid(2)`; a child of `vfork(2)`, which runs on its parent's memory, rightly counts as the parent. Whoever
holds what is of one process asks `is_unforked[0]` first, and calls `notice_fork` where that is false.

CPython renews its global import lock in a child and not those of modules (python/cpython#50970): a child would wait
for ever at its own first import of what another thread was importing. Hence `importing`, which forks wait for.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections.abc import Callable
from typing import Protocol

importing = threading.RLock()
"""Held while something is imported late, by any thread; forks wait for it, those of C code excepted."""

_PATIENCE_S = 10.0
_MADV_WIPEONFORK = 18
"""linux/mman.h, since Linux 4.14; `mmap` has no name for it."""


class _Mark(Protocol):
    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class _PidMark:
    """Where the kernel does not know the advice: false where the pid is another one."""

    def __init__(self) -> None:
        self._pid = 0

    def __getitem__(self, index: int) -> int:
        return os.getpid() == self._pid

    def __setitem__(self, index: int, value: int) -> None:
        self._pid = os.getpid() if value else 0


def _mark() -> _Mark:
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        page.madvise(_MADV_WIPEONFORK)
        return page
    return _PidMark()


is_unforked = _mark()
"""Its element 0 is false in a child that has not yet let go of what is its parent's."""
is_unforked[0] = 1

_is_forking = False
_noticing = threading.RLock()
_in_child: list[Callable[[], object]] = []


def in_child(forget: Callable[[], object]) -> None:
    """Have *forget* called in every forked child, before anything is done there that asks `is_unforked`.

    In the order in which they were given; they must not raise.
    """
    _in_child.append(forget)


def notice_fork() -> None:
    """Let go of what is the parent's, unless that was done."""
    with _noticing:  # a second thread of the child must not go on with the parent's
        if not is_unforked[0]:
            for forget in _in_child:
                forget()
            is_unforked[0] = 1


def _before() -> None:
    global _is_forking  # noqa: PLW0603 - written by whoever holds the lock
    _is_forking = importing.acquire(timeout=_PATIENCE_S)


def _after() -> None:
    global _is_forking  # noqa: PLW0603 - likewise
    if _is_forking:
        _is_forking = False
        importing.release()


def _after_in_child() -> None:
    global _noticing  # noqa: PLW0603 - a thread that held it does not exist here
    _after()
    _noticing = threading.RLock()
    is_unforked[0] = 0
    notice_fork()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
