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
import os
import random
import resource
import signal
import tempfile
import time
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
    limit_s: float = 20 + 8 * option["budget"]
    with Path(option["fates"]).open("a") as fates:
        for wanted in option["mutate"]:
            module, _, line = wanted.partition(":")
            source = Path(module).read_text()
            functions = _functions(source, module)
            every = [m for m in mutants(source) if _function_at(functions, m.line) is not None]
            chosen = random.Random(f"{option['seed']} {module}").sample(every, min(option["mutants"], len(every)))
            if line:
                chosen = [mutant for mutant in every if mutant.line == int(line)]
            if option["again"]:
                chosen = _survivors(Path(option["again"]), module, every)
            for mutant in chosen:
                items = session.items if option["all_tests"] else covered.items(module, mutant.line)
                fate = _fate(module, mutant, items, limit_s)
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
        self._lines: defaultdict[str, defaultdict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for path in maps:
            read = json.loads(path.read_bytes())
            tests: list[tuple[str, float]] = read["tests"]
            self._seconds.update(tests)
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
        chosen = [item for test, item in self._items.items() if test not in self._seconds] if lines[line] else []
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


def _function_at(functions: dict[Key, CodeType], line: int) -> Key | None:
    """The function whose body runs a line."""
    for key, code in functions.items():
        if any(at == line for *_, at in code.co_lines()) or any(
            at == line for part in code.co_consts if isinstance(part, CodeType) for *_, at in part.co_lines()
        ):
            return key
    return None


def _fate(module: str, mutant: Mutant, items: list[pytest.Item], limit_s: float) -> Fate:
    begun = time.monotonic()
    fate, by = ("not run", "") if not items else _run(module, mutant, items, limit_s)
    return Fate(module, mutant.line, mutant.change, fate, by, len(items), round(time.monotonic() - begun, 2))


def _run(module: str, mutant: Mutant, items: list[pytest.Item], limit_s: float) -> tuple[str, str]:
    with tempfile.TemporaryFile() as failed:
        child = os.fork()
        if child == 0:
            _die_of(module, mutant, items, failed.fileno())
        deadline = time.monotonic() + limit_s
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return "timed out", ""
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):  # what a test left running
            os.killpg(child, signal.SIGKILL)
        failed.seek(0)
        return "survived" if ended[1] == 0 else "killed", failed.read().decode() or f"status {ended[1]}"


def _die_of(module: str, mutant: Mutant, items: list[pytest.Item], failed: int) -> None:
    """Never returns: this is the child."""
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 30, 2 << 30))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        _replace_code(module, mutant.text)
        for item in items:
            if not _passes(item):
                os.write(failed, item.nodeid.encode())
                os._exit(1)
        os._exit(0)
    finally:
        os._exit(70)


def _replace_code(module: str, text: str) -> None:
    file = str(Path(module).absolute())
    broken = _functions(text, module)
    replaced = 0
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__.co_filename == file:
            code = broken.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
            if code is not None and len(code.co_freevars) == len(function.__code__.co_freevars):
                function.__code__ = code
                replaced += 1
    assert replaced, f"{module} is not imported by any test that was collected"


def _passes(item: pytest.Item) -> bool:
    from _pytest.runner import runtestprotocol

    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))
