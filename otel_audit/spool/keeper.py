"""The background thread of a writer: seals, syncs, rotates, ends what crashed, retires what is old.

Spool stage. Started by the first stream of a process, in a forked child anew; a daemon, because nothing may
depend on an orderly end. Each step may fail on its own: it is noted as an alarm and tried again.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from otel_audit.errors import IdentityError, NotConfigured
from otel_audit.spool.ends import End, Head, mark_ended, mark_named
from otel_audit.spool.gaps import note
from otel_audit.spool.live import LiveStream
from otel_audit.spool.recovery import recover_crashed
from otel_audit.spool.retention import Retention, retire
from otel_audit.spool.storage import DiskStorage
from otel_audit.spool.writer import Writer

CRASHED_EVERY_S = 30.0
"""How often a running process looks for streams of dead ones; the design promises a minute."""

RETIRE_EVERY_S = 600.0
MAX_RESTORES = 5
"""How often it is tried to put removed records back before the stream is given up, a seal interval apart."""

_LONGEST_SLEEP_S = 15.0
_PAUSE_S = 1.0
"""After a fault of our own, before it is tried again."""


class Keeper:
    """Keeps the promises that a writer's records make."""

    def __init__(self, writer: Writer, retention: Retention | None) -> None:
        self._writer = writer
        self._retention = retention
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._failed_restores = 0
        self._is_stopping = False
        self._crashed_at_s = self._retired_at_s = float("-inf")
        self.on_synced: Callable[[], None] = lambda: None
        """Told when what is sealed is on disk: whoever delivers."""
        self.on_put_back: Callable[[], None] = lambda: None
        """Told when the records were put back that someone had removed: the rest of the spool may be gone too."""
        self.on_start: Callable[[], None] = lambda: None
        """Told when the thread starts: this process has begun to write."""
        writer.on_work = self.wake

    def wake(self) -> None:
        """There is something to do; starts the thread in a process that has none."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._is_stopping = False
            self._wake = threading.Event()
            self._crashed_at_s = self._retired_at_s = float("-inf")
            self._thread = threading.Thread(target=self._run, name="otel-audit-keeper", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # a limit of the machine's, or the interpreter is going down
                self._pid = 0
                self._writer.alarms.note(
                    "keeper",
                    f"no thread to seal the log with ({error}): raise the limit of threads (ulimit -u, the "
                    "container's pids). Records are kept, but not sealed or delivered; it is tried again",
                )
                return
            self._writer.alarms.over("keeper", "the log is sealed again")
            self.on_start()
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """End the thread, after what it is just doing; this process gets no other one."""
        self._is_stopping = True
        self._wake.set()
        thread = self._thread
        if self._pid == os.getpid() and thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
        self._pid = os.getpid()

    def finish(self) -> None:
        """After `stop` and the writer's `shut`: make the end durable."""
        self._try(self.finish_ended)
        self._writer.alarms.say()

    def _run(self) -> None:
        wake = self._wake
        # once at least: a process that lives for a moment still ends what an earlier one left open
        is_well = self._tick_or_note()
        while not self._is_stopping:
            wake.wait(self._sleep_s() if is_well else _PAUSE_S)
            wake.clear()
            is_well = self._tick_or_note()

    def _tick_or_note(self) -> bool:
        """What nobody foresaw must not end the sealing: the thread's outermost bound."""
        alarms = self._writer.alarms
        try:
            self.tick()
        except Exception as error:  # noqa: BLE001 - told below, and tried again
            alarms.fault("keeper-fault", "the thread that seals the log", error)
            alarms.say()
            return False
        alarms.over("keeper-fault", "the thread that seals the log has got through again")
        return True

    def _sleep_s(self) -> float:
        writer = self._writer
        live = writer.live
        if live is None:
            return _LONGEST_SLEEP_S
        due_s = (live.seal_due_nano(writer.config.seal_records) - writer.clock.monotonic_nano()) / 1e9
        return min(max(due_s, 0.01), _LONGEST_SLEEP_S)

    def tick(self) -> None:
        """Do everything that is due."""
        writer = self._writer
        now_s = writer.clock.monotonic_nano() / 1e9
        self._try(self._put_back)
        self._try(writer.open_to_tell)
        self._try(writer.tell_gaps)
        self._try(writer.rotate_if_due)
        writer.seal_if_due()
        self._try(self._sync)
        self._try(self.finish_ended)
        self.on_synced()
        self._try(self._name_others)
        if writer.has_given_up or now_s - self._crashed_at_s >= CRASHED_EVERY_S:
            self._crashed_at_s = now_s
            writer.has_given_up = False
            self._try(self.recover)
        if self._retention is not None and now_s - self._retired_at_s >= RETIRE_EVERY_S:
            self._retired_at_s = now_s
            self._try(self._retire)
        writer.alarms.repeat()
        writer.alarms.say()

    def recover(self) -> list[End]:
        """End the streams of crashed processes.

        Raises:
            OSError, IdentityError: see `recover_crashed`.
        """
        storage = self._writer.storage
        return recover_crashed(storage.service_directory, self._writer) if isinstance(storage, DiskStorage) else []

    def finish_ended(self) -> None:
        """Sync and release the streams that were closed, and name their ends in those that go on.

        Raises:
            OSError: an end may not be durable; the stream is left to be recovered.
        """
        for old, new in self._writer.take_ended():
            stream = old.stream
            try:
                old.finish()
                directory = self._writer.storage.directory_of(stream.id)
                if directory is not None:
                    self._mark_ended(old, directory)
                    if new is not None:
                        self._link(new, Head(directory, stream.reference, has_ended=True))
            finally:
                old.slot.release()

    def _mark_ended(self, old: LiveStream, directory: Path) -> None:
        stream = old.stream
        mark_ended(
            directory,
            End(
                "closed",
                stream.reference,
                stream.seq,
                old.closed_at,
                tuple(sorted(old.mentions.names)),
                tuple(sorted(old.mentions.retired)),
            ),
        )

    def _link(self, new: LiveStream, head: Head) -> None:
        with self._writer.making():
            if self._writer.live is new and not new.is_broken:
                new.link([head])

    def _sync(self) -> None:
        """Make durable what is signed, and note which ends are now named for good."""
        live = self._writer.live
        if live is not None and self._writer.config.fsync != "never":
            live.sync(live.stream.signed_seq)
            named, live.named = live.named, []
            for directory in named:
                mark_named(directory)

    def _name_others(self) -> None:
        """Name the streams that go on beside a new one, which did not wait for their syncs when it opened."""
        writer = self._writer
        live = writer.live
        if live is None or live.has_named_all:
            return
        heads: list[Head] = []
        failed: OSError | None = None
        try:
            for head in writer.storage.heads():
                if self._is_stopping:  # each sync takes its time, and the process shall end
                    return
                if head.directory.name not in live.mentions.names:
                    heads.append(head)
        except OSError as error:
            failed = error
            writer.alarms.note(
                "others",
                f"{error.filename or 'the spool'}: a stream of this service cannot be named ({error.strerror}), so "
                "nothing will vouch for its end; no event is lost. Give this process's account access to it",
            )
        else:
            writer.alarms.over("others", "every stream of this service can be named")
        with writer.making():
            if (
                writer.live is live
                and live.is_unfit(writer.clock.unix_nano(), writer.clock.monotonic_nano()) is None
            ):
                live.link(heads)
                live.has_named_all = failed is None

    def _put_back(self) -> None:
        """Bring a segment back that was unlinked under us, from the descriptor that outlives it."""
        writer = self._writer
        live = writer.live
        if live is None or (live.slot.is_held() and live.slot.is_in_place()):
            return
        with writer.making():
            if writer.live is not live:
                return
            if not live.slot.is_held():
                # close_fds in a daemon's start, say: what stands there is whole, and others may end it by now
                writer.give_up(live, OSError(errno.EBADF, "file or lock was closed by other code of this process"))
                return
            if live.slot.is_in_place():
                return
            try:
                live.slot.restore()
                self._failed_restores = 0
            except OSError as error:
                # who removes them may be at it still; until then the open file holds what nothing else does
                self._failed_restores += 1
                if self._failed_restores == MAX_RESTORES:
                    self._failed_restores = 0
                    writer.give_up(live, error)
                raise
        self._try(self.on_put_back)
        writer.alarms.note(
            "unlinked",
            f"the records of stream {live.stream.id} were removed under us; put back: find out who removes them",
        )
        writer.alarms.over("unlinked", "the removed records were put back, from the file that was still open")

    def _retire(self) -> None:
        storage = self._writer.storage
        if self._retention is not None and isinstance(storage, DiskStorage):
            retire(storage.service_directory, self._writer, self._retention)

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except NotConfigured:
            return  # shut down meanwhile
        except (OSError, IdentityError) as error:
            note(error, self._writer.alarms)
