"""How many bytecode instructions of ours some work executes: as many on a busy machine as on an idle one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import otel_audit
import otel_audit_flask

_OURS = (
    str(Path(str(otel_audit.__file__)).parent) + os.sep,
    str(Path(str(otel_audit_flask.__file__)).parents[1] / "otel_audit_"),
)
"""Where our code lies; the instrumentations stand beside each other."""


def executed(work: Callable[[], object], times: int) -> float:
    """Instructions of ours in this thread for one call of *work*, the mean of *times* calls.

    A debugger or a coverage tool that traces this thread is put back afterwards, and counts nothing meanwhile.
    """
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        if event == "opcode":
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for _ in range(times):
            work()
    finally:
        sys.settrace(before)
    return count / times
