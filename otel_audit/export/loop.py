"""One turn after the other: look for work, deliver a batch, give refused records their second chance.

Export stage. The thread of a process runs it, and `otel-audit ship` does in the foreground.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

from otel_audit.endpoint import Endpoint
from otel_audit.export.again import Again, say_quarantine
from otel_audit.export.backlog import NoBacklog, SpoolBacklog
from otel_audit.export.courier import Courier
from otel_audit.export.delivering import Delivering
from otel_audit.export.drain import Drain
from otel_audit.export.encoding import Encoder
from otel_audit.export.outbox import Outbox
from otel_audit.export.outcome import Transport
from otel_audit.export.quarantine import Quarantine
from otel_audit.export.streams import DiskLines, MemoryLines
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.delivered import read_cursor
from otel_audit.spool.layout import service_directory, service_names
from otel_audit.spool.live import LiveStream
from otel_audit.spool.storage import DiskStorage, MemoryStorage, Storage

_SHIP_LOOKS_EVERY_S = 1.0
"""All of its work lies there."""

_AGAIN_AFTER_S = 30.0


def open_transport(endpoint: Endpoint) -> Transport:
    """The way to an endpoint, by its protocol; no connection is made yet."""
    agent = f"otel-audit/{version('otel-audit')}"
    if endpoint.protocol == "grpc":
        from otel_audit.export.otlp_grpc import GrpcTransport

        return GrpcTransport(endpoint, agent)
    from otel_audit.export.otlp_http import HttpTransport

    return HttpTransport(endpoint, agent)


class Loop:
    """Everything that one deliverer has; used by one thread."""

    def __init__(
        self,
        delivering: Delivering,
        directory: Path | None,
        storage: Storage | None,
        alarms: Alarms,
        *,
        ended_only: bool = False,
    ) -> None:
        """*directory* is the state directory, None in memory; *storage* None: every service of it.

        *ended_only*: also with *storage* None, none that a living process writes.
        """
        scope = ("otel-audit", version("otel-audit"))
        encoder = Encoder(delivering.attributes)
        self._transport = open_transport(delivering.endpoint)
        self._quarantine = Quarantine(directory)
        self._alarms = alarms
        self._storage = storage
        self._encoder, self._scope = encoder, scope

        def services() -> list[Path]:
            if isinstance(storage, DiskStorage):
                return [storage.service_directory]
            if storage is None and directory is not None:
                return [service_directory(directory, name) for name in service_names(directory)]
            return []

        self._spool = SpoolBacklog(services, encoder, scope, is_every=storage is None and not ended_only)
        self.name = delivering.endpoint.target
        self.drain = Drain(
            self.name,
            Courier(self._transport, self._quarantine),
            NoBacklog() if directory is None else self._spool,
            alarms,
            delivering.pace,
        )
        self._again = Again(self._quarantine, self.drain.courier, encoder, scope, services)
        self._again_at_s = 0.0
        self._look_every_s = _SHIP_LOOKS_EVERY_S if storage is None else delivering.pace.look_every_s
        self._look_at_s = 0.0
        self._said = -1

    def adopt(self, live: LiveStream) -> bool:
        """Deliver a stream of this process; False while another process delivers it (`otel-audit ship`).

        Raises:
            OSError: its lock cannot be taken.
        """
        if isinstance(self._storage, MemoryStorage):
            self.drain.own.append(Outbox(MemoryLines(self._storage, live), self._encoder, self._scope))
            return True
        assert self._storage is not None
        directory = self._storage.directory_of(live.stream.id)
        assert directory is not None
        outbox = self._spool.own(directory, live)
        if outbox is None:
            if live.delivery is not None:
                live.delivery.reach(read_cursor(directory).seq)
            return False
        self.drain.own.append(outbox)
        return True

    def backlog(self) -> list[Path]:
        """Directories of the streams that are delivered for others; any thread may ask."""
        outboxes = tuple(self.drain.backlog)
        return [outbox.lines.directory for outbox in outboxes if isinstance(outbox.lines, DiskLines)]

    def turn(self, *, own_only: bool = False) -> float:
        """Do one thing; returns after how many seconds there is more to do, 0 if there may be."""
        now_s = time.monotonic()
        if (not own_only or self.drain.is_waiting) and now_s >= self._look_at_s:
            self._look(now_s)
        idle_s = self.drain.step(now_s, own_only=own_only)
        if idle_s > 0 and not own_only and self._try_again(now_s):
            idle_s = 0.0
        self._say()
        return idle_s if own_only else max(0.0, min(idle_s, self._look_at_s - time.monotonic()))

    @property
    def has_refused(self) -> bool:
        """Whether a record in quarantine has not had its second chance yet."""
        return self._again.has_more

    def finds_more(self) -> bool:
        """Look through the spool at once; whether something is to be delivered."""
        self._look(time.monotonic())
        return bool(self.drain.backlog)

    def close(self) -> None:
        """Let others deliver what remains."""
        self.drain.release()
        self._transport.close()
        self._alarms.say()

    def _look(self, now_s: float) -> None:
        self._look_at_s = now_s + self._look_every_s
        try:
            self.drain.look()
        except OSError as error:
            self._alarms.note("export spool", _unreadable(error))
        else:
            self._alarms.over("export spool", "the spool can be looked through again")

    def _try_again(self, now_s: float) -> bool:
        """Give one record its second chance, while nothing else is to be done and the sink takes records."""
        if not self._again.has_more or self.drain.failures or now_s < self._again_at_s:
            return False
        self._said = -1
        try:
            if self._again.step():
                return True
        except OSError as error:
            self._alarms.note("quarantine", _unreadable(error))
        self._again_at_s = now_s + _AGAIN_AFTER_S
        return False

    def _say(self) -> None:
        quarantined = self.drain.courier.tally.quarantined_records
        if quarantined != self._said:
            self._said = quarantined
            say_quarantine(self._alarms, self.name, self._quarantine, self.drain.courier)
        if self._alarms.unsaid:
            self._alarms.say()


def _unreadable(error: OSError) -> str:
    return (
        f"{error.filename}: cannot be read ({error.strerror}), so what is there is not delivered: let the user "
        "that the process runs as read it. It is tried again"
    )
