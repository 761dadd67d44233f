"""The process's writer: takes events, and makes records of them in the present stream.

Spool stage. `append` returns once the record is in the page cache (with `fsync=always`: on disk). One a process:
its stream opens with the first event. A background thread, the keeper, seals, syncs and rotates.

Threads: every method may be called from any; `turns` says in which order, `succession` to which stream. A forked
child starts with no stream.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from otel_audit.errors import IdentityError, InvalidEvent, NoRoom
from otel_audit.evidence.canonical import MAX_RECORD_BYTES
from otel_audit.evidence.members import Members, timestamp
from otel_audit.forks import in_child, is_unforked, notice_fork
from otel_audit.receipt import NOT_RECORDED, Receipt
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.gaps import WHAT_NOW, GapReason, note, reason_of
from otel_audit.spool.live import Clock, LiveStream
from otel_audit.spool.segment import NoSpace
from otel_audit.spool.storage import Storage
from otel_audit.spool.succession import Succession, WriterConfig
from otel_audit.spool.tally import WriterTally
from otel_audit.spool.turns import notice

if TYPE_CHECKING:
    from otel_audit.evidence.identity import Identity

ADMISSION_BYTES = 64 << 10
"""Room held for each request that was let in, in fail mode `closed`: one record of the largest size, or
eighty of 800 bytes."""


class Writer(Succession):
    """Turns events into records of this process's present stream."""

    def __init__(
        self, config: WriterConfig, storage: Storage, identity: Identity, clock: Clock, alarms: Alarms
    ) -> None:
        super().__init__(config, storage, identity, clock, alarms)
        self._waking = (1, config.seal_records)
        _writers.add(self)

    def _begin(self) -> None:
        super()._begin()
        self.tally = WriterTally()
        self._unsaid_skips = 0
        self._unsaid_drops = 0
        self._admitted = 0

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
                if self._unsaid_drops == 1:
                    self.on_work()
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
        """Count an event that the policy left out; where no stream is open, the keeper opens one to say so."""
        notice()
        with self.lock:
            self.tally.skipped += 1
            if self.live is None:
                self._unsaid_skips += 1
                if self._unsaid_skips == 1:
                    self.on_work()
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

    def _hand_over(self, live: LiveStream) -> None:
        live.stream.skipped, self._unsaid_skips = self._unsaid_skips, 0
        live.stream.dropped, self._unsaid_drops = self._unsaid_drops, 0
        if self._admitted and live.slot.room_bytes < self._admitted * ADMISSION_BYTES:
            with contextlib.suppress(OSError):  # those let in will fail one by one, and say so
                live.slot.reserve(self._admitted * ADMISSION_BYTES)

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

    def open_to_tell(self) -> None:
        """Open a stream in a process that has skipped or lost events and written none: its seals count them.

        Raises:
            OSError, IdentityError: none can be opened; it is tried again.
        """
        with self.making():
            if self.live is None and (self._unsaid_skips or self._unsaid_drops):
                self._present()

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
