"""The second verifier and the vectors: two readings of one page, neither made with the product's code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.second_verifier.archive import bodies, question
from tests.second_verifier.windows import verify

ARCHIVES = sorted((Path(__file__).parents[1] / "vectors" / "archives").iterdir())


@pytest.mark.parametrize("home", ARCHIVES, ids=lambda home: home.name)
def test_second_verifier_says_what_the_vector_expects(home: Path) -> None:
    expected = json.loads((home / "expected.json").read_text())

    answer = verify(bodies(home), question(home))

    assert answer.verdict == expected["verdict"]
    assert {name: answer.streams[name] for name in expected["streams"]} == expected["streams"]
    firsts = {name: answer.first.get(name) for name in expected["streams"]}
    for name, first in firsts.items():
        kind, seq = expected["first_findings"].get(name, (None, 0))
        assert (first[1] if first else 0) == seq
        assert kind is None or (first and first[0] == kind)
    assert sorted(answer.loose) == expected["global_findings"]
    counts = {"pending": answer.pending, "adopted": answer.adopted}
    assert {name: counts[name] for name in expected["counts"]} == expected["counts"]
