"""A stream that is open for writing: its state, where it goes, and when it must end.

Spool stage. `open_stream` asks the identity for a certificate, names the streams that have ended, and writes the
open and the policy; `LiveStream` writes the rest.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import random
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_audit.errors import IdentityError
from otel_audit.evidence.members import timestamp
from otel_audit.evidence.stream import MAX_PREDECESSORS, CloseReason, Declaration, Draft, Stream
from otel_audit.forks import importing
from otel_audit.spool.delivery import Answer, Delivery
from otel_audit.spool.ends import Head
from otel_audit.spool.mentions import Mentions
from otel_audit.spool.segment import NamesNotSynced, NoSpace
from otel_audit.spool.storage import Slot, Storage

if TYPE_CHECKING:
    from otel_audit.evidence.identity import Identity

CLOCK_STEP_NS = 30 * 60 * 1_000_000_000
"""A wall clock that moved more than this against the monotonic one: the stream only closes ("Stream")."""

_POSTPONED_NS = 60_000_000_000
"""How long a stream goes on that could not be replaced."""

_FIT_NS = 1_000_000_000
"""How long `is_unfit` holds: two clocks and their difference cost 0.3 µs an event."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Where times come from; a test puts its own here."""

    unix_nano: Callable[[], int]
    monotonic_nano: Callable[[], int]
    boottime_nano: Callable[[], int] | None = None
    """Monotonic, and goes on while the machine sleeps."""

    def up_nano(self) -> int:
        """Time since the machine started, sleep included where that can be told."""
        return (self.boottime_nano or self.monotonic_nano)()


@dataclass(frozen=True, slots=True)
class Limits:
    """When a stream ends and another goes on."""

    max_age: timedelta = timedelta(hours=24)
    max_records: int = 1_000_000
    max_bytes: int = 256 << 20


class LiveStream:
    """One open stream; written to under its writer's lock, synced outside of it."""

    def __init__(
        self, stream: Stream, slot: Slot, *, rotate_at_unix_nano: int, clock: Clock, offset_nano: int
    ) -> None:
        self.stream = stream
        self.slot = slot
        self.rotate_at_unix_nano = rotate_at_unix_nano
        self.is_broken = False
        """A write or a sync failed: nothing may be written to it any more, not even its close."""
        self.synced_seq = 0
        self.named: list[Path] = []
        """Directories of ended streams that its records name; to be marked once those are on disk."""
        self.mentions = Mentions()
        """Streams that its records speak of; retention asks."""
        self.has_named_all = False
        """Its records name the streams that had not ended when it opened."""
        self.closed_at = ""
        """Time of its close, as that says it."""
        self.first_unsealed_nano: int | None = None
        """Monotonic time of the first record since the last signed one."""
        self.signed_nano = clock.monotonic_nano()
        """Monotonic time of the last signed record."""
        self.delivery: Delivery | None = None
        """How far it was delivered; None where nothing in this process delivers."""
        self.fit_from_unix_nano = self.fit_until_unix_nano = 0
        """Times at which an event may be written without asking `is_unfit` again."""
        self.postponed_nano = 0
        """Monotonic time before which no successor is opened: it was tried, in vain."""
        self.asked_seq = 0
        """Somebody waits until this record is delivered, so it is sealed without delay."""
        self.on_ask: Callable[[], None] = lambda: None
        self._offset_nano = offset_nano
        self._clock = clock
        self._sync_lock = threading.RLock()
        """Re-entrant: a signal handler that closes the stream may interrupt its own thread's sync."""

    def is_unfit(self, unix_nano: int, monotonic_nano: int) -> CloseReason | None:
        """Why nothing but the close may be written now; None while events may, for the second that follows too.

        A step of the clock within that second would have to be small, or lead out of it.
        """
        self.fit_until_unix_nano = 0
        if abs(unix_nano - monotonic_nano - self._offset_nano) > CLOCK_STEP_NS:
            return "clock"
        if unix_nano >= self.rotate_at_unix_nano:
            return "rotation"
        self.fit_from_unix_nano = unix_nano
        self.fit_until_unix_nano = min(unix_nano + _FIT_NS, self.rotate_at_unix_nano)
        return None

    def postpone_rotation(self) -> None:
        """No successor can be opened: this stream goes on for a minute at least."""
        self.rotate_at_unix_nano = max(self.rotate_at_unix_nano, self._clock.unix_nano() + _POSTPONED_NS)
        self.postponed_nano = self._clock.monotonic_nano() + _POSTPONED_NS // 2

    def _now(self) -> int:
        """The wall clock's time, for a record about the log.

        Of a clock that has stepped since `is_unfit` was asked, what it would say without that: no record but the
        close bears a time outside of the stream's certificate.
        """
        unix_nano = self._clock.unix_nano()
        unstepped = self._clock.monotonic_nano() + self._offset_nano
        return unix_nano if abs(unix_nano - unstepped) <= CLOCK_STEP_NS else unstepped

    def write(self, draft: Draft, *, is_lifecycle: bool = False, closes: bool = False) -> None:
        """Append a draft to the page cache and advance the stream.

        Raises:
            NoSpace: nothing was written; the stream goes on.
            OSError: the stream is broken.
        """
        stream = self.stream
        before = stream.seq
        try:
            self.slot.append(draft.body + b"\n", is_lifecycle=is_lifecycle)
            stream.advance(draft, closes=closes)
        except OSError as error:
            # NoSpace is raised before the first byte: the only failure after which the stream may go on
            self.is_broken = not isinstance(error, NoSpace)
            raise
        except BaseException:
            self._settle(draft, before, closes=closes)
            raise
        if draft.is_signed:
            self.signed_nano = self._clock.monotonic_nano()
            self.first_unsealed_nano = None
        elif self.first_unsealed_nano is None:
            self.first_unsealed_nano = self._clock.monotonic_nano()

    def _settle(self, draft: Draft, before: int, *, closes: bool) -> None:
        """A signal handler raised (KeyboardInterrupt) in the middle of `write`: go on from what stands there.

        Else the next record would take the number of one that is written.
        """
        self.is_broken = True
        with contextlib.suppress(OSError):  # part of a line stands there: the stream stays broken
            if self.stream.seq == before and self.slot.ends_with(draft.body + b"\n"):
                self.stream.advance(draft, closes=closes)
            self.is_broken = not self.stream.is_whole

    def write_lifecycle(self, event: str, context: Mapping[str, Any]) -> str:
        """Append a signed record about the log; returns its reference.

        Raises:
            OSError: as `write`.
        """
        draft = self.stream.draft_lifecycle(event, self._now(), context)
        self.write(draft, is_lifecycle=True)
        self.mentions.take(event, context)
        return self.stream.reference

    def seal_due_nano(self, seal_records: int) -> int:
        """Monotonic time at which a seal is owed, at the latest for so many records; a tenth early, never late."""
        declaration = self.stream.declaration
        due = self.signed_nano + declaration.heartbeat_interval_ms * 900_000
        first = self.first_unsealed_nano
        if first is not None:
            if self.stream.unsealed >= seal_records or self.asked_seq > self.stream.signed_seq:
                return first
            due = min(due, first + declaration.seal_interval_ms * 900_000)
        return due

    def link(self, heads: Sequence[Head]) -> None:
        """Name further streams, 200 a record.

        Raises:
            OSError: as `write`.
        """
        for start in range(0, len(heads), MAX_PREDECESSORS):
            some = heads[start : start + MAX_PREDECESSORS]
            self.write_lifecycle("audit.stream.linked", {"audit.predecessors": [head.reference for head in some]})
            self.named += [head.directory for head in some if head.has_ended]

    def policy(self) -> None:
        """Append the policy's text.

        Raises:
            OSError: as `write`.
        """
        self.write(self.stream.draft_policy(self._now()), is_lifecycle=True)

    def seal(self) -> None:
        """Append a seal over all records so far.

        Raises:
            OSError: as `write`.
        """
        self.write(self.stream.draft_seal(self._now()), is_lifecycle=True)

    def close(self, reason: CloseReason, successor: str | None = None) -> None:
        """Append the close; the key is forgotten.

        Raises:
            OSError: as `write`.
        """
        now = self._clock.unix_nano()
        self.write(self.stream.draft_close(now, reason, successor), is_lifecycle=True, closes=True)
        self.closed_at = timestamp(now)
        if successor is not None:
            self.mentions.names.add(successor)

    def sync(self, seq: int, timeout_s: float = -1) -> bool:
        """Make the records up to *seq* durable; one caller's sync serves all who wait meanwhile.

        False when another's sync took longer than *timeout_s* seconds; one's own cannot be cut short.

        Raises:
            OSError: the stream is broken.
        """
        if not self._sync_lock.acquire(timeout=timeout_s):
            return False
        try:
            if self.synced_seq < seq:
                self._sync()
        finally:
            self._sync_lock.release()
        return True

    def _sync(self) -> None:
        written = self.stream.seq
        if not self.is_broken:
            try:
                self.slot.sync()
            except OSError as error:
                self.is_broken = not isinstance(error, NamesNotSynced)
                raise
        if self.is_broken:
            raise OSError(errno.EIO, f"stream {self.stream.id} was given up, its end may not be durable")
        self.synced_seq = written

    def wait_durable(self, stream: str, seq: int, timeout_s: float) -> bool:
        """See `receipt.Durability`."""
        assert stream == self.stream.id
        try:
            return self.sync(seq, timeout_s)
        except OSError:
            return False

    def wait_delivered(self, stream: str, seq: int, timeout_s: float) -> bool:
        """See `receipt.Durability`."""
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        if not self.ask_delivered(stream, seq, answers.put):
            return False
        try:
            return answers.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return False
        finally:
            self.forget_delivered(answers.put)

    def ask_delivered(self, stream: str, seq: int, answer: Answer) -> bool:
        """See `receipt.Durability`."""
        assert stream == self.stream.id
        if self.delivery is None:
            return False
        if self.stream.signed_seq < seq and self.asked_seq < seq:
            self.asked_seq = seq
            self.on_ask()
        self.delivery.ask(seq, answer)
        return True

    def forget_delivered(self, answer: Answer) -> None:
        """See `receipt.Durability`."""
        if self.delivery is not None:
            self.delivery.forget(answer)

    def finish(self) -> None:
        """After the close: sync the rest and end writing. Ownership stays until `slot.release`.

        Raises:
            OSError: the end may not be durable; the descriptor is closed all the same.
        """
        with self._sync_lock:
            try:
                self._sync()
            finally:
                self.slot.close()


def open_stream(
    storage: Storage,
    identity: Identity,
    declaration: Declaration,
    limits: Limits,
    clock: Clock,
    *,
    after: LiveStream | None = None,
) -> LiveStream:
    """Open a new stream and write its first records. *after* is this process's present one, on rotation.

    Raises:
        IdentityError: no certificate for its key; nothing was written.
        OSError: it cannot be written; what was begun ends as a crashed stream does.
    """
    with importing:  # a fork in the middle would leave the child without them for ever
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        import otel_audit.evidence.signatures  # noqa: F401 # pyright: ignore[reportUnusedImport] - its user imports it late
        from otel_audit.evidence.identity import MARGIN, StreamKey

    declaration = replace(declaration, resource={**declaration.resource, "process.pid": os.getpid()})
    stream_id = secrets.token_hex(16)
    key = Ed25519PrivateKey.generate()
    now, offset_nano = _both(clock)
    try:
        opened = datetime.fromtimestamp(now // 1_000_000_000, UTC)
        since, until = opened - MARGIN, opened + limits.max_age + MARGIN
    except (OverflowError, ValueError) as error:
        raise IdentityError("the clock stands at an end of the calendar, for which nothing is certified") from error
    certificates = identity.certify(StreamKey(key.public_key(), stream_id, declaration.service, since, until))
    # jittered, so that processes that started together do not ask the identity together a day later
    age_nano = int(limits.max_age.total_seconds() * 1e9 * random.uniform(0.9, 1.0))  # noqa: S311 - no secret
    live = LiveStream(
        Stream(stream_id, key, declaration),
        storage.slot(stream_id),
        rotate_at_unix_nano=now + age_nano,
        clock=clock,
        offset_nano=offset_nano,
    )
    try:
        # only what is on disk without a sync of ours: a request waits, and the keeper names the rest soon after
        heads = storage.ended_heads()
        first = heads[:MAX_PREDECESSORS]
        live.write(live.stream.draft_open(now, certificates, [head.reference for head in first]), is_lifecycle=True)
        live.named += [head.directory for head in first if head.has_ended]
        live.mentions.take("audit.stream.open", {"audit.predecessors": [head.reference for head in first]})
        live.policy()
        live.link(heads[MAX_PREDECESSORS:])
        if after is not None:
            live.sync(live.stream.seq)  # the close of the other one will name it
    except BaseException:  # a signal handler's too: nobody would seal it, and its lock keeps others from ending it
        live.slot.abandon()
        live.slot.release()
        raise
    return live


def _both(clock: Clock) -> tuple[int, int]:
    """The wall clock's time, and its distance from the monotonic one at that very moment.

    Everything that a stream promises is counted from it: a step shows from here on, its first records included.
    """
    now = clock.unix_nano()
    return now, now - clock.monotonic_nano()
