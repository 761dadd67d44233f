"""Brings one batch to the sink: whole where it is taken, in halves where it is refused.

Export stage. Refused records are found by bisection, in order, so that all others arrive in order too. Before a
record is put aside, the sink has to take another one: whoever refuses everything (a proxy's 400) refuses the
sender, not the record, and is asked again later.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from otel_audit.export.outbox import MAX_REQUEST_BYTES, Batch, Entry, Outbox
from otel_audit.export.outcome import Delivered, Outcome, Partial, Refused, Retry, Transport
from otel_audit.export.quarantine import Quarantine

LEAST_REQUEST_BYTES = 256 << 10
"""Requests are not made smaller than this because of a 413: the largest record fits, attributes and all."""


@dataclass(slots=True)
class Tally:
    """What was done since the start, for metrics and for people."""

    delivered_records: int = 0
    quarantined_records: int = 0
    requests: int = 0
    sent_bytes: int = 0
    """Before compression."""


class Courier:
    """Delivers batches; used by one thread."""

    def __init__(self, transport: Transport, quarantine: Quarantine) -> None:
        self.tally = Tally()
        self.limit_bytes = MAX_REQUEST_BYTES
        """Of a request; smaller once the sink has said that one was too large."""
        self.last_refusal = ""
        self.on_sent: Callable[[float, Outcome], object] = lambda _seconds, _outcome: None
        """Told after each request: how long it took in seconds, and what came of it."""
        self._transport = transport
        self._quarantine = quarantine
        self._partial: tuple[str, int, int] | None = None
        """The batch of which the sink took a part last time."""

    def deliver(self, outbox: Outbox, batch: Batch) -> Retry | None:
        """Have the sink take a batch; None once all of it was acknowledged or put aside, else why not.

        Raises:
            OSError: cursor or quarantine cannot be written; what was not noted is sent again.
        """
        for entry in batch.entries:
            if not entry.log_record:
                self._put_aside(outbox, entry, "it is not a record: its line in the spool was altered")
        sendable = tuple(entry for entry in batch.entries if entry.log_record)
        if sendable:
            outcome = self._send(outbox, batch, sendable)
            match outcome:
                case Delivered():
                    pass
                case Retry():
                    return outcome
                case Partial() if self._partial != (of := _name(outbox, sendable)):
                    self._partial = of
                    return Retry(
                        f"rejected {outcome.rejected} records of a request ({outcome.why}), which is sent again",
                        after_s=0.0,
                    )
                case Refused() | Partial():
                    if (retry := self._bisect(outbox, batch, sendable)) is not None:
                        return retry
        outbox.advance(batch.entries[-1])
        self._partial = None
        return None

    def renew(self) -> None:
        """Begin with a new connection: the last one failed."""
        self._transport.renew()

    def knock(self) -> Retry | None:
        """Send a request without records; None when the sink answers as to one that it takes, or finds bad."""
        outcome = self._send_bytes(b"", 0)
        return outcome if isinstance(outcome, Retry) else None

    def try_again(self, request: bytes, count: int) -> Outcome:
        """Send one request outside of any batch."""
        return self._send_bytes(request, count)

    def _bisect(self, outbox: Outbox, batch: Batch, entries: tuple[Entry, ...]) -> Retry | None:
        has_accepted = False
        parts = _halves(entries)
        while parts:
            part = parts.pop()
            outcome_of_part = self._send(outbox, batch, part)
            match outcome_of_part:
                case Retry():
                    return outcome_of_part
                case Delivered():
                    has_accepted = True
                    outbox.advance(part[-1])
                case Refused() | Partial() if len(part) != 1:
                    parts += _halves(part)
                case Refused() | Partial():
                    (suspect,) = part
                    if not has_accepted:
                        control = self._send_bytes(outbox.control(batch, suspect), 0)
                        if not isinstance(control, Delivered):
                            return _refuses_everything(outcome_of_part)
                        has_accepted = True
                        parts.append(part)  # the sink may have healed just now
                        continue
                    self._put_aside(outbox, suspect, outcome_of_part.why)
                    outbox.advance(suspect)
        return None

    def _send(self, outbox: Outbox, batch: Batch, entries: tuple[Entry, ...]) -> Outcome:
        request = outbox.request(batch, entries)
        outcome = self._send_bytes(request, len(entries))
        if isinstance(outcome, Delivered):
            outbox.accepted = entries[-1].log_record
        elif isinstance(outcome, Refused) and outcome.is_size:
            self.limit_bytes = max(LEAST_REQUEST_BYTES, min(self.limit_bytes, len(request) // 2))
        return outcome

    def _send_bytes(self, request: bytes, count: int) -> Outcome:
        began_s = time.monotonic()
        outcome = self._transport.send(request)
        self.tally.requests += 1
        if isinstance(outcome, Delivered):
            self.tally.delivered_records += count
            self.tally.sent_bytes += len(request)
        self.on_sent(time.monotonic() - began_s, outcome)
        return outcome

    def _put_aside(self, outbox: Outbox, entry: Entry, why: str) -> None:
        is_new = self._quarantine.put(outbox.stream, entry.seq, entry.body)
        outbox.lines.refuse(entry.seq)
        self.tally.quarantined_records += is_new
        self.last_refusal = f"record {entry.seq} of stream {outbox.stream}: {why}"


def _name(outbox: Outbox, entries: tuple[Entry, ...]) -> tuple[str, int, int]:
    return outbox.stream, entries[0].seq, entries[-1].seq


def _halves(entries: tuple[Entry, ...]) -> list[tuple[Entry, ...]]:
    """The second half and then the first, as a stack has it."""
    middle = len(entries) // 2
    return [half for half in (entries[middle:], entries[:middle]) if half]


def _refuses_everything(outcome: Refused | Partial) -> Retry:
    why = outcome.why if isinstance(outcome, Refused) else f"takes a part of each request only ({outcome.why})"
    return Retry(
        f"{why}, whatever is sent: it is no OTLP sink for logs, or something stands in the way; see "
        "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT and its own log"
    )
