"""The process's writer: takes events, owns the present stream, replaces it when it must end.

Spool stage. `append` returns once the record is in the page cache (with `fsync=always`: on disk). One a process:
its stream opens with the first event. A background thread, the keeper, seals, syncs and rotates.

Threads: every method may be called from any; `turns` says in which order. A forked child starts with no stream.
"""

from __future__ import annotations

import contextlib
import errno
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from otel_audit.errors import IdentityError, InvalidEvent, NoRoom, NotConfigured
from otel_audit.evidence.canonical import MAX_RECORD_BYTES
from otel_audit.evidence.members import Members, timestamp
from otel_audit.evidence.stream import CloseReason, Declaration
from otel_audit.forks import in_child, is_unforked, notice_fork
from otel_audit.receipt import NOT_RECORDED, Receipt
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.gaps import WHAT_NOW, GapReason, Gaps, StillDown, note, reason_of
from otel_audit.spool.live import Clock, Limits, LiveStream, open_stream
from otel_audit.spool.segment import NoSpace
from otel_audit.spool.storage import Storage
from otel_audit.spool.tally import WriterTally
from otel_audit.spool.turns import Turns, notice

if TYPE_CHECKING:
    from otel_audit.evidence.identity import Identity

ADMISSION_BYTES = 64 << 10
"""Room held for each request that was let in, in fail mode `closed`: one record of the largest size, or
eighty of 800 bytes."""

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


class Writer(Turns):
    """Turns events into records of this process's present stream."""

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
        self._waking = (1, config.seal_records)
        self._begin()
        _writers.add(self)

    def _begin(self) -> None:
        """State of a process that has written nothing: at first, and in a forked child."""
        self.live: LiveStream | None = None
        self.ended: list[tuple[LiveStream, LiveStream | None]] = []
        """Streams that end here, each with the one that goes on; the keeper finishes them."""
        self.has_given_up = False
        """A stream of this very process waits to be recovered."""
        self.tally = WriterTally()
        self._gaps = Gaps()
        self._unsaid_skips = 0
        self._unsaid_drops = 0
        self._admitted = 0
        self._retry_at_nano = 0
        self._down_because: GapReason = "write-failed"
        self._is_shut = False

    # Events

    def append(self, members: Members, happened: int | None = None) -> Receipt:
        """Make a record of an event's *members*, which *happened* then (Unix, nanoseconds; None: now).

        The receipt says `recorded=False` where it could not be written; a gap record will tell.

        Raises:
            NotConfigured: after `shut`.
            InvalidEvent: a context value that a record cannot carry; the caller counts it as lost.
        """
        if not is_unforked[0]:
            notice_fork()
        with self.lock:
            if self._is_busy:
                receipt = Receipt(False)
                self._later.append(lambda: self._append_late(receipt, members, happened))
                return receipt
            self._is_busy = True
            try:
                receipt = self._append(members, happened)
            except BaseException:
                self._drop_broken()
                raise
            finally:
                self._is_busy = False
        if self._later:
            self._do_later()
        if self.alarms.unsaid:
            self.alarms.say()
        return receipt

    def _append_late(self, receipt: Receipt, members: Members, happened: int | None) -> None:
        try:
            receipt.become(self.append(members, happened))
        except InvalidEvent as error:  # its `emit` has returned long since
            self.lose("invalid", happened)
            self.alarms.note("invalid", f"an event could not be recorded: {error}; the log will carry a gap")

    def lose(self, reason: GapReason, happened: int | None = None, error: Exception | None = None) -> Receipt:
        """Count an event that could not be recorded; returns what `emit` answers then."""
        notice()
        with self.lock:
            now = self.clock.unix_nano()
            self._gaps.add(reason, now if happened is None else happened, now)
            self.tally.dropped += 1
            if self.live is None:
                self._unsaid_drops += 1
            else:
                self.live.stream.dropped += 1
        if error is not None:
            note(error, self.alarms)
        else:
            self.alarms.note(
                reason,
                f"an event could not be recorded ({reason}): {WHAT_NOW[reason]}. The log will carry a gap",
            )
        return NOT_RECORDED

    def skip(self) -> None:
        """Count an event that the policy left out; it does not open a stream."""
        notice()
        with self.lock:
            self.tally.skipped += 1
            if self.live is None:
                self._unsaid_skips += 1
            else:
                self.live.stream.skipped += 1

    def admit(self) -> Callable[[], None]:
        """Hold room for the records of one request; returns what gives it back.

        Raises:
            NoRoom: there is none, or no stream can be opened.
        """
        with self.making():
            try:
                live = self._present()
                need = (self._admitted + 1) * ADMISSION_BYTES
                if live.slot.room_bytes < need:
                    live.slot.reserve(need - live.slot.room_bytes)
            except (OSError, IdentityError) as error:
                note(error, self.alarms)
                raise NoRoom(f"no room for the audit records of this request: {error}") from error
            self._admitted += 1
        return self._dismiss

    def _dismiss(self) -> None:
        with self.lock:
            self._admitted = max(0, self._admitted - 1)

    def _append(self, members: Members, happened: int | None, *, tries: int = 3) -> Receipt:
        observed = self.clock.unix_nano()
        live = self.live
        if live is None or live.is_broken or not live.fit_from_unix_nano <= observed < live.fit_until_unix_nano:
            try:
                live = self._present()
            except (OSError, IdentityError) as error:
                return self.lose(reason_of(error), happened, error)
            observed = self.clock.unix_nano()  # never before the stream's own first records
            if live.is_unfit(observed, self.clock.monotonic_nano()):  # the clock has stepped just now
                return self._append_again(members, happened, tries)
        stream = live.stream
        draft = stream.draft_event(members, observed, happened)
        if draft is None:
            return self.lose("too-large", happened)
        try:
            live.write(draft)
        except NoSpace as error:
            return self.lose("disk-full", happened, error)
        except OSError as error:
            # this record did not get through whole: the stream is over, the event goes to a new one
            self.give_up(live, error)
            return self._append_again(members, happened, tries)
        seq = stream.seq
        self.tally.emitted += 1
        receipt = Receipt(True, stream.id, seq, stream.head or "", live)
        if seq - stream.signed_seq in self._waking:
            self.on_work()
        if self._gaps.by_reason:
            self.tell_gaps()
        return receipt

    def _append_again(self, members: Members, happened: int | None, tries: int) -> Receipt:
        if tries == 1:
            return self.lose("write-failed", happened)
        return self._append(members, happened, tries=tries - 1)

    def _drop_broken(self) -> None:
        """After a failed sync, or a signal handler's exception in the middle of a record."""
        live = self.live
        if live is not None and (live.is_broken or not live.stream.is_whole):
            self.give_up(live, OSError(errno.EIO, f"stream {live.stream.id} may have lost its last records"))

    # Streams

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
        live.stream.skipped, self._unsaid_skips = self._unsaid_skips, 0
        live.stream.dropped, self._unsaid_drops = self._unsaid_drops, 0
        if self._admitted and live.slot.room_bytes < self._admitted * ADMISSION_BYTES:
            with contextlib.suppress(OSError):  # those let in will fail one by one, and say so
                live.slot.reserve(self._admitted * ADMISSION_BYTES)
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

    # What was lost

    def tell_gaps(self) -> None:
        """Write what was lost into the log, if there is room for it again."""
        with self.making():
            live = self.live
            if live is None or not self._gaps.by_reason:
                return
            try:
                if live.slot.room_bytes < MAX_RECORD_BYTES:
                    live.slot.reserve(MAX_RECORD_BYTES)
                self._gaps.write(live, self.alarms)
            except NoSpace as error:
                note(error, self.alarms)
            except OSError as error:
                self.give_up(live, error)

    # The keeper's work

    def seal_if_due(self) -> None:
        """Seal the present stream when it owes a seal."""
        with self.making():
            live = self.live
            if live is None or self.clock.monotonic_nano() < live.seal_due_nano(self.config.seal_records):
                return
            if live.is_unfit(self.clock.unix_nano(), self.clock.monotonic_nano()) == "clock":
                return  # only the close may follow
            try:
                live.seal()
                self.tally.seals += 1
            except NoSpace as error:
                note(error, self.alarms)
            except OSError as error:
                self.give_up(live, error)

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

    def write_lifecycle(
        self, event: str, context: Mapping[str, Any], *, only_in: str | None = None, not_before: str = ""
    ) -> bool:
        """Write a record about the log, opening a stream where there is none, and sync it.

        *only_in* names the stream that it must stand in; False when another one is present by now, or when the wall
        clock says that the time *not_before* is still to come.

        Raises:
            OSError, IdentityError: it could not be written; nothing will refer to it.
        """
        with self.making():
            live = self._present()
            if only_in is not None and live.stream.id != only_in:
                return False
            if timestamp(self.clock.unix_nano()) < not_before:
                return False
            try:
                live.write_lifecycle(event, context)
            except OSError as error:
                if not isinstance(error, NoSpace):
                    self.give_up(live, error)
                raise
            seq = live.stream.seq
        live.sync(seq)
        return True

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

    # The end

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

    def forget_parent(self) -> None:
        """In a forked child: what is open belongs to the parent; this process has written nothing yet."""
        if self.live is not None and not self.live.is_broken:
            self.live.slot.abandon()
        self.alarms.forget()
        self._begin_turns()
        self._begin()


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def _forget_parents() -> None:
    for writer in _writers:
        writer.forget_parent()


in_child(_forget_parents)
