"""Every fuzz target on its seeds, on what once broke it, and on mutations of them; by coverage where atheris is."""

from __future__ import annotations

import importlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in {"run", "test_fuzz", "mutations"}
)
MUTATIONS = {"archives": 40, "statements": 300}
"""How many of each target, 1,500 where nothing else is said: about a second."""


@pytest.fixture(params=TARGETS)
def fuzzed(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"tests.fuzz.{request.param}")


def test_seeds_and_what_once_broke_it_do_not(fuzzed: ModuleType) -> None:
    for data in (*fuzzed.seeds(), *fuzzed.REGRESSIONS, b""):
        fuzzed.target(data)


def test_mutations_of_the_seeds_do_not_break_it(fuzzed: ModuleType) -> None:
    chance = random.Random(20261123)
    seeds = list(fuzzed.seeds())

    for _ in range(MUTATIONS.get(fuzzed.__name__.rpartition(".")[2], 1_500)):
        data = chance.choice(seeds)
        for _ in range(chance.randint(1, 4)):
            data = chance.choice(CHANGES)(data, chance, seeds)
        fuzzed.target(data)


@pytest.mark.skipif(find_spec("atheris") is None, reason="coverage-guided fuzzing needs atheris")
@pytest.mark.parametrize("name", TARGETS)
def test_a_little_fuzzing_by_coverage_finds_nothing(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tests" / "fuzz" / "run.py"), name, "-runs=500", "-seed=1"]

    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"OTEL_AUDIT_FUZZ_CORPUS": str(tmp_path / "corpus")},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3_000:]


Change = Callable[[bytes, random.Random, list[bytes]], bytes]


def _flip(data: bytes, chance: random.Random, seeds: list[bytes]) -> bytes:
    changed = bytearray(data or b" ")
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(data: bytes, chance: random.Random, seeds: list[bytes]) -> bytes:
    start, end = sorted(chance.randint(0, len(data)) for _ in range(2))
    return data[:start] + data[end:]


def _repeat(data: bytes, chance: random.Random, seeds: list[bytes]) -> bytes:
    start = chance.randint(0, len(data))
    return data[:start] + data[start : start + 40] * chance.choice((2, 3, 60)) + data[start:]


def _splice(data: bytes, chance: random.Random, seeds: list[bytes]) -> bytes:
    other = chance.choice(seeds)
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


def _insert(data: bytes, chance: random.Random, seeds: list[bytes]) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.choice(WORDS) + data[at:]


CHANGES: tuple[Change, ...] = (_flip, _cut, _repeat, _splice, _insert)
WORDS = (
    b"\0", b"\n", b"\xff", b"null", b"1e999", b"-0", b"9007199254740993", b"{", b"[[[[[[[[", b'"', b"\\ud800",
    "\u202e".encode(), b"\x1b[2J", b"''", b"/*", b"--", b"$$", b"((((", b"|", b"true", b'":"', b"%00",
)  # fmt: skip
