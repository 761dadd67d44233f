"""The process that system calls fail in: a small Flask application behind a server, and the process after it.

Forked from a server process that has imported everything, so that the calls which fail are the spool's.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path

import flask
from werkzeug.serving import make_server

import otel_audit
import otel_audit.evidence.identity  # pyright: ignore[reportUnusedImport] - to have it loaded
import otel_audit.evidence.signatures  # pyright: ignore[reportUnusedImport] - to have it loaded
from otel_audit.configure import configure
from otel_audit.logger import installed
from otel_audit.pipeline import AuditPipeline
from otel_audit.settings import Settings
from otel_audit_flask import FlaskAuditInstrumentor

EVENTS_A_REQUEST = 2
"""The request, and what its view emits."""


def forked() -> ForkServerContext:
    """Where such processes come from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


class _Lines(logging.Handler):
    """The application's log, in memory: a call that fails must not be the log's own."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def serve(port: int, folder: str, environment: Mapping[str, str]) -> None:
    """Wait for SIGUSR1, then serve on *port* until told to stop; one request after the other, in this thread."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    error = os.open(Path(folder) / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(error, 2)
    log = _Lines()
    logging.basicConfig(handlers=[log], force=True, level=logging.WARNING)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = flask.Flask("shop")
    audit = otel_audit.get_audit_logger("shop")
    done: list[int] = []
    stops = False

    @app.get("/items/<int:item>")
    def item(item: int) -> str:
        done.append(item)
        receipt = audit.emit("item.read", action="READ", target=otel_audit.Target(str(item), "item"))
        return f"item {item} {receipt.record_id if receipt.recorded else '-'}"

    @app.get("/done")
    def told() -> list[int]:
        return done

    @app.get("/log")
    def logged() -> list[str]:
        return log.lines

    @app.get("/stop")
    def stop() -> str:
        nonlocal stops
        stops = True
        return ""

    server = make_server("127.0.0.1", port, app, threaded=False)
    (Path(folder) / "ready").touch()
    signal.sigwait([signal.SIGUSR1])
    try:
        configure(Settings.from_environ(environment))
    except OSError as error:
        (Path(folder) / "refused").write_text(str(error))
        return
    FlaskAuditInstrumentor().instrument_app(app)
    while not stops:
        server.handle_request()
    otel_audit.shutdown(30.0)


def start_again(environment: Mapping[str, str]) -> None:
    """The next process of the service: one event, and what the one before has left is ended."""
    configure(Settings.from_environ(environment))
    assert otel_audit.get_audit_logger("shop").emit("item.read", action="READ").recorded
    pipeline = installed()
    assert isinstance(pipeline, AuditPipeline)
    pipeline.keeper.tick()
    otel_audit.shutdown(30.0)
