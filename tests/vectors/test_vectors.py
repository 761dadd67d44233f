"""Archives made by another implementation, and what our verifier has to say of each.

`tests/vectors/make_vectors.py` wrote them from the format's page with openssl and the standard library.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from otel_audit.sources import read_directory
from otel_audit.verify import Reference, Verdict, verify
from otel_audit.verify.verdict import INCOMPLETE_KINDS, TAMPERED_KINDS
from tests.vectors import make_vectors, openssl

NAMES = sorted(path.name for path in make_vectors.ARCHIVES.iterdir())
ORDER = (*TAMPERED_KINDS, *INCOMPLETE_KINDS)


@pytest.mark.skipif(openssl.version() < (3, 0), reason="the generator needs openssl 3 on the PATH")
def test_the_generator_writes_the_same_bytes_again(tmp_path: Path) -> None:
    make_vectors.write(tmp_path / "archives")

    assert contents(tmp_path / "archives") == contents(make_vectors.ARCHIVES)


@pytest.mark.parametrize("name", NAMES)
def test_verdict_of(name: str) -> None:
    home = make_vectors.ARCHIVES / name
    expected = json.loads((home / "expected.json").read_text())

    verdict = judge(home, expected)

    seen = said(verdict)
    assert seen["verdict"] == expected["verdict"], expected["why"]
    assert {stream: seen["streams"][stream] for stream in expected["streams"]} == expected["streams"]
    assert seen["global_findings"] == expected["global_findings"]
    first = {stream: seen["first_findings"].get(stream) for stream in expected["streams"]}
    assert first == known(expected["first_findings"], first)
    assert {name: seen["counts"][name] for name in expected["counts"]} == expected["counts"]


def test_every_kind_of_finding_has_a_vector() -> None:
    """But `index-mismatch`: a directory of bodies has no attributes."""
    every = [json.loads((make_vectors.ARCHIVES / name / "expected.json").read_text()) for name in NAMES]

    kinds = {kind for one in every for kind in one["global_findings"]}
    kinds |= {kind for one in every for kind, _ in one["first_findings"].values() if kind}

    assert set(ORDER) - kinds == {"index-mismatch"}


def judge(home: Path, expected: dict[str, Any]) -> Verdict:
    """Our verdict on the archive in *home*, asked as `expected.json` says."""
    pem = (home / "trust.pem").read_bytes()
    keep, since, until = (expected.get(name) for name in ("keep_s", "since", "until"))
    return verify(
        [read_directory(home)],
        trust=x509.load_pem_x509_certificates(pem) if pem else [],
        now=moment(expected["now"]),
        grace=timedelta(seconds=expected["grace_s"]),
        keep=None if keep is None else timedelta(seconds=keep),
        place=expected["place"],
        witness=[Reference.parse(text) for text in expected["witness"]],
        since=since and moment(since),
        until=until and moment(until),
    )


def said(verdict: Verdict) -> dict[str, Any]:
    """The verdict in the words of `expected.json`."""
    findings = [one for one in verdict.findings if one.severity != "warning"]
    ranked = sorted(
        ((one.stream, one.seq, ORDER.index(one.kind)) for one in findings if one.stream and one.seq),
        reverse=True,
    )
    return {
        "verdict": verdict.status,
        "streams": {one.stream: one.verdict for one in verdict.streams},
        "first_findings": {stream: [ORDER[rank], seq] for stream, seq, rank in ranked},
        "global_findings": sorted({one.kind for one in findings if one.seq is None}),
        "counts": {"pending": verdict.pending, "adopted": verdict.adopted},
    }


def known(first: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    """What is expected first of each stream; a kind that the page leaves open is the one seen."""
    filled: dict[str, Any] = dict.fromkeys(seen)
    for stream, (kind, seq) in first.items():
        filled[stream] = [kind or (seen.get(stream) or [None])[0], seq]
    return filled


def contents(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def moment(text: str) -> datetime:
    """A time of the vectors; their instants of asking are whole microseconds."""
    return datetime.strptime(text[:26], "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=UTC)
