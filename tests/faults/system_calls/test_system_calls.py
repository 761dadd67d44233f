"""Every system call that the spool makes fails, one after the other, under real requests.

`OTEL_AUDIT_TEST_SYSTEM_CALLS` is how many faults are tried, 16 unless it is set. `all` takes each call with
each error, in both fail modes, once and lasting, at each of its turns until it is made no more: hours.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from itertools import count, product
from pathlib import Path

import pytest

from tests.faults.power_cut.recording import is_available
from tests.faults.system_calls.application import forked, start_again
from tests.faults.system_calls.faulting import SETTINGS, Fault, attempt

pytestmark = pytest.mark.skipif(bool(is_available()), reason=is_available())

CALLS = (
    *(
        "openat",
        "mkdir",
        "rename",
        "link",
        "unlink",
        "unlinkat",
        "rmdir",
        "fcntl",
        "newfstatat",
        "getdents64",
        "statfs",
    ),
    *("write", "fallocate", "ftruncate", "fsync", "fdatasync", "read", "pread64", "getrandom"),
)
"""Not `mmap`: no file is mapped. Not `close`: the server's own sockets would not be closed either."""

ERRORS = ("EIO", "ENOSPC", "EROFS", "EINTR", "EMFILE")

# before the first request, Python itself opens and reads many a file: what fails then must be the spool's
_OF_THE_SPOOL = {
    *("mkdir", "rename", "link", "unlink", "fcntl", "write", "fallocate", "ftruncate", "fsync", "fdatasync"),
}
# Python's own calls are made again for as long as they are interrupted (PEP 475)
_OURS = {"write", "fallocate"}

FAULTS = [
    Fault(call, error, mode, since, lasts)
    for mode, since, lasts, call, error in product(
        ("open", "closed"), ("start", "running"), (False, True), CALLS, ERRORS
    )
    if (since == "running" or call in _OF_THE_SPOOL) and (not lasts or error != "EINTR" or call in _OURS)
]
FOUND = [
    Fault("write", "EINTR", "open", "running", lasts=True),  # once a hang, with the interpreter lock held
    Fault("getrandom", "EIO", "open", "running", lasts=False),  # once an exception in the view
]
"""What was found to be wrong, and mended."""

_ASKED = os.environ.get("OTEL_AUDIT_TEST_SYSTEM_CALLS", "16")
_chance = random.Random(4)
TRIED = (
    FAULTS
    if _ASKED == "all"
    else [*FOUND, *(replace(fault, turn=_chance.randint(1, 5)) for fault in _chance.sample(FAULTS, int(_ASKED)))]
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of a service that has run before."""
    state = tmp_path_factory.mktemp("template") / "state"
    process = forked().Process(target=start_again, args=({**SETTINGS, "OTEL_AUDIT_DIR": str(state)},))
    process.start()
    process.join()
    assert process.exitcode == 0
    return state


@pytest.mark.parametrize("fault", TRIED, ids=str)
def test_a_call_that_fails_costs_what_the_fail_mode_says_and_heals_without_a_restart(
    fault: Fault, template: Path, tmp_path: Path
) -> None:
    for turn in count(fault.turn):
        folder = tmp_path / str(turn)
        folder.mkdir()
        outcome = attempt(replace(fault, turn=turn), template, folder)
        assert outcome.wrong == [], f"turn {turn}"
        if _ASKED != "all" or not outcome.injected:
            break
