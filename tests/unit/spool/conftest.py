"""A writer on a real directory, with a clock that stands still and no thread: the test is the keeper."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from otel_audit.configure import build, read_policy
from otel_audit.evidence.identity import Identity, memory_identity, self_identity
from otel_audit.evidence.stream import Declaration
from otel_audit.pipeline import AuditPipeline
from otel_audit.settings import Settings
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.ends import Head
from otel_audit.spool.layout import make_directory, place_name
from otel_audit.spool.room import Room
from otel_audit.spool.storage import DiskStorage, MemorySlot, MemoryStorage
from otel_audit.testing import FixedClock

Process = Callable[..., AuditPipeline]
DECLARATION = Declaration("shop", {"service.name": "shop"}, "rules: []\n")


@pytest.fixture
def clock() -> FixedClock:
    # the issuer's own clock is the machine's; an anchor's validity is not read, a stream's is by this clock
    return FixedClock()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "state"


class FailingSlot(MemorySlot):
    """Records in memory, and calls that can be made to fail, or to wait."""

    append_error: BaseException | None = None
    lines_before_error = 0.0
    """How much of the line is written all the same."""
    sync_error: OSError | None = None
    may_sync: threading.Event | None = None
    """A sync waits for it, and says so by `is_syncing`."""
    syncs = 0
    is_closed = is_released = False

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(storage)
        self.is_syncing = threading.Event()

    def append(self, line: bytes, *, is_lifecycle: bool = False) -> None:
        if self.append_error is not None:
            super().append(line[: int(len(line) * self.lines_before_error)], is_lifecycle=is_lifecycle)
            raise self.append_error
        super().append(line, is_lifecycle=is_lifecycle)

    def ends_with(self, line: bytes) -> bool:
        if 0 < self.lines_before_error < 1:
            raise OSError(errno.EIO, "part of a line stands there")
        return super().ends_with(line)

    def sync(self) -> None:
        self.syncs += 1
        if self.may_sync is not None:
            self.is_syncing.set()
            assert self.may_sync.wait(60)
        if self.sync_error is not None:
            raise self.sync_error

    def close(self) -> None:
        self.is_closed = True

    abandon = close

    def release(self) -> None:
        self.is_released = True


class FailingStorage(MemoryStorage):
    """Memory whose slots fail, and which knows other streams."""

    append_error: BaseException | None = None
    others: Sequence[Head] = ()

    def slot(self, stream: str) -> FailingSlot:
        made = FailingSlot(self)
        made.append_error = self.append_error
        self.slots[stream] = made
        return made

    def ended_heads(self) -> Sequence[Head]:
        return self.others


@pytest.fixture
def storage() -> FailingStorage:
    return FailingStorage()


@pytest.fixture(scope="session")
def issuer() -> Identity:
    """In memory; making its key is what takes its time."""
    return memory_identity()


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
