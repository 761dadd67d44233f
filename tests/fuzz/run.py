"""Fuzz one target, guided by coverage: `python tests/fuzz/run.py archives -max_total_time=60`.

Options behind the name are libFuzzer's (https://llvm.org/docs/LibFuzzer.html). The corpus grows in
`.cache/fuzz/<name>` (or `$OTEL_AUDIT_FUZZ_CORPUS/<name>`) beside the seeds that the target brings; what
breaks a target is written to the working directory as `crash-…` or `timeout-…`, and belongs into
`REGRESSIONS` of its module.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from pathlib import Path
from typing import Any

atheris: Any = importlib.import_module("atheris")  # has no types
ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Instrument the package, gather the seeds, go."""
    name, *options = sys.argv[1:]
    # not this folder: its requests.py would be taken for the library
    sys.path[:1] = [str(ROOT), str(ROOT / "instrumentations")]
    with atheris.instrument_imports(include=["otel_audit"]):
        module = importlib.import_module(f"tests.fuzz.{name}")
    corpus = Path(os.environ.get("OTEL_AUDIT_FUZZ_CORPUS") or ROOT / ".cache" / "fuzz") / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in (*module.seeds(), *module.REGRESSIONS):
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    if not any(option.startswith("-timeout=") for option in options):
        options.append("-timeout=10")
    atheris.Setup([sys.argv[0], *options, str(corpus)], module.target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
