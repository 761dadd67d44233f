"""Which stream is delivered next, and when it is tried again.

Export stage. This process's own streams go first, then one batch of the backlog, in turn: a backlog never starves
new records, nor they it. A stream that fails waits by itself while others go on; when several fail one after the
other it is the sink, and all wait together. What a record names is delivered before it (`precedence`): a new stream
begins once the older ones that its open names have arrived, and from then on takes turns with everybody.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Protocol

from otel_audit.export.courier import Courier
from otel_audit.export.delivering import Pace
from otel_audit.export.outbox import Outbox
from otel_audit.export.outcome import Retry
from otel_audit.export.precedence import Precedence
from otel_audit.spool.alarm import Alarms

_UNREADABLE_DELAY_S = 30.0
_LOOK_AGAIN_S = 0.2
"""How often it is looked whether what another process delivers has arrived."""


class Backlog(Protocol):
    """Finds what others, or earlier processes, have left to deliver."""

    def find(self) -> Iterable[Outbox]:
        """Outboxes that have not been handed out yet, or were given back since.

        Raises:
            OSError: the spool cannot be listed.
        """
        ...

    def give_back(self, outbox: Outbox) -> None:
        """Nothing is left in it for now, or it is held back; *outbox.is_done*: nothing is left for ever."""
        ...


class Drain:
    """Delivers, one batch a step; used by one thread."""

    def __init__(
        self,
        name: str,
        courier: Courier,
        backlog: Backlog,
        alarms: Alarms,
        pace: Pace,
    ) -> None:
        """*name* is what people know the sink by: its address."""
        self.courier = courier
        self.own: list[Outbox] = []
        """Of this process's streams, oldest first."""
        self.backlog: deque[Outbox] = deque()
        self._name = name
        self._source = backlog
        self._alarms = alarms
        self._pace = pace
        self._gate_s = 0.0
        self._outage = 0
        self._failed: list[Outbox] = []
        """Streams that failed since the sink last took something."""
        self._is_own_turn = True
        self._knocks = 0
        """How often in a row the sink was asked, because somebody seemed stuck, and was away."""
        self._precedence = Precedence(pace.patience_s)
        self._is_pass_over = True

    def look(self) -> None:
        """Look for more to deliver. Those that are held back make room for what they may be waiting for.

        Raises:
            OSError: the spool cannot be listed.
        """
        for outbox in [outbox for outbox in self.backlog if outbox.held_back_by]:
            self._part_with(outbox)
        self.backlog.extend(self._source.find())

    def step(self, now_s: float, *, own_only: bool = False) -> float:
        """Deliver one batch, if one is due; returns after how many seconds there is more to do (0: perhaps now).

        *own_only*: only this process's own streams, and what they wait for.
        """
        if now_s < self._gate_s:
            return self._gate_s - now_s
        is_own_enough = own_only and not any(outbox.held_back_by for outbox in self.own)
        if self._is_pass_over:
            self._precedence.begin()
        self._is_pass_over = False
        for outbox in list(self.own) if is_own_enough else self._in_turn():
            if outbox.not_before_s > now_s:
                continue
            if self._deliver_one(outbox, now_s):
                self._is_own_turn = outbox not in self.own
                return 0.0
        self._is_pass_over = True
        waiting = [outbox.not_before_s for outbox in (*self.own, *self.backlog) if outbox.failures]
        idle_s = max(0.0, min(waiting, default=float("inf")) - now_s)
        return min(idle_s, self._unblock(now_s)) if self.is_waiting else idle_s

    @property
    def is_waiting(self) -> bool:
        """Whether a stream is held back by another one that may still arrive."""
        return self._precedence.is_waiting

    def hurry(self) -> None:
        """Try this process's own streams at once: it is about to end."""
        self._gate_s = 0.0
        self._precedence.patience_s = min(self._precedence.patience_s, self._pace.first_delay_s)
        for outbox in (*self.own, *self.backlog):
            outbox.not_before_s = 0.0
            outbox.failures = 0

    @property
    def failures(self) -> int:
        """How often the stream that fares worst has failed in a row."""
        return max((outbox.failures for outbox in (*self.own, *self.backlog)), default=self._knocks)

    def release(self) -> None:
        """Let others deliver what remains."""
        for outbox in (*self.own, *self.backlog):
            outbox.lines.release()
        self.own.clear()
        self.backlog.clear()

    def _in_turn(self) -> list[Outbox]:
        backlog = list(self.backlog)
        return [*self.own, *backlog] if self._is_own_turn else [*backlog, *self.own]

    def _deliver_one(self, outbox: Outbox, now_s: float) -> bool:
        """Try one stream; False when it had nothing to send."""
        try:
            batch = outbox.take(
                self.courier.limit_bytes,
                lambda named: self._precedence.holds_back(named, partial(self._reached, outbox), now_s),
            )
            if batch is None:
                if not outbox.held_back_by:
                    self._retire(outbox)
                return False
            retry = self.courier.deliver(outbox, batch)
        except OSError as error:
            self._unreadable(outbox, error, now_s)
            return True
        if retry is None:
            self._delivered(outbox)
        else:  # waits from now on, not from when it was sent
            self._put_off(outbox, retry, time.monotonic())
        if outbox in self.backlog:  # whose turn it was comes last now
            self.backlog.remove(outbox)
            self.backlog.append(outbox)
        return True

    def _retire(self, outbox: Outbox) -> None:
        """Nothing is left in it, for now or for ever."""
        self._alarms.over(f"export {outbox.stream}", f"stream {outbox.stream} can be delivered again")
        if outbox in self.backlog or outbox.is_done:
            self._part_with(outbox)

    def _part_with(self, outbox: Outbox) -> None:
        (self.backlog if outbox in self.backlog else self.own).remove(outbox)
        outbox.lines.release()
        self._source.give_back(outbox)

    def _reached(self, outbox: Outbox, stream: str) -> int | None:
        """How far a stream that *outbox* names was delivered."""
        for other in (*self.own, *self.backlog):
            if other.stream == stream:
                return other.cursor.seq
        return outbox.lines.reached(stream)

    def _unblock(self, now_s: float) -> float:
        """See whether those that others wait for are stuck; returns after how many seconds to look again."""
        failures = {outbox.stream: outbox.failures for outbox in (*self.own, *self.backlog)}
        stuck = self._precedence.stuck(now_s, failures)
        if not stuck:
            return _LOOK_AGAIN_S
        retry = self.courier.knock()
        if retry is None:
            self._knocks = 0
            self._precedence.sink_answers(stuck, now_s, failures)
            for outbox in (*self.own, *self.backlog):
                if outbox.stream in stuck:
                    outbox.not_before_s = now_s
            return 0.0
        now_s = time.monotonic()
        self._precedence.sink_is_away(now_s)
        self._knocks += 1
        self._away(retry)
        self._gate_s = now_s + self._delay_s(self._knocks, retry)
        return _LOOK_AGAIN_S

    def _delivered(self, outbox: Outbox) -> None:
        healed = self._failed if len(self._failed) > 1 else [outbox]
        for other in (*healed, outbox):
            other.failures = 0
            other.not_before_s = 0.0
        self._failed = []
        self._outage = self._knocks = 0
        if not self.failures:
            self._alarms.over("export", f"{self._name} takes records again")

    def _put_off(self, outbox: Outbox, retry: Retry, now_s: float) -> None:
        self._away(retry)
        outbox.failures += 1
        outbox.not_before_s = now_s + self._delay_s(outbox.failures, retry)
        if outbox not in self._failed:
            self._failed.append(outbox)
        if retry.after_s is not None or len(self._failed) > 1:
            self._outage += 1
            self._gate_s = now_s + self._delay_s(self._outage, retry)

    def _away(self, retry: Retry) -> None:
        self.courier.renew()
        self._alarms.note(
            "export", f"{self._name} {retry.why}. Nothing is lost: records wait in the spool meanwhile"
        )

    def _delay_s(self, failures: int, retry: Retry) -> float:
        """Full jitter (Brooker, "Exponential backoff and jitter"), and never earlier than the sink asked for."""
        most_s = min(self._pace.longest_delay_s, self._pace.first_delay_s * 2 ** min(failures - 1, 30))
        return max(retry.after_s or 0.0, random.uniform(0.0, most_s))  # noqa: S311 - no secret

    def _unreadable(self, outbox: Outbox, error: OSError, now_s: float) -> None:
        outbox.not_before_s = now_s + _UNREADABLE_DELAY_S
        outbox.failures += 1
        self._alarms.note(
            f"export {outbox.stream}",
            f"{error.filename or outbox.stream}: stream {outbox.stream} cannot be delivered ({error.strerror}): "
            "look at the disk, and at who may read that file. It is tried again, other streams go on",
        )
