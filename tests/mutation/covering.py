"""Which test runs which line, and for how long: `pytest -p tests.mutation.covering --covered=FILE tests/unit`.

Fixtures count as part of the test that asked first. What a test starts as another process is not seen.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--covered", required=True, help="JSON file to write")


class Covering:
    """Keeps a coverage context for each test."""

    def __init__(self, written: Path) -> None:
        self._written = written
        self._coverage = coverage.Coverage(data_file=None, include=["otel_audit/*"], config_file=False)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._failed: set[str] = set()
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration
        if not report.passed:
            self._failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        tests = sorted(set(self._seconds) - self._failed)
        number = {test: at for at, test in enumerate(tests)}
        lines = {
            str(Path(file).relative_to(Path.cwd())): {
                line: sorted(number[test] for test in contexts if test in number)
                for line, contexts in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }
        tested = [(test, round(self._seconds[test], 3)) for test in tests]
        self._written.write_text(json.dumps({"tests": tested, "failed": sorted(self._failed), "lines": lines}))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Covering(Path(str(config.getoption("--covered")))))
