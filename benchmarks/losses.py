"""Records lost when things go wrong, stock batch processor and otel-audit side by side: a Markdown table.

    python benchmarks/losses.py [--quick]

Both deliver to a sink in a process of its own that keeps every request; lost is what was emitted and is not there
in the end. For otel-audit the end is after `otel-audit recover`, which does what the service's next start would do.
The cases: `kill -9` at full rate; no collector for a while, then one again; uvicorn stopped by SIGTERM right after
200 requests; children of `multiprocessing`, which leave by `os._exit`.
"""

from __future__ import annotations

import asyncio
import mmap
import multiprocessing
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.emitting import VARIANTS, emitter, environment
from benchmarks.sink import kept_bodies, running_sink

KILLED_AFTER_S = 2.0
DOWN_S, DOWN_QUICK_S = 30.0, 20.0
"""The stock exporter gives a batch up after some seven seconds of retries."""
RATE_WHILE_DOWN = 100
REQUESTS = 200
CHILDREN, EVENTS_A_CHILD = 5, 10


@dataclass(frozen=True)
class Run:
    """One variant in one case: where its state lies, and what its processes are given."""

    variant: str
    directory: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """Of the measured process."""
        return environment(self.directory / "state", f"http://127.0.0.1:{self.port}")

    @property
    def kept(self) -> Path:
        """What the sink took."""
        return self.directory / "kept"

    def start(self, case: str, *arguments: object) -> subprocess.Popen[str]:
        """The measured process; its output are lines for this one."""
        return subprocess.Popen(
            [sys.executable, __file__, "child", case, self.variant, *map(str, arguments)],
            env=self.environment,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def recover(self) -> None:
        """What the next start would do: end and deliver what a process has left behind."""
        if self.variant != "stock":
            command = [sys.executable, "-m", "otel_audit.cli", "recover", "--timeout", "300s"]
            subprocess.run(command, env=self.environment, check=True, capture_output=True)


def _killed(run: Run, _: float) -> int:
    """Kill it at full rate; the number that it had emitted is in shared memory."""
    counter = run.directory / "counter"
    counter.write_bytes(bytes(8))
    process = run.start("kill", counter)
    with counter.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
        while not struct.unpack("q", shared[:])[0]:
            if process.poll() is not None:
                raise SystemExit(f"{run.variant} ended by itself")
            time.sleep(0.01)
        time.sleep(KILLED_AFTER_S)
        process.kill()
        process.wait()
        emitted: int = struct.unpack("q", shared[:])[0]
    return emitted


def _ended(run: Run, case: str, *arguments: object) -> int:
    """Let it end by itself; it prints how many it has emitted."""
    printed, _ = run.start(case, *arguments).communicate()
    return int(printed.split()[-1])


def _down(run: Run, down_s: float) -> int:
    """Begin without a collector, which comes back after *down_s*; then some seconds more, and an orderly end."""
    process = run.start("down", down_s + 5)
    time.sleep(down_s)
    with running_sink(run.port, run.kept):
        printed, _ = process.communicate()
        run.recover()
    return int(printed.split()[-1])


def _terminated(run: Run, _: float) -> int:
    """Stop uvicorn the moment the last response is there."""
    process = run.start("uvicorn")
    assert process.stdout is not None
    connection = HTTPConnection("127.0.0.1", int(process.stdout.readline()))
    for _number in range(REQUESTS):
        connection.request("GET", "/")
        connection.getresponse().read()
    process.send_signal(signal.SIGTERM)
    process.wait()
    return REQUESTS


def _children(run: Run, _: float) -> int:
    return _ended(run, "children")


CASES: tuple[tuple[str, Callable[[Run, float], int]], ...] = (
    ("`kill -9` at full rate", _killed),
    ("collector down {down:.0f} s", _down),
    ("uvicorn, SIGTERM", _terminated),
    ("`multiprocessing` child exits", _children),
)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def measure(case: Callable[[Run, float], int], variant: str, down_s: float) -> tuple[int, int]:
    """How many were emitted, and how many of them never arrived."""
    with tempfile.TemporaryDirectory() as temporary:
        run = Run(variant, Path(temporary), free_port())
        # without a collector is what that case is about: it starts one of its own
        with nullcontext() if case is _down else running_sink(run.port, run.kept):
            emitted = case(run, down_s)
            if case is not _down:
                run.recover()
        arrived = {body for body in kept_bodies(run.kept) if body.startswith("number-")}
        arrived |= {_target(body) for body in kept_bodies(run.kept) if '"target"' in body}
    return emitted, sum(f"number-{number}" not in arrived for number in range(emitted))


def _target(body: str) -> str:
    """The number stands where the target's identifier does; canonical JSON has one spelling of it."""
    begin = body.index("number-")
    return body[begin : body.index('"', begin)]


def main() -> None:
    """Print the table."""
    down_s = DOWN_QUICK_S if "--quick" in sys.argv else DOWN_S
    print("| what | variant | emitted | lost |")
    print("|---|---|---|---|")
    for name, case in CASES:
        for variant in VARIANTS:
            emitted, lost = measure(case, variant, down_s)
            share = f" ({lost / emitted:.0%})" if lost else ""
            print(f"| {name.format(down=down_s)} | {variant} | {emitted:,} | {lost:,}{share} |", flush=True)


def child(case: str, variant: str, arguments: list[str]) -> None:
    """The measured process."""
    emit, end = emitter(variant)
    if case == "kill":
        with Path(arguments[0]).open("r+b") as file:
            counter = mmap.mmap(file.fileno(), 8)
        number = 0
        while True:
            emit(number)
            number += 1
            struct.pack_into("q", counter, 0, number)
    elif case == "down":
        count = int(float(arguments[0]) * RATE_WHILE_DOWN)
        began = time.monotonic()
        for number in range(count):
            emit(number)
            time.sleep(max(0.0, began + (number + 1) / RATE_WHILE_DOWN - time.monotonic()))
        end()
        print(count)
    elif case == "children":
        for one in range(CHILDREN):
            process = multiprocessing.get_context("fork").Process(target=_emit_some, args=(emit, one))
            process.start()
            process.join()
        end()
        print(CHILDREN * EVENTS_A_CHILD)
    else:
        _serve(emit)


def _emit_some(emit: Callable[[int], None], child: int) -> None:
    for number in range(child * EVENTS_A_CHILD, (child + 1) * EVENTS_A_CHILD):
        emit(number)


def _serve(emit: Callable[[int], None]) -> None:
    import uvicorn

    seen = iter(range(REQUESTS))

    async def app(scope: object, receive: object, send: Callable[[object], object]) -> None:
        del scope, receive
        emit(next(seen))
        for message in (
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]},
            {"type": "http.response.body", "body": b""},
        ):
            sent = send(message)
            assert asyncio.iscoroutine(sent)
            await sent

    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(app, lifespan="off", log_level="critical")
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        main()
