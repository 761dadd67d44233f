"""Psycopg's own tests, unchanged, give the same result with auditing on: same passed, skipped, failed.

They come with psycopg's source alone: `PSYCOPG_SOURCE` names a checkout of the tag that is installed; its extra
`test` lists what they import. `PSYCOPG_TESTS` picks some (`tests/test_cursor.py`); all but the slow ones take some
ten minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import psycopg
import pytest

from tests.postgresql_cluster import Cluster

SOURCE = Path(os.environ.get("PSYCOPG_SOURCE", "/nowhere"))


@pytest.mark.skipif(not (SOURCE / "tests" / "test_cursor.py").exists(), reason="PSYCOPG_SOURCE names no checkout")
@pytest.mark.parametrize("implementation", ["binary", "python"])
def test_psycopgs_own_tests_give_the_same_result_with_auditing_on(
    implementation: str, postgresql: Cluster, tmp_path: Path
) -> None:
    plain, audited = (_run(auditing, implementation, postgresql, tmp_path) for auditing in (False, True))

    assert audited == plain
    assert "passed" in plain.values()
    assert int((tmp_path / "events").read_text()) > 100


def _run(auditing: bool, implementation: str, postgresql: Cluster, directory: Path) -> dict[str, str]:
    with psycopg.connect(postgresql.dsn, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS psycopg_test")
        connection.execute("CREATE DATABASE psycopg_test")
    report = directory / "report.xml"
    # a cache of its own: the suite will not run where the last run did not end
    options = [f"--junitxml={report}", "-o", f"cache_dir={directory / 'cache'}"]
    plugin = ["-p", "psycopg_auditing"] if auditing else []
    tests = os.environ.get("PSYCOPG_TESTS", "tests").split()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *options, *plugin, *tests],
        cwd=SOURCE,
        env={
            **os.environ,
            "PSYCOPG_TEST_DSN": f"host=127.0.0.1 port={postgresql.port} user=postgres dbname=psycopg_test",
            "PSYCOPG_IMPL": implementation,
            "PSYCOPG_EVENTS": str(directory / "events"),
            "PYTHONPATH": str(Path(__file__).parent),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    return {
        f"{case.get('classname')}::{case.get('name')}": case[0].tag if len(case) else "passed"
        for case in ET.parse(report).iter("testcase")
    }
