"""docs/logging.md, tried: its program is run as it stands, and its table is what the code does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import orjson

PAGE = (Path(__file__).parents[2] / "docs" / "logging.md").read_text(encoding="utf-8")


def test_the_program_records_the_event_that_it_tells_of(tmp_path: Path) -> None:
    program = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ran = subprocess.run(
        [sys.executable, "-c", program + "\notel_audit.shutdown()\n"],
        env={**environ, "OTEL_AUDIT_DIR": str(tmp_path), "OTEL_SERVICE_NAME": "shop"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")

    (segment,) = tmp_path.glob("shop/*/*.jsonl")
    records = [orjson.loads(line) for line in segment.read_bytes().splitlines()]
    (made,) = [record for record in records if record["event"] == "invoice.approve"]
    assert made["actor"] == {"id": "alice", "type": "user", "auth": "explicit"}
    assert (made["action"], made["outcome"]) == ("APPROVE", "success")
    assert made["target"] == {"id": "invoice/42", "type": "invoice"}
    assert made["context"] == {
        "invoice.total_cents": 120000,
        "log.body": "invoice approved",
        "log.severity_number": 9,
        "log.severity_text": "INFO",
        "otel.scope.name": "audit",
    }


def test_every_name_that_the_mapping_reads_or_makes_is_in_the_table() -> None:
    source = (Path(__file__).parents[2] / "otel_audit" / "export" / "log_event.py").read_text(encoding="utf-8")
    names = set(re.findall(r'"((?:audit|log|otel)\.[a-z_.]+)"', source))
    table = PAGE.partition("## Which attribute is what")[2]
    spelt = {name if name in table else "." + name.rpartition(".")[2] for name in names}

    assert len(names) > 10
    assert [name for name in spelt if f"`{name}`" not in table] == []
