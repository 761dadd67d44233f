"""Archives as directories: read back as bodies, with the question that stands beside a vector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cryptography import x509

from tests.second_verifier.asked import Body, Question
from tests.second_verifier.records import SECOND, moment, parse


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
        until=moment(said["until"]) if "until" in said else None,
    )  # fmt: skip


def window(whole: list[Body], since: int, until: int) -> list[Body]:
    """ "Windows": what a source returns when it is asked about a period."""
    kept: list[Body] = []
    streams: dict[str, list[tuple[int, dict[str, Any], Body]]] = {}
    for body in whole:
        record = parse(body.text)
        if isinstance(record, str):
            kept.append(body)
        else:
            streams.setdefault(record["stream"], []).append((record["seq"], record, body))
    for records in streams.values():
        records.sort(key=lambda one: one[0])
        times = [moment(one["observed"]) for _, one, _ in records]
        inside = [at for at, when in enumerate(times) if since <= when <= until]
        ended = records[-1][1]["event"] == "audit.stream.close" and times[-1] < since
        if not inside and ended:
            continue
        signed = [at for at, (_, one, _) in enumerate(records) if "sig" in one]
        before = [at for at in signed if times[at] < since]
        after = [at for at in signed if times[at] > until]
        start, stop = max(before, default=0), min(after, default=len(records) - 1)
        kept += [body for at, (_, _, body) in enumerate(records) if at == 0 or start <= at <= stop]
    return kept
