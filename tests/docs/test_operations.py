"""docs/operations.md: every metric that there is, and every line of the log that it explains."""

from __future__ import annotations

import re
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_audit.export.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_table_has_every_metric_and_no_other() -> None:
    source = (ROOT / "otel_audit" / "export" / "metrics.py").read_text(encoding="utf-8")
    written = set(re.findall(r'"(audit\.(?:queue|seals|export)\.\w+|audit\.records\.\w+)", ', source))
    counted = {f"audit.records.{name}" for name in re.findall(r'^ +\("(\w+)", "', source, re.MULTILINE)}
    listed = re.findall(r"^\| `(audit\.[\w.]+)` \|", PAGE, re.MULTILINE)

    assert sorted(listed) == sorted((written | counted) - {"audit.export.outcome"})


def test_each_line_of_the_log_that_is_explained_is_one_that_is_said() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "otel_audit").rglob("*.py"))
    said = re.sub(r'"\s*\n\s*f?"', "", sources)
    table = PAGE.partition("| the line says |")[2].partition("\n\n")[0]
    phrases = [phrase for row in table.splitlines()[2:] for phrase in re.findall(r"`([^`]+)`", row.split("|")[1])]

    assert len(phrases) > 10
    assert [phrase for phrase in phrases if phrase not in said] == []


def test_the_metrics_are_made_without_a_pipeline() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    Metrics(provider.get_meter("otel_audit"))

    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    names = {m.name for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    assert "audit.records.dropped" in names
