"""What `emit` answers: where the record stands, and whether it stands at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol


class Durability(Protocol):
    """Whoever can say that a stream is on disk, or delivered, up to a record."""

    def wait_durable(self, stream: str, seq: int, timeout_s: float) -> bool:
        """Block until record *seq* of *stream* is synced to disk; False after *timeout_s* seconds."""
        ...

    def wait_delivered(self, stream: str, seq: int, timeout_s: float) -> bool:
        """Block until a sink has acknowledged record *seq* of *stream*; False after *timeout_s* seconds."""
        ...

    def ask_delivered(self, stream: str, seq: int, answer: Callable[[bool], object]) -> bool:
        """Have *answer* told: it is so (True), or the sink refuses it (False); returns False: nothing delivers.

        It is called once at most, by some thread, or before this returns, and must not block.
        """
        ...

    def forget_delivered(self, answer: Callable[[bool], object]) -> None:
        """Nobody waits for that *answer* any more."""
        ...


class Receipt:
    """Proof of acceptance of one event.

    `recorded` is True once the record is in the spool, where it survives the process. It is False where
    the policy left the event out (`skipped`), or, in fail mode `open`, where it could not be written.
    """

    __slots__ = ("_durability", "record_hash", "recorded", "seq", "skipped", "stream")

    def __init__(
        self,
        recorded: bool,
        stream: str = "",
        seq: int = 0,
        record_hash: str = "",
        durability: Durability | None = None,
        *,
        skipped: bool = False,
    ) -> None:
        self.recorded = recorded
        self.stream = stream
        """32 lower-case hex digits; empty when not recorded."""
        self.seq = seq
        self.record_hash = record_hash
        """Lower-case hex SHA-256 of the record's bytes; empty when not recorded."""
        self.skipped = skipped
        """True where the policy left the event out; it is counted in the next seal."""
        self._durability = durability

    @property
    def record_id(self) -> str:
        """`<stream>-<seq>`; empty when not recorded."""
        return f"{self.stream}-{self.seq}" if self.stream else ""

    def wait_durable(self, timeout_s: float = 5.0) -> bool:
        """Block until the record would survive a power cut (`fsync`); False after *timeout_s* seconds."""
        durability = self._durability
        return durability is not None and durability.wait_durable(self.stream, self.seq, timeout_s)

    def wait_delivered(self, timeout_s: float = 5.0) -> bool:
        """Block until a sink has acknowledged the record; False after *timeout_s* seconds.

        Returns False at once where nothing delivers: no endpoint is set, or `OTEL_AUDIT_EXPORTER=none`.
        """
        durability = self._durability
        return durability is not None and durability.wait_delivered(self.stream, self.seq, timeout_s)

    async def delivered(self, timeout_s: float = 5.0) -> bool:
        """Like `wait_delivered`, without blocking the event loop and without a thread."""
        import asyncio  # loaded already where there is a loop

        durability = self._durability
        if durability is None:
            return False
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()

        def settle(is_delivered: bool) -> None:
            if not future.done():
                future.set_result(is_delivered)

        def answer(is_delivered: bool) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                loop.call_soon_threadsafe(settle, is_delivered)

        if not durability.ask_delivered(self.stream, self.seq, answer):
            return False
        try:
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return False
        finally:
            durability.forget_delivered(answer)

    def become(self, other: Receipt) -> None:
        """Take over what is known of an event that could only be recorded after its `emit` had returned.

        That is the case of a signal handler, or a finaliser, that emits in the middle of another record.
        """
        for name in Receipt.__slots__:
            setattr(self, name, getattr(other, name))

    def __repr__(self) -> str:
        state = "recorded" if self.recorded else "skipped" if self.skipped else "not recorded"
        return f"<Receipt {state} {self.record_id}>"


NOT_RECORDED = Receipt(False)
SKIPPED = Receipt(False, skipped=True)
