"""The JSON Schema of a record, for those who read logs with other tools.

Beside the data's path: nothing here makes or verifies records. `record.problem` is the check that verifiers
use; a test holds the two against each other.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def record_schema() -> dict[str, Any]:
    """The schema (JSON Schema 2020-12) of one record; its description says what it cannot check."""
    text = files("otel_audit.evidence").joinpath("record.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
