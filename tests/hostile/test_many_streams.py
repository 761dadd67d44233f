"""Very many streams: what one costs, and that what is said of each of them is still right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.hostile.many_streams import SERVICE, streams
from tests.issuers import Issuer
from tests.peak_memory import PEAK_KIB

PROGRAM = f"""
import sys
{PEAK_KIB}from cryptography import x509
from pathlib import Path
from otel_audit.sources import open_source
from otel_audit.verify import verify
trust = x509.load_pem_x509_certificates(Path(sys.argv[2]).read_bytes())
verdict = verify([open_source(sys.argv[1])], trust=trust)
print(verdict.status, len(verdict.streams), peak_kib())
"""
FEW, MANY = 200, 4_200
MOST_BYTES = 1_600
"""Of memory for a stream of three records; 1,200 were measured, and 4,900 before a stream was packed once read."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`MANY` streams, of which the first `FEW` lie in a directory of their own too."""
    home = tmp_path_factory.mktemp("archive")
    (home / "issuer.pem").write_bytes(Issuer().certificate.public_bytes(Encoding.PEM))
    for number, (stream, bodies) in enumerate(streams(0, MANY)):
        for part in ("many", "few")[: 1 + (number < FEW)]:
            where = home / part / SERVICE / stream
            where.mkdir(parents=True)
            (where / "000000000001.jsonl").write_bytes(b"".join(body + b"\n" for body in bodies))
    return home


def verified(home: Path, part: str) -> tuple[str, int, int]:
    """Status, streams and the most memory in KiB of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(home / part), str(home / "issuer.pem")],
        capture_output=True,
        text=True,
        check=True,
    )
    status, count, most_kib = done.stdout.split()
    return status, int(count), int(most_kib)


def test_a_stream_costs_a_verifier_little_memory(archive: Path) -> None:
    """An auditor's laptop has to hold a million of them."""
    few, many = verified(archive, "few"), verified(archive, "many")

    assert (few[:2], many[:2]) == (("verified", FEW), ("verified", MANY))
    assert (many[2] - few[2]) * 1024 < (MANY - FEW) * MOST_BYTES


def printed(archive: Path, *command: str) -> str:
    """What `otel-audit` says of the few streams."""
    whole = [*command, str(archive / "few"), "--trust", str(archive / "issuer.pem")]
    done = subprocess.run(
        [sys.executable, "-m", "otel_audit.cli", *whole], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_document_written_in_pieces_is_one_of_all_streams(archive: Path) -> None:
    text = printed(archive, "verify", "--json")

    said = json.loads(text)
    assert text.count("\n") == 1
    assert [one["stream"] for one in said["streams"]] == [stream for stream, _ in streams(0, FEW)]
    assert [one["kind"] for one in said["findings"]] == ["unpinned"]
    assert [one["subject"] for one in said["trust"]] == ["CN=issuer"]


def test_the_most_recent_events_are_those_of_the_newest_streams(archive: Path) -> None:
    lines = printed(archive, "show", "--limit", "2", "--json").splitlines()

    assert [json.loads(line)["target"]["id"] for line in lines] == [f"/customers/{FEW + at}" for at in (-2, -1)]
