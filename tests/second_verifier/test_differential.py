"""Both verifiers on archives that an attacker with every key has changed: same verdicts, same first findings.

A few hundred here; `python -m tests.second_verifier.differential FIRST COUNT` compares as many as are asked for.
"""

from __future__ import annotations

import os

import pytest

from tests.second_verifier.differential import compare
from tests.second_verifier.product import write

FIRST, COUNT = (
    int(os.environ.get(f"SECOND_VERIFIER_{name}", given)) for name, given in (("FIRST", 0), ("COUNT", 300))
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[list[bytes]]:
    return write(tmp_path_factory.mktemp("product") / "state")


def test_verifiers_agree_on_archives_changed_by_whoever_holds_the_keys() -> None:
    seen = compare(range(FIRST, FIRST + COUNT))

    assert seen["disagreements"] == 0
    assert len(seen) > 12, "rules behind the signatures are reached"


def test_verifiers_agree_on_what_the_product_writes_changed_likewise(written: list[list[bytes]]) -> None:
    assert compare(range(FIRST, FIRST + COUNT // 4), written)["disagreements"] == 0
