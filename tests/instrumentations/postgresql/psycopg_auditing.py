"""A pytest plugin that has psycopg audited while psycopg's own tests run (`-p psycopg_auditing`).

The number of events is written to the file that `PSYCOPG_EVENTS` names.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from otel_audit.testing import recording
from otel_audit_psycopg import PsycopgAuditInstrumentor

_open = contextlib.ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    del config
    log = _open.enter_context(recording())
    instrumentor = PsycopgAuditInstrumentor()
    instrumentor.instrument(skip_dep_check=True)

    def count() -> None:
        Path(os.environ["PSYCOPG_EVENTS"]).write_text(str(len(log.records)))

    _open.callback(count)


def pytest_unconfigure(config: pytest.Config) -> None:
    del config
    _open.close()
