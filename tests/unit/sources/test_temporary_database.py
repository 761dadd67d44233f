"""A statement over a million records ends when the user says so."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sqlite3, threading
from otel_audit.sources.temporary_database import as_ours, open_temporary_database
signal.signal(signal.SIGINT, signal.default_int_handler)
database = open_temporary_database()
database.create_function("is_good", 1, lambda number: True)
print("begun", flush=True)
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    database.execute({statement!r}).fetchall()
except sqlite3.Error as error:
    raise as_ours(error, "it") from None
"""
ENDLESS = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"


@pytest.mark.parametrize("statement", [ENDLESS, ENDLESS + " WHERE is_good(x)"], ids=["plain", "calls us"])
def test_a_statement_without_end_ends_by_an_interrupt(statement: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement=statement)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.stdout == "begun\n"
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert done.returncode == -signal.SIGINT
