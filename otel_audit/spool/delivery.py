"""Who waits until a record of this process was delivered.

Spool stage. The exporter's thread says how far it came, any thread or event loop asks.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

Answer = Callable[[bool], object]
"""Told True once the record was acknowledged, False once it is known to be refused. Must not block."""


class Delivery:
    """How far one stream of this process was delivered."""

    def __init__(self) -> None:
        self.seq = 0
        """Everything up to this record was acknowledged, or is in quarantine."""
        self._refused: set[int] = set()
        self._waiting: list[tuple[int, Answer]] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def reach(self, seq: int) -> None:
        """Everything up to *seq* is settled."""
        with self._lock:
            self.seq = max(self.seq, seq)
            settled = [waiting for waiting in self._waiting if waiting[0] <= self.seq]
            self._waiting = [waiting for waiting in self._waiting if waiting[0] > self.seq]
        for waits_for, answer in settled:
            answer(waits_for not in self._refused)

    def refuse(self, seq: int) -> None:
        """The sink refuses record *seq*, which is in quarantine now."""
        with self._lock:
            self._refused.add(seq)

    def ask(self, seq: int, answer: Answer) -> None:
        """Have *answer* told about record *seq*: now, or once it is known; in a forked child it is False."""
        if os.getpid() != self._pid:  # what the parent's thread does is not known here
            answer(False)
            return
        with self._lock:
            if seq > self.seq:
                self._waiting.append((seq, answer))
                return
        answer(seq not in self._refused)

    def forget(self, answer: Answer) -> None:
        """Nobody waits for that *answer* any more."""
        if os.getpid() == self._pid:
            with self._lock:
                self._waiting = [waiting for waiting in self._waiting if waiting[1] != answer]
