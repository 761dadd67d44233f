"""Breaks the product, one mutant at a time, and says which changes no test notices.

    pip install coverage
    export PYTHONPATH=.
    pytest -q -p tests.mutation.covering --covered=/tmp/covered.json tests/unit
    pytest -q -p tests.mutation.run --covered=/tmp/covered.json --mutate=otel_audit/evidence/merkle.py \
        --mutants=100 --fates=/tmp/fates.jsonl tests/unit

pytest collects once; each mutant then lives in a forked child, whose functions get the code of the broken module.
It meets only the tests that run its line: the fastest first, taken in turn from each file, until one fails. So a
mutant costs what its tests cost. The child is killed on time-out, its memory and its files are bounded. Not
mutated: what runs when a module is imported, and what a test starts as another process.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import random
import resource
import select
import signal
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from tests.mutation.operators import Mutant, mutants

Key = tuple[str, int]
"""A function's qualified name and first line."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant: `killed`, `survived`, `timed out`, or `not run` by any test."""

    module: str
    line: int
    change: str
    fate: str
    by: str
    tests: int
    seconds: float
    """Of processor time, which a busy machine does not lengthen."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--covered", action="append", required=True, help="JSON file that `covering` wrote")
    parser.addoption("--mutate", action="append", required=True, help="module, or module:line")
    parser.addoption("--mutants", type=int, default=40, help="how many a module")
    parser.addoption("--seed", type=int, default=1)
    parser.addoption("--budget", type=float, default=3.0, help="seconds of tests a mutant")
    parser.addoption("--again", help="file of fates: only mutants that survived there, or were not run")
    parser.addoption("--all-tests", action="store_true", help="do not look at the line: all that was collected")
    parser.addoption("--fates", default="/dev/stdout", help="JSON Lines file to append to")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """In place of running the tests once: run some of them for each mutant."""
    option: dict[str, Any] = vars(session.config.option)
    covered = Coverage(session, [Path(path) for path in option["covered"]], option["budget"])
    limit_s: int = 3 + math.ceil(2 * option["budget"])
    with Path(option["fates"]).open("a") as fates:
        for wanted in option["mutate"]:
            module, _, line = wanted.partition(":")
            source = Path(module).read_text()
            inside = _function_lines(_functions(source, module))
            every = [mutant for mutant in mutants(source) if mutant.line in inside]
            chosen = random.Random(f"{option['seed']} {module}").sample(every, min(option["mutants"], len(every)))
            if line:
                chosen = [mutant for mutant in every if mutant.line == int(line)]
            if option["again"]:
                chosen = _survivors(Path(option["again"]), module, every)
            gc.unfreeze()  # what is frozen is not listed
            living = _living(module)
            gc.freeze()  # so that a child does not copy what it does not change
            for mutant in chosen:
                items = session.items if option["all_tests"] else covered.items(module, mutant.line)
                fate = _fate(module, mutant, living, items, limit_s)
                print(json.dumps(asdict(fate)), file=fates, flush=True)
    return True


def _survivors(fates: Path, module: str, every: list[Mutant]) -> list[Mutant]:
    lines = [json.loads(line) for line in fates.read_bytes().splitlines()]
    wanted = {
        (fate["line"], fate["change"])
        for fate in lines
        if fate["module"] == module and fate["fate"] in {"survived", "not run"}
    }
    return [mutant for mutant in every if (mutant.line, mutant.change) in wanted]


class Coverage:
    """Which of the collected tests run a line."""

    def __init__(self, session: pytest.Session, maps: list[Path], budget_s: float) -> None:
        self._budget_s = budget_s
        self._items = {item.nodeid: item for item in session.items}
        self._seconds: dict[str, float] = {}
        self._failed: set[str] = set()
        """Without any mutant: they would kill every one."""
        self._lines: defaultdict[str, defaultdict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for path in maps:
            read = json.loads(path.read_bytes())
            tests: list[tuple[str, float]] = read["tests"]
            self._seconds.update(tests)
            self._failed.update(read["failed"])
            for file, lines in read["lines"].items():
                for line, of in lines.items():
                    self._lines[file][int(line)] |= {tests[number][0] for number in of}

    def items(self, module: str, line: int) -> list[pytest.Item]:
        """Tests that run the line, or the one where its statement begins, within the budget; the fastest first.

        Tests that are newer than the map come before them.
        """
        lines = self._lines[module]
        while line > 0 and not lines[line]:
            line -= 1
        files: defaultdict[str, list[str]] = defaultdict(list)
        for test in sorted(lines[line] & self._items.keys(), key=lambda test: (self._seconds[test], test)):
            files[test.partition("::")[0]].append(test)
        newer = self._items.keys() - self._seconds.keys() - self._failed
        chosen = [item for test, item in self._items.items() if test in newer and lines[line]]
        spent = 0.0
        for test in (test for turn in zip_longest(*files.values()) for test in turn if test is not None):
            if spent + self._seconds[test] <= self._budget_s or not chosen:
                chosen.append(self._items[test])
                spent += self._seconds[test]
        return chosen


def _functions(source: str, module: str) -> dict[Key, CodeType]:
    """Code of each function of a module that is not inside another function."""

    def within(code: CodeType) -> Iterator[CodeType]:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                is_function = bool(constant.co_flags & 0x02)  # CO_NEWLOCALS: a class body has none
                yield from [constant] if is_function else within(constant)

    compiled = compile(source, str(Path(module).absolute()), "exec", dont_inherit=True)
    return {(code.co_qualname, code.co_firstlineno): code for code in within(compiled)}


def _function_lines(functions: dict[Key, CodeType]) -> set[int]:
    """Lines that run inside functions."""
    codes = [*functions.values()]
    for code in codes:
        codes.extend(part for part in code.co_consts if isinstance(part, CodeType))
    return {line for code in codes for *_, line in code.co_lines() if line is not None}


def _fate(module: str, mutant: Mutant, living: list[FunctionType], items: list[pytest.Item], limit_s: int) -> Fate:
    fate, by, seconds = ("not run", "", 0.0) if not items else _run(module, mutant, living, items, limit_s)
    return Fate(module, mutant.line, mutant.change, fate, by, len(items), round(seconds, 2))


def _run(
    module: str, mutant: Mutant, living: list[FunctionType], items: list[pytest.Item], limit_s: int
) -> tuple[str, str, float]:
    with tempfile.TemporaryFile() as failed:
        child = os.fork()
        if child == 0:
            _die_of(module, mutant, living, items, failed.fileno(), limit_s)
        ending = os.pidfd_open(child)
        # the limit is one of its own time: on a busy machine more goes by; this one is for what waits
        select.select([ending], [], [], 20 * limit_s)
        os.close(ending)
        with contextlib.suppress(ProcessLookupError):  # itself, if it is there still, and what a test left running
            os.killpg(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
        seconds = used.ru_utime + used.ru_stime
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGXCPU, signal.SIGKILL}:
            return "timed out", "", seconds
        failed.seek(0)
        by = failed.read().decode()
        return ("survived", "", seconds) if status == 0 else ("killed", by or f"status {status}", seconds)


def _die_of(  # noqa: PLR0917 - all that the child begins with
    module: str, mutant: Mutant, living: list[FunctionType], items: list[pytest.Item], failed: int, limit_s: int
) -> None:
    """Never returns: this is the child."""
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 30, 2 << 30))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        _replace_code(module, mutant.text, living)
        for item, following in zip(items, [*items[1:], None], strict=True):
            if not _passes(item, following):
                os.write(failed, item.nodeid.encode())
                os._exit(1)
        os._exit(0)
    finally:
        os._exit(70)


def _living(module: str) -> list[FunctionType]:
    """The functions that were made of a module."""
    file = str(Path(module).absolute())
    found = [f for f in gc.get_objects() if isinstance(f, FunctionType) and f.__code__.co_filename == file]
    assert found, f"{module} is not imported by any test that was collected"
    return found


def _replace_code(module: str, text: str, living: list[FunctionType]) -> None:
    broken = _functions(text, module)
    for function in living:
        code = broken.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if code is not None and len(code.co_freevars) == len(function.__code__.co_freevars):
            function.__code__ = code


def _passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    from _pytest.runner import runtestprotocol

    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))
