"""Forks that Python does not make, and ends of children that it does not see: no two processes write one stream."""

from __future__ import annotations

import os
from typing import Literal

import pytest

from tests.autoload.servers import Spool, Start
from tests.faults.emitting import C_FORK, assert_each_process_has_its_events, run

ROUNDS = int(os.environ.get("OTEL_AUDIT_TEST_ROUNDS", "1"))
"""How many times as long the storms last; CI is content with one."""

CHILDREN = {
    "emits and exits": ("emit(); sys.exit()", {"shutdown": 2}),
    "emits and leaves hard": ("emit(); os._exit(0)", {"open": 1, "shutdown": 1}),
    "exits without an event": ("sys.exit()", {"shutdown": 1}),
    "shuts down without an event": ("otel_audit.shutdown(); os._exit(0)", {"shutdown": 1}),
    "configures anew": ("otel_audit.configure(); emit(); sys.exit()", {"shutdown": 2}),
    "emits in a thread": (
        "t = threading.Thread(target=emit); t.start(); t.join(); sys.exit()",
        {"shutdown": 2},
    ),
    "has a child": ("emit(); fork('emit(); sys.exit()'); sys.exit()", {"shutdown": 3}),
}


@pytest.mark.parametrize("fail_mode", ["open", "closed"])
@pytest.mark.parametrize("case", CHILDREN)
def test_a_fork_of_c_code_opens_a_stream_of_its_own(
    case: str, fail_mode: Literal["open", "closed"], launch: Start, state: Spool
) -> None:
    child, ends = CHILDREN[case]
    process = run(launch, f"{C_FORK}\nemit()\nfork({child!r})\nemit()\n", OTEL_AUDIT_FAIL_MODE=fail_mode)
    assert process.wait() == 0, process.log
    assert_each_process_has_its_events(state, ends)
