"""One fault: a system call of an application fails under real requests, and everything is judged afterwards."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tests.autoload.servers import Spool, wait_for
from tests.faults.system_calls.application import EVENTS_A_REQUEST, forked, serve, start_again

PATIENCE_S = 60.0
SETTINGS = {
    "OTEL_SERVICE_NAME": "shop",
    "OTEL_AUDIT_SEAL_RECORDS": "4",
    "OTEL_AUDIT_STREAM_MAX_RECORDS": "12",
    "OTEL_AUDIT_SPOOL_RESERVE": "1MiB",
    "OTEL_AUDIT_LOCAL_RETENTION": "1h",
}
REQUESTS = 10
Answer = tuple[int, str]
_NO_ANSWER: Answer = (0, "")


@dataclass(frozen=True, slots=True)
class Fault:
    """What fails. strace counts the calls of each thread on its own."""

    call: str
    error: str
    mode: str
    since: str
    """Before anything of the spool was opened, or after a request."""
    lasts: bool
    """Also every later call, until it heals."""
    turn: int = 1

    def __str__(self) -> str:
        times = "from then on" if self.lasts else "once"
        return f"{self.mode} {self.call} {self.error} at {self.turn} since {self.since} {times}"


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    answers: list[Answer] = field(default_factory=list[Answer])
    log: list[str] = field(default_factory=list[str])
    done: list[int] = field(default_factory=list[int])
    """Requests whose work the application did."""
    injected: int = 0
    wrong: list[str] = field(default_factory=list[str])


def attempt(fault: Fault, template: Path, folder: Path) -> Outcome:
    """Have *fault* happen to an application whose state directory begins as a copy of *template*."""
    shutil.copytree(template, folder / "state")
    environment = {**SETTINGS, "OTEL_AUDIT_DIR": str(folder / "state"), "OTEL_AUDIT_FAIL_MODE": fault.mode}
    outcome = Outcome()
    _serve_and_ask(fault, folder, environment, outcome)
    outcome.injected = (folder / "trace").read_text().count("(INJECTED)")
    error = (folder / "stderr").read_text()
    if error:
        outcome.wrong.append(error)
    # the application's own call, which it does not catch: documented, and a 503 all the same
    if any("Traceback" in line and "RecordingFailed" not in line for line in outcome.log):
        outcome.wrong.append("\n".join(outcome.log))
    later = forked().Process(target=start_again, args=(environment,))
    later.start()
    later.join(PATIENCE_S)
    if later.exitcode != 0:
        outcome.wrong.append(f"the next process: {later.exitcode}")
    is_refused = (folder / "refused").exists()
    is_in_memory = any("records are kept in memory only" in line for line in outcome.log)
    if is_refused and (fault.mode, fault.since) != ("closed", "start"):
        outcome.wrong.append((folder / "refused").read_text())
    if not is_refused and not is_in_memory:
        _judge(fault, Spool(folder / "state"), outcome)
    return outcome


def _serve_and_ask(fault: Fault, folder: Path, environment: dict[str, str], outcome: Outcome) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = forked().Process(target=serve, args=(port, str(folder), environment))
    process.start()
    try:
        pid = wait_for(lambda: process.pid if (folder / "ready").exists() else None, "a process")
        if fault.since == "start":
            strace = _attach(pid, fault, folder / "trace")
            os.kill(pid, signal.SIGUSR1)
        else:
            os.kill(pid, signal.SIGUSR1)
            outcome.answers.append(_answer(port, "/items/1", process.is_alive))
            strace = _attach(pid, fault, folder / "trace")
        for number in range(len(outcome.answers) + 1, REQUESTS + 1):
            outcome.answers.append(_answer(port, f"/items/{number}", process.is_alive))
        strace.terminate()
        strace.communicate()
        if process.is_alive() and _NO_ANSWER not in outcome.answers:
            wait_for(lambda: _is_recorded_again(port, outcome), "recording again, without a restart")
            outcome.log = orjson.loads(_get(port, "/log")[1])
            outcome.done = orjson.loads(_get(port, "/done")[1])
            _get(port, "/stop")
        process.join(PATIENCE_S)
        if process.exitcode != 0:
            outcome.wrong.append(f"exit {process.exitcode}")
    finally:
        if process.is_alive():
            process.kill()
            process.join()


def _attach(pid: int, fault: Fault, trace: Path) -> subprocess.Popen[bytes]:
    inject = f"inject={fault.call}:error={fault.error}:when={fault.turn}{'+' if fault.lasts else ''}"
    strace = subprocess.Popen(
        ["strace", "-f", "-y", "-o", str(trace), "-e", f"trace={fault.call}", "-e", inject, "-p", str(pid)],
        stderr=subprocess.PIPE,
    )
    assert strace.stderr is not None
    line = strace.stderr.readline()
    assert b"attached" in line, line
    return strace


def _get(port: int, path: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def _answer(port: int, path: str, is_alive: Callable[[], bool]) -> Answer:
    """What the application answers, once it listens; none where it refused to start."""

    def ask() -> Answer | None:
        try:
            return _get(port, path)
        except ConnectionError:
            return None if is_alive() else _NO_ANSWER

    return wait_for(ask, path)


def _is_recorded_again(port: int, outcome: Outcome) -> bool:
    outcome.answers.append(_get(port, f"/items/{len(outcome.answers) + 1}"))
    status, body = outcome.answers[-1]
    return status == 200 and not body.endswith(" -")


def _judge(fault: Fault, spool: Spool, outcome: Outcome) -> None:
    wrong = outcome.wrong
    verdict = spool.verdict()
    findings = [finding for finding in verdict.findings if finding.severity != "warning"]
    if {finding.kind for finding in findings} - {"declared-gap", "declared-drops"}:
        wrong.append(f"{verdict.status}: {findings}")
    items = {f"{r['stream']}-{r['seq']}": r["target"]["id"] for r in spool.records("item.read") if "target" in r}
    requests = [path.rsplit("/", 1)[1] for path in spool.paths() if path.startswith("/items/")]
    for number, (status, body) in enumerate(outcome.answers, 1):
        if status == 200:
            record_id = body.split()[2]
            if record_id != "-" and items.get(record_id) != str(number):
                wrong.append(f"not recorded: {body}")
            if fault.mode == "closed" and (record_id == "-" or str(number) not in requests):
                wrong.append(f"a success without its records: {body}")
        elif status != 503 or fault.mode != "closed":
            wrong.append(f"request {number}: {status} {body}")
    for found in ([*items.values()], requests):
        if len(found) != len(set(found)):
            wrong.append(f"recorded twice: {sorted(found)}")
    done = {str(number) for number in outcome.done}
    recorded = sum(number in done for number in [*items.values(), *requests])
    lost = sum(gap["context"]["audit.gap.count"] for gap in spool.records("audit.gap"))
    if len(outcome.done) * EVENTS_A_REQUEST != recorded + lost:
        wrong.append(f"{len(outcome.done)} requests, {recorded} events recorded, {lost} in gaps")
