"""Bounds: what grows with a hostile archive is what the format allows to grow, and time grows no faster."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from otel_audit.errors import SourceError
from otel_audit.sources import read_directory
from otel_audit.sources.lines import read_lines
from otel_audit.sources.otlp_documents import read_documents
from otel_audit.verify import verify
from tests.archives import Archive, record_hash
from tests.attacks.world import ISSUER_DER, World, kinds, stream
from tests.peak_memory import PEAK_KIB
from tests.vectors import x509
from tests.vectors.stream import SECOND, T0

LATER = T0 + 3600 * SECOND
PROGRAM = f"""
import sys
{PEAK_KIB}from otel_audit.errors import SourceError
from otel_audit.sources import open_source
from otel_audit.verify import verify
before = peak_kib()
try:
    verdict = verify([open_source(sys.argv[1])], trust=[])
    print(verdict.status, sum(one.count for one in verdict.findings if one.kind == "malformed"))
except SourceError:
    print("unreadable 0")
print(peak_kib() - before)
"""


def judged_apart(path: Path) -> tuple[str, int, float]:
    """Status, malformed lines and by how many MiB the memory of a process of its own grew."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True)
    said, grown = done.stdout.splitlines()
    status, malformed = said.split()
    return status, int(malformed), int(grown) / 1024


def write_gzip(path: Path, block: bytes, times: int) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(times):
            file.write(block)


def write_zstd(path: Path, block: bytes, times: int) -> None:
    with path.open("wb") as file, zstandard.ZstdCompressor(level=1).stream_writer(file) as packed:
        for _ in range(times):
            packed.write(block)


PACKED: dict[str, Callable[[Path, bytes, int], None]] = {"gz": write_gzip, "zst": write_zstd}


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("name", ["x.jsonl", "x.otlp.json"])
@pytest.mark.parametrize("block", [bytes(1 << 20), b"{}\n" * 350], ids=["zeros", "lines"])
def test_a_bomb_costs_time_in_proportion_and_no_memory(tmp_path: Path, kind: str, name: str, block: bytes) -> None:
    path = tmp_path / f"{name}.{kind}"
    PACKED[kind](path, block, 300)

    status, _, grown = judged_apart(path)

    assert status in {"tampered", "empty", "incomplete"}
    # An OTLP-JSON line may have 40 MiB
    assert grown < (150 if "otlp" in name else 48)


@pytest.mark.parametrize("value", [b"[]", b"{}", b"1", b"[[1]]"])
def test_a_document_of_nothing_but_values_is_not_parsed(tmp_path: Path, value: bytes) -> None:
    """40 MiB of them took 1.4 GB."""
    count = (38 << 20) // (len(value) + 1)
    (tmp_path / "x.otlp.json").write_bytes(b'{"resourceLogs":[' + b",".join([value] * count) + b"]}\n")

    status, malformed, grown = judged_apart(tmp_path)

    assert (status, malformed) == ("tampered", 1)
    assert grown < 200


def test_brackets_that_a_client_sends_do_not_make_a_document_of_another_kind(tmp_path: Path) -> None:
    """They stand in strings: a path of nothing else must not make an honest log look tampered with."""
    path = tmp_path / "x.otlp.json"
    bodies = b",".join([b'{"body":{"stringValue":"' + b"[" * 60_000 + b'\\""}}'] * 30)
    path.write_bytes(b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[' + bodies + b"]}]}]}\n")

    with path.open("rb") as file:
        assert [document.members is None for document in read_documents(file, path)] == [False]


def test_a_line_without_end_is_one_malformed_line_at_no_cost(tmp_path: Path) -> None:
    """Half a gibibyte, sparse, with something else than zeros at the end."""
    with (tmp_path / "x.jsonl").open("wb") as file:
        file.truncate(1 << 29)
        file.seek(1 << 29)
        file.write(b"x\n")

    status, malformed, grown = judged_apart(tmp_path)

    assert (status, malformed) == ("tampered", 1)
    assert grown < 32


def test_a_file_that_grows_as_fast_as_it_is_read_is_given_up(tmp_path: Path) -> None:
    """Each line read is followed by one of 256 MiB more, sparse."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"{}\n")

    def read_and_append() -> None:
        for _ in read_lines(path):
            with path.open("ab") as file:
                file.truncate(path.stat().st_size + (256 << 20))
                file.write(b"\n")

    with pytest.raises(SourceError, match="grows as fast as it is read"):
        read_and_append()


def test_many_files_are_read_with_few_open(world: World) -> None:
    home = world.write()
    for number in range(2_000):
        (home / f"{number}.jsonl").write_bytes(world.honest["first"][number % 10] + b"\n")
    before = len(list(Path("/proc/self/fd").iterdir()))

    assert world.verdict(write=False).status == "verified"
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2  # a temporary database


def test_a_directory_called_like_a_file_is_a_directory(world: World) -> None:
    home = world.write()
    (home / "shop").rename(home / "shop.jsonl")

    assert world.verdict(write=False).status == "verified"


def test_a_device_and_a_link_to_itself_are_refused_by_name(tmp_path: Path) -> None:
    said = {
        "zero.jsonl": "not a regular file",
        "loop.jsonl": "Too many levels",
        "gone.jsonl": "or nowhere",
    }
    for name, to in (("zero.jsonl", "/dev/zero"), ("loop.jsonl", "loop.jsonl"), ("gone.jsonl", "nowhere")):
        (tmp_path / name).symlink_to(to)
        with pytest.raises(SourceError, match=f"{name}.*{said[name]}"):
            verify([read_directory(tmp_path)], trust=[])
        (tmp_path / name).unlink()


def test_a_pipe_called_place_hangs_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "place")

    with pytest.raises(SourceError, match="place: not a regular file"):
        read_directory(tmp_path)


def cpu_seconds(archive: Archive) -> float:
    began = time.process_time()
    assert archive.verify().status == "verified"
    return time.process_time() - began


def test_thousands_of_references_to_one_stream_cost_no_more_than_reading_them() -> None:
    """Once each of them was looked for among all of them: 20,000 took 15 seconds."""
    archive = Archive()
    named = archive.stream()
    named.events(15_000)
    named.close()
    references = [f"{named.id}:{number + 1}:{one}" for number, one in enumerate(map(record_hash, named.records))]
    alone = cpu_seconds(archive)
    naming = archive.stream()
    for at in range(0, len(references) - 1, 200):
        naming.linked(references[at : at + 200])
    naming.close()

    assert cpu_seconds(archive) < 4 * alone + 1


HOSTILE = "\x1b]8;;http://evil\x1b\\x\n\x9b2J\u202e\u200b\u2066\x07\udcff"
"""A link (OSC 8), a line feed, a C1 sequence, bidirectional and zero-width characters, a bell, no UTF-8."""
COMMANDS = {
    "verify": ["verify"],
    "verify --json": ["verify", "--json"],
    "show": ["show"],
    "show --json": ["show", "--json"],
    "show --trace": ["show", "--trace", "4bf92f35"],
}


def run(world: World, tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    trust = tmp_path / "trust.pem"
    trust.write_text(x509.pem(ISSUER_DER))
    return subprocess.run(
        [sys.executable, "-m", "otel_audit.cli", *command, str(world.home), "--trust", str(trust)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_hostile_reaches_a_terminal(world: World, tmp_path: Path, command: str) -> None:
    """In every string of a record, of a certificate's path, and in the name of a file."""
    text = HOSTILE.encode("utf-8", "replace").decode()
    odd = stream(
        "odd", service=text, start=LATER, open_changes={"audit.fail_mode": text, "host.name": text}
    ).begin()
    for trace_id in ("4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4737"):
        for event in ("http.server.request", "db.query", text):
            early: dict[str, Any] = {"time": "0000-01-01T00:00:00.000000000Z"} if event == "db.query" else {}
            odd.event(
                **early,
                event=event,
                actor={"id": text, "type": "user", "name": text, "on_behalf_of": {"id": text, "type": "user"}},
                action=text.upper(),
                target={"id": text, "type": text},
                source={"id": text, "type": "hostname"},
                trace_id=trace_id,
                span_id="00f067aa0ba902b7",
                context=dict.fromkeys(("http.request.method", "db.query.summary", "error.type"), text),
            )
    world.add(odd.close())
    world.write()
    (world.home / f"{HOSTILE.replace('/', '')}.jsonl").write_bytes(b"noise\n")

    done = run(world, tmp_path, *COMMANDS[command])

    printed = done.stdout + done.stderr
    assert "Traceback" not in printed
    assert all(char.isprintable() or char == "\n" for char in printed)
    assert "evil" in printed
    if "--json" in command:
        assert [json.loads(line) for line in done.stdout.splitlines()]


def test_a_hostile_file_name_is_escaped_in_what_is_said_of_it(world: World, tmp_path: Path) -> None:
    world.write()
    os.mkfifo(world.home / f"{HOSTILE.replace('/', '')}.jsonl")

    done = run(world, tmp_path, "verify", "--json")

    assert done.returncode == 2
    assert all(char.isprintable() or char == "\n" for char in done.stdout + done.stderr)
    assert len(done.stderr.splitlines()) == 1


def test_findings_by_the_thousand_are_few_lines(world: World) -> None:
    one = stream("forged", start=LATER).begin()
    for _ in range(3_000):
        one.event()
    one.close()
    world.add(one, "long")
    world.lines["long"] = [
        line.replace(b'"READ"', b'"LIST"') if number % 2 else line for number, line in enumerate(one.lines)
    ]

    verdict = world.verdict()

    assert "altered" in kinds(verdict)
    assert len(verdict.findings) < 200
    assert sum(one.count for one in verdict.findings if one.kind == "altered") > 1_000
