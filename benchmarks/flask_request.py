"""Microseconds of CPU for one Flask request with sqlite3 queries, called as a WSGI server would.

`flask_request.py VARIANT[/QUERIES] [REQUESTS]`, with VARIANT one of `bare`, `contrib, sampled away`,
`contrib, recording`, `otel-audit`.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable

import flask
from werkzeug.test import EnvironBuilder

COUNT = 3000


def application(queries: int) -> flask.Flask:
    """One route, *queries* statements a request."""
    app = flask.Flask("bench")  # by its module: contrib replaces the name there
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute("create table customers (id integer primary key, name text)")
    connection.execute("insert into customers values (42, 'x')")

    @app.get("/customers/<int:number>")
    def customer(number: int) -> dict[str, str]:
        name = ""
        for _ in range(queries):
            (name,) = connection.execute("select name from customers where id = ?", (number,)).fetchone()
        return {"name": name}

    return app


def instrument(variant: str) -> None:
    """Put in place what *variant* says."""
    if variant == "otel-audit":
        import otel_audit
        from otel_audit_flask import FlaskAuditInstrumentor
        from otel_audit_sqlite3 import SQLite3AuditInstrumentor

        otel_audit.configure()
        FlaskAuditInstrumentor().instrument()
        SQLite3AuditInstrumentor().instrument()
    elif variant.startswith("contrib"):
        from opentelemetry import trace
        from opentelemetry.instrumentation.flask import (  # pyright: ignore[reportMissingTypeStubs]
            FlaskInstrumentor,
        )
        from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

        trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF if "away" in variant else ALWAYS_ON))
        FlaskInstrumentor().instrument()
        SQLite3Instrumentor().instrument()


def main() -> None:
    """Print the figure."""
    variant, _, queries = sys.argv[1].partition("/")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else COUNT
    instrument(variant)
    app = application(int(queries or 1))
    headers = [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)")]
    environ = EnvironBuilder("/customers/42", headers=headers).get_environ()
    environ["REMOTE_ADDR"] = "192.0.2.17"

    def start_response(status: str, headers: object, exc_info: object = None) -> Callable[[bytes], object]:
        del status, headers, exc_info
        return bytes

    def call() -> None:
        body = app.wsgi_app(dict(environ), start_response)
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()

    for _ in range(300):
        call()
    began = time.process_time()
    for _ in range(count):
        call()
    print((time.process_time() - began) / count * 1e6)


if __name__ == "__main__":
    main()
