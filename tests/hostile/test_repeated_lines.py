"""Lines that are no records, by the ten thousand million: a few megabytes when packed."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_audit.sources import read_directory
from otel_audit.verify import verify
from tests.archives import Archive
from tests.peak_memory import PEAK_KIB

NOISE = {"line feeds": b"\n", "objects": b"{}\n", "words": b"noise\n"}
COUNT = 1_500_000
PROGRAM = f"""
import sys
{PEAK_KIB}from otel_audit.sources import open_source
from otel_audit.verify import verify
verdict = verify([open_source(sys.argv[1])], trust=[])
print(*(one.count for one in verdict.findings if one.kind == "malformed"))
print(peak_kib() >> 10)
"""


def write_noise(path: Path, line: bytes, first: bytes) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(first)
        for _ in range(COUNT // 10_000):
            file.write(line * 10_000)


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("is_behind_a_record", [False, True], ids=["alone", "behind a record"])
def test_noise_is_counted_and_never_put_on_the_disk(tmp_path: Path, noise: str, is_behind_a_record: bool) -> None:
    """It was sorted among the records once: 10 GB of line feeds filled the disk that they came to."""
    archive = Archive()
    first = archive.stream().records[0] + b"\n" if is_behind_a_record else b""
    write_noise(tmp_path / "x.jsonl.gz", NOISE[noise], first)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        # SQLite's own file, where there is one, is there; and no file may have more than a mebibyte
        env={**os.environ, "SQLITE_TMPDIR": str(tmp_path)},
        preexec_fn=limit_files,
    )

    malformed, most_mib = done.stdout.split()
    assert int(malformed) == COUNT
    assert int(most_mib) < 120


def limit_files() -> None:
    """Let this process write no file of more than a mebibyte."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def test_the_place_of_the_first_of_them_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"\n".join([b'{"schema":"otel-audit/2"}'] * 3 + [b"noise"] * 2) + b"\n")

    findings = verify([read_directory(tmp_path)], trust=[]).findings

    assert {one.kind: one.count for one in findings} == {"malformed": 2, "unsupported": 3, "no-trust": 1}
    assert "line 4: not a canonical JSON object" in next(o.message for o in findings if o.kind == "malformed")


def test_the_place_is_named_among_records_in_no_order(tmp_path: Path) -> None:
    """It was counted among the lines that are no records: the first of those stood on line 1, wherever it was."""
    archive = Archive()
    archive.stream().events(2)
    archive.stream().events(2)
    bodies = [body for pair in zip(*(one.records for one in archive.streams), strict=True) for body in pair]
    (tmp_path / "x.jsonl").write_bytes(b"\n".join([*bodies, b"noise", *bodies]) + b"\n")

    findings = verify([read_directory(tmp_path)], trust=[]).findings

    (malformed,) = (one for one in findings if one.kind == "malformed")
    assert malformed.message == f"{tmp_path / 'x.jsonl'}, line 7: not a canonical JSON object (5 bytes)"


def test_a_record_that_stands_there_again_and_again_is_one(tmp_path: Path) -> None:
    archive = Archive()
    stream = archive.stream()
    stream.event()
    stream.close()
    archive.write(tmp_path)
    path = tmp_path / stream.directory / "000000000001.jsonl"
    path.write_bytes(b"".join((body + b"\n") * 500 for body in stream.records))

    verdict = archive.verify(source=read_directory(tmp_path))

    assert (verdict.status, verdict.records) == ("verified", 3)
