"""A writer on a real directory, with a clock that stands still and no thread: the test is the keeper."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from otel_audit.configure import build, read_policy
from otel_audit.evidence.identity import Identity, self_identity
from otel_audit.pipeline import AuditPipeline
from otel_audit.settings import Settings
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.layout import make_directory, place_name
from otel_audit.spool.room import Room
from otel_audit.spool.storage import DiskStorage
from otel_audit.testing import FixedClock

Process = Callable[..., AuditPipeline]


@pytest.fixture
def clock() -> FixedClock:
    # the issuer's own clock is the machine's; an anchor's validity is not read, a stream's is by this clock
    return FixedClock()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def identity(spool: Path) -> Identity:
    make_directory(spool)
    return self_identity(spool)


@pytest.fixture
def process(spool: Path, clock: FixedClock, identity: Identity) -> Iterator[Process]:
    """Make the pipeline of one more process of the service; its thread never starts."""
    made: list[AuditPipeline] = []

    def make(**environment: str) -> AuditPipeline:
        settings = Settings.from_environ(
            {
                "OTEL_SERVICE_NAME": "shop",
                "OTEL_AUDIT_DIR": str(spool),
                "OTEL_AUDIT_SPOOL_RESERVE": "1MiB",
                **environment,
            }
        )
        room = Room(spool, settings.spool_max_bytes, settings.spool_reserve)
        pipeline = build(
            settings,
            read_policy(settings),
            DiskStorage(spool, settings.service_name, room),
            identity,
            Alarms(lambda: clock.monotonic_nano / 1e9),
            place=place_name(spool),
            clock=clock.clock(),
        )
        pipeline.writer.on_work = lambda: None
        made.append(pipeline)
        return pipeline

    yield make
    for pipeline in made:
        live = pipeline.writer.live
        if live is not None:
            live.slot.abandon()
            live.slot.release()


def records(spool: Path, stream: str) -> list[dict[str, Any]]:
    """Members of a stream's records as they lie in the spool."""
    path = spool / "shop" / stream / "000000000001.jsonl"
    return [orjson.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


c_fork: Callable[[], int] = ctypes.PyDLL(None).fork
"""fork(2) as C code does it: no hook of `os.register_at_fork` runs."""


def in_child(ask: Callable[[], bool], fork: Callable[[], int] = os.fork) -> bool:
    """What a forked child answers; it ends at once, as `os._exit` does."""
    child = fork()
    if child == 0:
        signal.alarm(60)  # a hang is a death by SIGALRM
        try:
            os._exit(ask())
        finally:
            os._exit(70)
    return {0: False, 1: True}[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
