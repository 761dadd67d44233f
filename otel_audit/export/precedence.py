"""What must have arrived before a record may leave: whatever the record names.

Export stage. A stream's open names the last signed records of other streams, a recovery names the last record of a
crashed one, a close its successor. Somebody who verifies at the far end while a backlog drains would see the name
before what it names, and call that `truncated` or `missing-stream`. So a record that names others waits until they
were acknowledged; what was named existed before, so in the order of writing nothing waits in a circle, in one
process or among many. Adopted records and the recovery that names them leave together (`Outbox`).

Nothing waits for ever. What is not in the spool, and what a living process writes that nobody delivers, is not
waited for. A stream that is stuck while the sink takes other requests is given up, as long as it does not move: one
that this process delivers itself when it fails again after that; another process's after `Pace.patience_s` without
a step, and as long again after the sink has answered. Then the far end says that something is missing, and it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from otel_audit.evidence.record import CLOSE, LINKED, OPEN, RECOVERED, REFERENCE


class Named(NamedTuple):
    """A record of another stream of the service."""

    stream: str
    seq: int


HoldsBack = Callable[[Sequence[Named]], bool]
"""Whether one of these is still on its way."""


def named_by(members: Mapping[str, Any]) -> tuple[Named, ...]:
    """The records of other streams that a record names; none where it is not signed, or says nonsense."""
    context = members.get("context")
    if "sig" not in members or not isinstance(context, dict):
        return ()
    said = cast("dict[str, object]", context)
    match members["event"]:
        case "audit.stream.open" | "audit.stream.linked":
            references = cast("list[object]", said.get("audit.predecessors") or ())
            found = [REFERENCE.fullmatch(str(reference)) for reference in references]
            return tuple(Named(match[1], int(match[2])) for match in found if match is not None)
        case "audit.stream.recovered":
            stream, seq = said.get("audit.recovered.stream"), said.get("audit.recovered.seq")
            return (Named(str(stream), seq),) if isinstance(seq, int) else ()
        case "audit.stream.close" if "audit.successor" in said:
            return (Named(str(said["audit.successor"]), 1),)
        case _:
            return ()


NAMING = frozenset((OPEN, LINKED, RECOVERED, CLOSE))


@dataclass(slots=True)
class _Wait:
    reached: int
    """How far it had been delivered when it last moved."""
    since_s: float
    is_sink_up: bool = False
    """The sink was seen to answer since."""
    failures: int = 1
    """How often it may have failed without being stuck."""


class Precedence:
    """Who waits for whom, and for how long; used by one thread."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        """How long a stream that another process delivers may stand still."""
        self._waits: dict[str, _Wait] = {}
        self._asked: set[str] = set()
        self._given_up: dict[str, int] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether something was held back since `begin`."""
        return bool(self._asked)

    def begin(self) -> None:
        """Another look at everything begins."""
        self._waits = {stream: wait for stream, wait in self._waits.items() if stream in self._asked}
        self._asked = set()

    def holds_back(self, named: Sequence[Named], reached: Callable[[str], int | None], now_s: float) -> bool:
        """Whether a record that names these has to wait.

        *reached* says how far a stream was delivered, None where it is not to be waited for.
        """
        is_held = False
        for stream, seq in named:
            so_far = reached(stream)
            if so_far is None or so_far >= seq or self._given_up.get(stream) == so_far:
                continue
            is_held = True
            self._asked.add(stream)
            wait = self._waits.get(stream)
            if wait is None or wait.reached != so_far:
                self._waits[stream] = _Wait(so_far, now_s)
        return is_held

    def stuck(self, now_s: float, failures: Mapping[str, int]) -> list[str]:
        """Streams that others wait for and that do not move; *failures*: of those delivered by this process."""
        return [
            stream
            for stream in sorted(self._asked)
            if (
                failures[stream] > self._waits[stream].failures
                if stream in failures
                else now_s - self._waits[stream].since_s >= self.patience_s
            )
        ]

    def sink_answers(self, stuck: Sequence[str], now_s: float, failures: Mapping[str, int]) -> None:
        """The sink takes requests: each of *stuck* may try once more, and is given up if it did so already."""
        for stream in stuck:
            wait = self._waits[stream]
            if wait.is_sink_up:
                self._given_up[stream] = wait.reached
            # what it met may have been an outage, and whoever delivers it waits before the next try
            wait.is_sink_up, wait.since_s, wait.failures = True, now_s, failures.get(stream, 1)

    def sink_is_away(self, now_s: float) -> None:
        """The sink takes nothing: nobody is stuck."""
        for wait in self._waits.values():
            wait.is_sink_up, wait.since_s = False, now_s
