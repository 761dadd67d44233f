"""Servers that fork by themselves, patch the threads away, or replace their workers under load."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.autoload.servers import Program, Spool, Start, wait_for

GUNICORN = ("gunicorn", "--bind", "127.0.0.1:0", "--graceful-timeout", "60", "app:app")
EARLY = "\nsqlite3.connect('shop.db').execute('SELECT 1').fetchone()\n"
"""An event while the application is loaded: of the master, if that is who loads it."""

REQUESTS = 150 * int(os.environ.get("OTEL_AUDIT_TEST_ROUNDS", "1"))


def load(program: Program, count: int = REQUESTS) -> set[str]:
    """Pids that answered so many requests, sixteen at a time."""
    with ThreadPoolExecutor(16) as pool:
        return set(pool.map(program.get, [f"/items/{number}" for number in range(count)]))


def assert_each_was_recorded_once(spool: Spool, pids: set[str], count: int = REQUESTS) -> None:
    asked = [path for path in spool.paths() if path != "/items/999999"]
    assert asked == sorted(f"/items/{number}" for number in range(count))
    for pid, records in spool.by_pid().items():
        assert {record["stream"] for record in records} == {records[0]["stream"]}
        if any(record["event"] == "http.server.request" for record in records):
            assert str(pid) in pids
    spool.assert_verified()


@pytest.mark.parametrize("early", ["", EARLY], ids=["", "an event in the master"])
def test_sixteen_threads_of_preloaded_workers_that_are_replaced_under_load(
    early: str, instrument: Start, spool: Spool, tmp_path: Path
) -> None:
    application = tmp_path / "folder" / "app.py"
    application.write_text(application.read_text() + early)
    options = ("--workers", "2", "--threads", "16", "--preload", "--max-requests", "60")
    program = instrument(*GUNICORN, *options)
    pids = load(program)
    assert program.stop() == 0

    assert len(pids) > 2
    assert_each_was_recorded_once(spool, pids)
    assert set(spool.ends()) == {"shutdown"}


def test_reloads_under_load_lose_nothing(instrument: Start, spool: Spool) -> None:
    program = instrument(*GUNICORN, "--workers", "2", "--threads", "8")
    program.get("/items/999999")
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(load, program)
        for count in (2, 4):
            wait_for(lambda: len(spool.streams()) >= count or answers.done(), "workers that answer")  # noqa: B023
            program.send(signal.SIGHUP)
        pids = answers.result()
    assert program.stop() == 0

    # a worker that was told to go may close a connection that it had accepted, and the client asks again
    assert set(spool.paths()) == {*(f"/items/{number}" for number in range(REQUESTS)), "/items/999999"}
    assert pids
    spool.assert_verified()


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed")
def test_the_gevent_worker_seals_and_closes_as_others_do(instrument: Start, spool: Spool) -> None:
    """Its threads are greenlets, patched in after our locks were made: the keeper is one of them."""
    program = instrument(*GUNICORN, "--workers", "2", "--worker-class", "gevent", OTEL_AUDIT_SEAL_INTERVAL="200ms")
    pids = load(program)
    wait_for(lambda: len(spool.records("audit.seal")) >= 2, "seals while it runs")
    assert program.stop() == 0

    assert_each_was_recorded_once(spool, pids)
    assert set(spool.ends()) == {"shutdown"}


UWSGI = {
    "the master loads, and forks in C": ((), ""),
    "with threads": (("--enable-threads", "--threads", "4"), ""),
    "each worker loads": (("--lazy-apps", "--enable-threads"), EARLY),
    "the master calls Python's hooks": (("--py-call-uwsgi-fork-hooks", "--enable-threads"), EARLY),
}


@pytest.mark.parametrize("case", UWSGI)
@pytest.mark.parametrize("auto", [True, False], ids=["opentelemetry-instrument", "configure()"])
def test_workers_of_uwsgi_have_a_stream_each(
    auto: bool, case: str, start: Start, instrument: Start, spool: Spool
) -> None:
    uwsgi = shutil.which("uwsgi", path=str(Path(sys.executable).parent))
    if uwsgi is None:
        pytest.skip("uwsgi is not installed")
    options, early = UWSGI[case]
    application = spool.directory.parent / "folder" / "app.py"
    text = application.read_text()
    if not auto:
        text = f"import otel_audit\notel_audit.configure()\n{text}"
        text += (
            "\nfrom otel_audit_flask import FlaskAuditInstrumentor\nFlaskAuditInstrumentor().instrument_app(app)\n"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    application.write_text(f"{text}{early}\nprint('http://{address}', flush=True)\n")
    command = ("--http-socket", address, "--wsgi", "app:app", "--home", sys.prefix, "--die-on-term")
    program = (instrument if auto else start)(
        uwsgi, *command, "--master", "--processes", "2", "--worker-reload-mercy", "20", *options
    )
    pids = load(program)
    assert program.stop() == 0
    assert "NO MERCY" not in program.log

    assert_each_was_recorded_once(spool, pids)
    assert not [end for end in spool.ends() if end not in ("shutdown", "open")]
    masters = [records for pid, records in spool.by_pid().items() if str(pid) not in pids]
    assert all(record["event"] != "http.server.request" for records in masters for record in records)
