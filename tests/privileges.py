"""Root without the right to pass over permissions, so that what they forbid can be tried wherever tests run."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Generator
from contextlib import contextmanager

_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2
"""capabilities(7): what makes permissions of files and directories mean nothing to root."""
_VERSION_3 = 0x20080522  # linux/capability.h


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def bound_by_permissions() -> Generator[None]:
    """In this thread, and in what it starts meanwhile, permissions apply to root too (but for `access(2)`)."""
    before = _read()
    _drop(is_for_good=False)
    try:
        yield
    finally:
        _write(before)


def be_bound_by_permissions() -> None:
    """The same for a process of its own, for good."""
    _drop(is_for_good=True)


def _drop(*, is_for_good: bool) -> None:
    sets = _read()
    kept = ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    sets[0].effective &= kept
    if is_for_good:
        sets[0].permitted &= kept
    _write(sets)


def _read() -> ctypes.Array[_Sets]:
    sets = (_Sets * 2)()
    _call("capget", sets)
    return sets


def _write(sets: ctypes.Array[_Sets]) -> None:
    _call("capset", sets)


def _call(name: str, sets: ctypes.Array[_Sets]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header = _Header(_VERSION_3, 0)
    if libc[name](ctypes.byref(header), ctypes.byref(sets)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
