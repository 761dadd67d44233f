"""Very many small files in one directory, as an export or a careless rotation leaves them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from otel_audit.sources import read_directory
from tests.hostile.many_streams import streams
from tests.issuers import Issuer

COUNT = 100
MOST_DESCRIPTORS = 32


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("archive")
    (home / "issuer.pem").write_bytes(Issuer().certificate.public_bytes(Encoding.PEM))
    (home / "flat").mkdir()
    for stream, bodies in streams(0, COUNT):
        (home / "flat" / f"{stream}.jsonl").write_bytes(b"".join(body + b"\n" for body in bodies))
        where = home / "nested" / stream[:1] / stream[1:2]
        where.mkdir(parents=True, exist_ok=True)
        os.link(home / "flat" / f"{stream}.jsonl", where / f"{stream}.jsonl")
    return home


def limit_descriptors() -> None:
    """Let this process open no more than a few files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_DESCRIPTORS, MOST_DESCRIPTORS))


@pytest.mark.parametrize("command", ["verify", "show"])
@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_few_are_open_at_a_time(archive: Path, layout: str, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "otel_audit.cli", command, archive / layout, "--trust", archive / "issuer.pem"],
        capture_output=True,
        text=True,
        preexec_fn=limit_descriptors,
        check=False,
    )

    assert done.returncode == 0
    assert "VERIFIED" in done.stdout + done.stderr


def test_a_file_that_was_found_costs_little_until_it_is_read(tmp_path: Path) -> None:
    """It kept a path of the directory for each, as much as all else."""
    count = 2_000
    for number in range(count):
        (tmp_path / f"{number:032x}.jsonl").touch()
    source = read_directory(tmp_path)

    tracemalloc.start()
    lanes = list(source.lanes())
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(lanes) == count
    assert size < count * 300
