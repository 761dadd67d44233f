"""Write every vector below a directory: `python -m tests.vectors.make_vectors [DIRECTORY]`.

The vectors are the format's page read by somebody else: made with openssl 3 and the standard library,
without a line of the package. Two runs give the same bytes.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tests.vectors import cases_chain, cases_keys, cases_records, cases_references, cases_time
from tests.vectors.vector import Vector

ARCHIVES = Path(__file__).parent / "archives"


def vectors() -> Iterator[Vector]:
    """Every vector there is."""
    return chain(
        cases_records.vectors(),
        cases_chain.vectors(),
        cases_keys.vectors(),
        cases_references.vectors(),
        cases_time.vectors(),
    )


def write(parent: Path) -> int:
    """Write all vectors below *parent*, in place of what stands there; returns how many."""
    if parent.exists():
        shutil.rmtree(parent)
    names: set[str] = set()
    for vector in vectors():
        assert vector.name not in names, f"two vectors are called {vector.name}"
        names.add(vector.name)
        vector.write(parent)
    return len(names)


if __name__ == "__main__":
    print(write(Path(sys.argv[1]) if len(sys.argv) > 1 else ARCHIVES), "vectors")
