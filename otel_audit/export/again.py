"""One more try for each record in quarantine, after a start.

Export stage. Most refusals heal with the sink's next version or configuration; nobody should have to send by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from otel_audit.export.courier import Courier
from otel_audit.export.encoding import Encoder
from otel_audit.export.outbox import request_of
from otel_audit.export.outcome import Delivered, Retry
from otel_audit.export.quarantine import Quarantine
from otel_audit.export.streams import read_lines
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.layout import segments


class Again:
    """Sends what stood in quarantine when it was made, one record a step."""

    def __init__(
        self,
        quarantine: Quarantine,
        courier: Courier,
        encoder: Encoder,
        scope: tuple[str, str],
        services: Callable[[], Sequence[Path]],
    ) -> None:
        self._quarantine = quarantine
        self._courier = courier
        self._encoder = encoder
        self._scope = scope
        self._services = services
        self._left = quarantine.held()[::-1]

    @property
    def has_more(self) -> bool:
        """Whether a record waits for its second chance."""
        return bool(self._left)

    def step(self) -> bool:
        """Try one record; False when the sink cannot be asked now.

        Raises:
            OSError: it cannot be read.
        """
        stream, seq = self._left[-1]
        body = self._quarantine.body(stream, seq)
        request = b"" if body is None else self._request(stream, body)
        if not request:  # let out meanwhile, of another service, or no record at all
            self._left.pop()
            return True
        outcome = self._courier.try_again(request, 1)
        if isinstance(outcome, Retry):
            return False
        self._left.pop()
        if isinstance(outcome, Delivered):
            self._quarantine.let_out(stream, seq)
        return True

    def _request(self, stream: str, body: bytes) -> bytes:
        for service in self._services():
            for path in segments(service / stream)[:1]:
                for opened in read_lines(path, 0):
                    return request_of((body,), opened.body, self._encoder, self._scope)
        return b""


def say_quarantine(alarms: Alarms, name: str, quarantine: Quarantine, courier: Courier) -> None:
    """Tell people of records that the sink *name* refuses, as long as there are some."""
    held = len(quarantine.held())
    if held:
        last = f", the last: {courier.last_refusal}" if courier.last_refusal else ""
        alarms.note(
            "quarantine",
            f"{name} refuses records, {held} so far, kept in {quarantine.where()}{last}: see its own log, usually "
            "a limit of size or of attributes. They are sent again after a restart, by otel-audit ship or recover",
        )
    else:
        alarms.over("quarantine", f"{name} has taken the records that it had refused")
