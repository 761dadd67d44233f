"""Which stream the process writes to: the first, the next, and how each of them ends.

Spool stage, between `turns` and the writer. The present stream is replaced when it is old, long or large enough, or
the wall clock has stepped, and given up when it cannot be written to.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from otel_audit.errors import IdentityError, NotConfigured
from otel_audit.evidence.stream import CloseReason, Declaration
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.gaps import GapReason, Gaps, StillDown, note, reason_of
from otel_audit.spool.live import Clock, Limits, LiveStream, open_stream
from otel_audit.spool.segment import NoSpace
from otel_audit.spool.storage import Storage
from otel_audit.spool.turns import Turns, notice

if TYPE_CHECKING:
    from otel_audit.evidence.identity import Identity

_RETRY_NANO = 1_000_000_000
"""A stream that could not be opened is tried again after this long, not at every event."""

_AHEAD_NANO = 30_000_000_000
"""How long before the present stream is too old the keeper opens the next one; twice its longest sleep.

A tenth of the greatest age where that is less."""


@dataclass(frozen=True, slots=True)
class WriterConfig:
    """How a writer writes. Intervals are nanoseconds of the monotonic clock."""

    declaration: Declaration
    limits: Limits
    seal_records: int = 1000
    fsync: Literal["interval", "always", "never"] = "interval"


class Succession(Turns):
    """The present stream of this process, and those that end."""

    def __init__(
        self, config: WriterConfig, storage: Storage, identity: Identity, clock: Clock, alarms: Alarms
    ) -> None:
        super().__init__(alarms)
        self.config = config
        self.storage = storage
        self.clock = clock
        self.on_work: Callable[[], None] = lambda: None
        """Told when the keeper has something to do: a stream opened, a seal fell due, a stream ended."""
        self.on_open: Callable[[LiveStream], None] = lambda _: None
        """Told of each stream that opens, under the lock: whoever delivers."""
        self._identity = identity
        self._begin()

    def _begin(self) -> None:
        """State of a process that has written nothing: at first, and in a forked child."""
        self.live: LiveStream | None = None
        self.ended: list[tuple[LiveStream, LiveStream | None]] = []
        """Streams that end here, each with the one that goes on; the keeper finishes them."""
        self.has_given_up = False
        """A stream of this very process waits to be recovered."""
        self._gaps = Gaps()
        self._retry_at_nano = 0
        self._down_because: GapReason = "write-failed"
        self._is_shut = False

    def _hand_over(self, live: LiveStream) -> None:
        """Called for each stream that is written to from now on, under the lock."""
        raise NotImplementedError

    def present_id(self) -> str:
        """Id of the present stream, opened where there is none.

        Raises:
            OSError, IdentityError: none can be opened.
        """
        with self.making():
            return self._present().stream.id

    def take_ended(self) -> list[tuple[LiveStream, LiveStream | None]]:
        """Streams that were closed since the last call, each with the one that goes on."""
        notice()
        with self.lock:
            ended, self.ended = self.ended, []
        return ended

    def shut(self) -> None:
        """Close the present stream; later events are refused."""
        with self.making():
            self._is_shut = True
            self.end()

    def end(self) -> None:
        """Close the present stream; the next event opens another."""
        with self.lock:
            if self.live is not None:
                self._end(self.live, "shutdown", None)

    def rotate_if_due(self) -> None:
        """Replace the present stream when it is nearly old, long or large enough, or the clock has stepped.

        Nobody's event waits for the identity or for a disk, but after a step of the clock.
        """
        with self.making():
            live = self.live
            reason = None if live is None else self._why_replace(live)
            if live is None or reason is None:
                return
            if reason == "clock":
                with contextlib.suppress(OSError, IdentityError):  # noted as alarms; tried again
                    self.replace(reason)
                return
        try:
            new = self._open(after=live)
        except (OSError, IdentityError) as error:
            note(error, self.alarms)
            live.postpone_rotation()
            return
        with self.making():
            if self.live is live:
                self._go_on_with(new, live, reason)
            else:  # another thread was quicker, or this process ends
                self.on_open(new)
                self._end(new, "shutdown", None)

    def _why_replace(self, live: LiveStream) -> CloseReason | None:
        now, monotonic_nano = self.clock.unix_nano(), self.clock.monotonic_nano()
        limits = self.config.limits
        stream = live.stream
        if live.is_unfit(now, monotonic_nano) == "clock":
            return "clock"
        is_full = stream.seq >= limits.max_records or stream.size_bytes >= limits.max_bytes
        ahead_nano = min(_AHEAD_NANO, int(limits.max_age.total_seconds() * 1e8))
        is_nearly_old = now >= live.rotate_at_unix_nano - ahead_nano
        return "rotation" if (is_full or is_nearly_old) and monotonic_nano >= live.postponed_nano else None

    def _present(self) -> LiveStream:
        """The stream to write to now: the present one while it is fit, else a new one."""
        if self._is_shut:
            raise NotConfigured(
                "the audit pipeline of this process was shut down: call otel_audit.configure() again"
            )
        self._drop_broken()
        live = self.live
        if live is not None:
            unfit = live.is_unfit(self.clock.unix_nano(), self.clock.monotonic_nano())
            if unfit is None:
                return live
            return self.replace(unfit)
        if self.clock.monotonic_nano() < self._retry_at_nano:
            raise StillDown(self._down_because)
        try:
            live = self._open()
        except (OSError, IdentityError) as error:
            self._retry_at_nano = self.clock.monotonic_nano() + _RETRY_NANO
            self._down_because = reason_of(error)
            raise
        self._begin_with(live)
        return live

    def _open(self, *, after: LiveStream | None = None) -> LiveStream:
        config = self.config
        return open_stream(self.storage, self._identity, config.declaration, config.limits, self.clock, after=after)

    def _begin_with(self, live: LiveStream) -> None:
        self.live = live
        live.on_ask = self.on_work
        self.on_open(live)
        self._hand_over(live)
        self.alarms.over("spool", "the spool can be written to again")
        self.alarms.over("identity", "the issuer certifies again")
        self.on_work()

    def replace(self, reason: CloseReason) -> LiveStream:
        """End the present stream and go on with a new one. The caller holds the lock (`locked`).

        When the identity cannot be reached at rotation, the present stream goes on and this is tried again.

        Raises:
            OSError, IdentityError: no new stream can be opened; after a step of the clock there is then none.
        """
        old = self.live
        assert old is not None
        try:
            new = self._open(after=old)
        except (OSError, IdentityError) as error:
            note(error, self.alarms)
            if reason == "rotation":
                old.postpone_rotation()
                return old
            self._retry_at_nano = self.clock.monotonic_nano() + _RETRY_NANO
            self._down_because = reason_of(error)
            self._end(old, reason, None)
            raise
        self._go_on_with(new, old, reason)
        return new

    def _go_on_with(self, new: LiveStream, old: LiveStream, reason: CloseReason) -> None:
        try:
            self._end(old, reason, new)
        finally:
            self._begin_with(new)

    def _end(self, old: LiveStream, reason: CloseReason, new: LiveStream | None) -> None:
        if self.live is old:
            self.live = None
        try:
            with contextlib.suppress(NoSpace):  # the close counts them too, and its room is reserved
                self._gaps.write(old, self.alarms)
            old.close(reason, new.stream.id if new is not None and reason == "rotation" else None)
        except OSError as error:
            self.give_up(old, error)
            return
        except BaseException:  # a signal handler's: nobody would finish it
            self.give_up(old, OSError(errno.EINTR, f"the end of stream {old.stream.id} was interrupted"))
            raise
        self.ended.append((old, new))
        self.on_work()

    def give_up(self, live: LiveStream, error: OSError) -> None:
        """Give a stream up that could not be written to; it is recovered like that of a crashed process."""
        live.is_broken = True
        if self.live is live:
            self.live = None
        live.slot.abandon()
        live.slot.release()
        self.has_given_up = True
        self.alarms.note(
            "spool",
            f"{error.filename or 'the spool'}: {error.strerror}; a new stream is tried, and what was recorded is "
            "kept: look at the disk (dmesg)",
        )
        self.on_work()

    def _drop_broken(self) -> None:
        """After a failed sync, or a signal handler's exception in the middle of a record."""
        live = self.live
        if live is not None and (live.is_broken or not live.stream.is_whole):
            self.give_up(live, OSError(errno.EIO, f"stream {live.stream.id} may have lost its last records"))
