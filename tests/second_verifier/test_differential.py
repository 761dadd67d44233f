"""Both verifiers on archives that an attacker with every key has changed: same verdicts, same first findings.

A few hundred here; `python -m tests.second_verifier.differential FIRST COUNT` compares as many as are asked for.
"""

from __future__ import annotations

import os

import pytest
from cryptography import x509

from otel_audit.verify.certificates import anchors, check_path
from tests.second_verifier.differential import compare
from tests.second_verifier.model import ISSUER, STRANGER
from tests.second_verifier.paths import PATHS
from tests.second_verifier.product import write
from tests.second_verifier.verifier import Json, judge_path

FIRST, COUNT = (
    int(os.environ.get(f"SECOND_VERIFIER_{name}", given)) for name, given in (("FIRST", 0), ("COUNT", 300))
)


@pytest.mark.parametrize("name", sorted(PATHS))
@pytest.mark.parametrize("trust", [[], [ISSUER.certificate], [STRANGER.certificate]], ids=["none", "own", "other"])
def test_verifiers_agree_on_a_path_of_certificates(name: str, trust: list[x509.Certificate]) -> None:
    context: Json = {"service.name": "shop"}
    opening: Json = {"stream": "ab" * 16, "observed": "2026-03-01T12:00:00.500000000Z", "context": context}
    elements = context["audit.certificate"] = PATHS[name](opening)

    first = check_path(elements, stream="ab" * 16, service="shop", opened=opening["observed"], trust=anchors(trust))

    said = "wrong-certificate" if first.fault else ""
    said = "untrusted-key" if trust and first.anchor is None else said
    assert judge_path(opening, trust)[1] == said


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[list[bytes]]:
    return write(tmp_path_factory.mktemp("product") / "state")


def test_verifiers_agree_on_archives_changed_by_whoever_holds_the_keys() -> None:
    seen = compare(range(FIRST, FIRST + COUNT))

    assert seen["disagreements"] == 0
    assert len(seen) > 12, "rules behind the signatures are reached"


def test_verifiers_agree_on_what_the_product_writes_changed_likewise(written: list[list[bytes]]) -> None:
    assert compare(range(FIRST, FIRST + COUNT // 4), written)["disagreements"] == 0
