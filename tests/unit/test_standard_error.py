"""Alarms are told to a person where OpenTelemetry's handler is the only one, and told once where it is not."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys
from opentelemetry.sdk._logs import LoggingHandler
from otel_audit.standard_error import print_unheard_alarms
if "otlp" in sys.argv:
    logging.getLogger().addHandler(LoggingHandler())
if "own" in sys.argv:
    logging.getLogger().addHandler(logging.StreamHandler())
print_unheard_alarms()
print_unheard_alarms()
logging.getLogger("otel_audit").error("otel-audit: the spool is full")
logging.getLogger("otel_audit").info("not for a person")
"""


@pytest.mark.parametrize("handlers", [[], ["otlp"], ["own"], ["otlp", "own"]])
def test_an_alarm_is_printed_once_whoever_else_listens(handlers: list[str]) -> None:
    printed = subprocess.run([sys.executable, "-c", PROGRAM, *handlers], capture_output=True, text=True, check=True)

    assert printed.stderr.splitlines() == ["otel-audit: the spool is full"]
