"""`otel-audit coverage` run as an operator does, on applications that a test has written into a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Ran:
    """What the command left behind."""

    status: int
    out: str
    err: str

    @property
    def found(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    def routes(self, *members: str) -> list[tuple[Any, ...]]:
        return [tuple(route[member] for member in members) for route in self.found["routes"]]


class Coverage(Protocol):
    """The fixture's signature."""

    def __call__(self, *arguments: str, **variables: str) -> Ran: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the command is run; the modules in it can be imported."""
    path = tmp_path / "app"
    path.mkdir()
    return path


@pytest.fixture
def coverage(folder: Path, tmp_path: Path) -> Coverage:
    """Runs one command in *folder*: `coverage("shop:app", "--json", OTEL_AUDIT_POLICY="policy.yaml")`."""

    def command(*arguments: str, **variables: str) -> Ran:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "DJANGO_"))}
        environ |= {"OTEL_AUDIT_DIR": str(tmp_path / "state"), "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
        ran = subprocess.run(
            [sys.executable, "-m", "otel_audit.cli", "coverage", *arguments],
            cwd=folder,
            env=environ | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    return command


def install(folder: Path, name: str, version: str) -> None:
    """Metadata of a distribution, found before the environment's own."""
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
