"""Archives as directories: read back as bodies, with the question that stands beside a vector."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography import x509

from tests.second_verifier.asked import Body, Question
from tests.second_verifier.verifier import SECOND, moment


def bodies(home: Path) -> list[Body]:
    """Every whole line; bytes after the last line feed are torn."""
    lines = [line for path in sorted(home.rglob("*.jsonl")) for line in path.read_bytes().split(b"\n")[:-1]]
    return [Body(line) for line in lines]


def question(home: Path) -> Question:
    said = json.loads((home / "expected.json").read_text())
    pem, place = (home / "trust.pem").read_bytes(), home / "place"
    return Question(
        anchors=x509.load_pem_x509_certificates(pem) if pem.strip() else [],
        now=moment(said["now"]), grace=said["grace_s"] * SECOND,
        keep=None if said["keep_s"] is None else said["keep_s"] * SECOND,
        places={0: place.read_text().strip() if place.exists() else said["place"]}, witnesses=said["witness"],
        since=moment(said["since"]) if "since" in said else None,
        until=moment(said["until"]) if "until" in said else None,
    )  # fmt: skip
