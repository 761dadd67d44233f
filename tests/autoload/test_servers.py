"""Servers under `opentelemetry-instrument`: a stream for each process that saw an event, closed when it stops."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from otel_audit.configure import recover
from otel_audit.settings import Settings
from tests.autoload.servers import Program, Spool, Start, wait_for

GUNICORN = ("gunicorn", "--bind", "127.0.0.1:0", "--graceful-timeout", "60", "app:app")
UVICORN = ("uvicorn", "--port", "0", "--interface", "wsgi", "app:app")


def ask_until(program: Program, workers: int) -> tuple[list[str], int]:
    """Ask until so many different processes have answered; their pids, and how many requests that took."""
    pids: set[str] = set()
    asked = 0

    def all_answered() -> bool:
        nonlocal asked
        asked += 1
        pids.add(program.get(f"/items/{asked}"))
        return len(pids) == workers

    wait_for(all_answered, f"answers of {workers} workers")
    return sorted(pids), asked


@pytest.mark.parametrize(
    "options",
    [
        ("--workers", "2"),
        ("--threads", "16"),
        ("--workers", "2", "--preload"),
        ("--workers", "2", "--threads", "4"),
    ],
    ids=" ".join,
)
def test_each_gunicorn_worker_has_a_stream_and_the_master_none(
    options: tuple[str, ...], instrument: Start, spool: Spool
) -> None:
    program = instrument(*GUNICORN, *options)
    pids, asked = ask_until(program, 2 if "--workers" in options else 1)

    assert program.stop() == 0

    streams = spool.by_pid()
    assert sorted(map(str, streams)) == pids
    assert program.pid not in streams
    assert spool.paths() == sorted(f"/items/{number}" for number in range(1, asked + 1))
    assert set(spool.ends()) == {"shutdown"}
    spool.assert_verified()


def test_many_threads_of_one_worker_write_one_stream(instrument: Start, spool: Spool) -> None:
    program = instrument(*GUNICORN, "--threads", "16")
    with ThreadPoolExecutor(16) as pool:
        pids = set(pool.map(program.get, [f"/items/{number}" for number in range(200)]))

    assert program.stop() == 0
    assert list(map(str, spool.by_pid())) == list(pids)
    assert spool.paths() == sorted(f"/items/{number}" for number in range(200))
    spool.assert_verified()


def test_workers_that_are_replaced_after_some_requests_close_their_streams(instrument: Start, spool: Spool) -> None:
    program = instrument(*GUNICORN, "--max-requests", "5")
    pids, asked = ask_until(program, 3)
    assert program.stop() == 0

    assert sorted(map(str, spool.by_pid())) == pids
    assert len(spool.paths()) == asked
    assert set(spool.ends()) == {"shutdown"}
    spool.assert_verified()


def test_a_graceful_reload_closes_the_old_workers_streams(instrument: Start, spool: Spool) -> None:
    program = instrument(*GUNICORN)
    first = program.get("/items/1")
    program.send(signal.SIGHUP)
    wait_for(lambda: program.get("/items/2") != first, "an answer of the new worker")
    wait_for(lambda: spool.ends() == ["open", "shutdown"], "the close of the old worker's stream")
    assert program.stop() == 0

    assert len(spool.by_pid()) == 2
    assert spool.ends() == ["shutdown", "shutdown"]
    spool.assert_verified()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_gunicorn_ends_as_it_does_without_auditing(number: signal.Signals, instrument: Start, spool: Spool) -> None:
    statuses: list[int] = []
    for enabled in ("false", "true"):
        program = instrument(*GUNICORN, OTEL_AUDIT_ENABLED=enabled)
        program.get("/items/1")
        statuses.append(program.stop(number))
    assert statuses[0] == statuses[1]
    assert spool.ends() == ["shutdown"]


def test_a_killed_worker_is_named_by_the_one_that_replaces_it(instrument: Start, spool: Spool) -> None:
    program = instrument(*GUNICORN)
    victim = program.get("/items/1")
    os.kill(int(victim), signal.SIGKILL)
    wait_for(lambda: program.get("/items/2") != victim, "an answer of the new worker")
    (recovered,) = wait_for(lambda: spool.records("audit.stream.recovered"), "the recovery")
    assert program.stop() == 0

    streams = spool.by_pid()
    assert recovered["context"]["audit.recovered.stream"] == streams[int(victim)][0]["stream"]
    assert "/items/1" in spool.paths()
    assert spool.ends() == ["open", "shutdown"]
    spool.assert_verified()


def test_a_killed_server_is_ended_by_the_command(instrument: Start, spool: Spool) -> None:
    program = instrument("python", "app.py")
    program.get("/items/1")
    program.send(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL

    (end,) = recover(Settings.from_environ({"OTEL_AUDIT_DIR": str(spool.directory), "OTEL_SERVICE_NAME": "shop"}))[
        "shop"
    ]
    assert end.how == "recovered"
    assert spool.paths() == ["/items/1"]
    spool.assert_verified()


def test_events_while_the_master_loads_the_application_are_the_masters(
    instrument: Start, spool: Spool, tmp_path: Path
) -> None:
    """`--preload`, and a query at import: the master has a stream and a thread when it forks its workers."""
    application = tmp_path / "folder" / "app.py"
    application.write_text(
        application.read_text() + "\nsqlite3.connect('shop.db').execute('SELECT 1').fetchone()\n"
    )
    program = instrument(*GUNICORN, "--workers", "2", "--preload")
    pids, _ = ask_until(program, 2)
    assert program.stop() == 0

    streams = spool.by_pid()
    assert sorted(map(str, streams)) == sorted([*pids, str(program.pid)])
    assert [r["event"] for r in streams[program.pid] if not r["event"].startswith("audit.")] == ["db.query"]
    assert set(spool.ends()) == {"shutdown"}
    spool.assert_verified()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_uvicorn_loses_nothing_and_ends_as_it_does_without_auditing(
    number: signal.Signals, workers: int, instrument: Start, spool: Spool
) -> None:
    """uvicorn raises the signal again when it is done: no exit handler runs, and the stock SDK loses its buffer."""
    options = ("--workers", str(workers)) if workers > 1 else ()
    without = instrument(*UVICORN, *options, OTEL_AUDIT_ENABLED="false")
    without.get("/items/1")
    program = instrument(*UVICORN, *options)
    pids, asked = ask_until(program, workers)

    assert program.stop(number) == without.stop(number)
    assert sorted(map(str, spool.by_pid())) == pids
    assert len(spool.paths()) == asked
    assert set(spool.ends()) == {"shutdown"}
    spool.assert_verified()


def test_the_reloader_of_flasks_development_server_starts_audited_processes(
    instrument: Start, spool: Spool, tmp_path: Path
) -> None:
    program = instrument("flask", "--app", "app", "run", "--port", "0", "--reload")
    first = program.get("/items/1")
    application = tmp_path / "folder" / "app.py"
    application.write_text(application.read_text() + "\n# changed\n")
    wait_for(lambda: program.get("/items/2") != first, "an answer of the new process")
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does
    program.wait()
    wait_for(lambda: set(spool.ends()) == {"shutdown"}, "the close of the last process")

    streams = spool.by_pid()
    assert int(first) in streams
    assert program.pid not in streams
    spool.assert_verified()
