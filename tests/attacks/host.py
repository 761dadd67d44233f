"""An honest host, simulated: it starts, forks, sleeps, crashes, recovers, rotates and retires as the page says.

Every line written is remembered in order, so that the archive can be read as it stood at any moment, also by
a reader who comes to one file later than to another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.attacks.world import stream
from tests.vectors.stream import PLACE, SECOND, T0, Stream, stamp

Operation = tuple[str, int, int]
"""What happens, to which of the live processes, and how much: see `Host.run`."""

RECORD_NS = SECOND // 10
"""How long a stream of the vectors takes over a record."""
WAITS = (1, 4, 30, 90, 3600)
STEPS = (-20, -3, 3, 20, -120, 120)
"""Minutes; beyond half an hour a process closes what it has."""

FORWARD = tuple(at for at, minutes in enumerate(STEPS) if minutes > 0)
"""Which of them put the clock forward."""


@dataclass
class Process:
    """One process and its stream."""

    stream: Stream
    state: Literal["live", "closed", "dead", "ended"] = "live"
    named: bool = False
    written: list[int] = field(default_factory=list[int])
    """When each line was written: its place in the host's order of all lines."""
    removed: int | None = None
    names: set[str] = field(default_factory=set[str])
    """Streams that it refers to."""
    retired: set[str] = field(default_factory=set[str])
    """Streams of which it says that they were retired."""
    torn: bytes = b""


@dataclass
class Host:
    """A machine that runs one service."""

    at: int = T0
    processes: list[Process] = field(default_factory=list[Process])
    clock: list[int] = field(default_factory=list[int])
    """The wall clock after each write, and before the next."""

    def run(self, operations: list[Operation]) -> None:
        for what, which, amount in operations:
            live = [one for one in self.processes if one.state == "live"]
            if what == "wait":
                self.at += WAITS[amount % len(WAITS)] * SECOND
            elif what == "step":
                self._step(STEPS[amount % len(STEPS)] * 60)
            elif what == "start" or not live:
                self._start()
            else:
                self._act(what, live[which % len(live)], amount)

    def _act(self, what: str, one: Process, amount: int) -> None:
        one.stream.at = self.at
        if what == "event":
            one.stream.events(amount % 3 + 1)
        elif what == "seal":
            one.stream.seal()
        elif what == "close":
            self._end(one, "shutdown")
        elif what == "rotate":
            successor = self._start()
            one.names.add(successor.stream.id)
            one.stream.at = self.at
            self._end(one, "rotation", successor.stream.id)
        elif what == "crash":
            one.state = "dead"
            one.torn = b'{"action":"READ","actor":'[: amount % 20] + bytes(amount % 7)
        elif what == "recover":
            self._recover(one)
        elif what == "retire":
            self._retire(one)
        self._wrote(one)

    def _start(self) -> Process:
        label = f"process {len(self.processes)}"
        found = self._found()
        one = Process(stream(label, start=self.at, predecessors=[self._head(it) for it in found]))
        one.names = {it.stream.id for it in found}
        self.processes.append(one)
        one.stream.begin()
        self._wrote(one)
        self._recover(one)
        return one

    def _found(self) -> list[Process]:
        """The ended ones that nobody names yet, and the live ones."""
        found = [it for it in self.processes if it.removed is None and (it.state == "live" or not it.named)]
        for it in found:
            it.named = it.state != "live"
        return found

    def _head(self, one: Process) -> str:
        return one.stream.reference(_last_signed(one.stream))

    def _recover(self, by: Process) -> None:
        for dead in [it for it in self.processes if it.state == "dead"]:
            by.stream.at = self.at
            torn = {"audit.recovered.torn_bytes": len(dead.torn)}
            by.stream.recover(dead.stream, sealed=_last_signed(dead.stream), changes=torn)
            dead.state = "ended"
            by.names.add(dead.stream.id)
            self._wrote(by)

    def _retire(self, by: Process) -> None:
        """The earliest ended stream, unless the clock says that it has not ended yet, or it is still needed."""
        for old in self.processes:
            last = max(str(json.loads(line)["observed"]) for line in old.stream.lines)
            ended = old.state in {"closed", "ended"} and old.removed is None and last <= stamp(self.at)
            if ended and not any(old.retired & it.names for it in self.processes if self._stays(it, old)):
                old.removed = len(self.clock)
                self.clock.append(self.at)
                by.stream.at = self.at
                changes = {"audit.retired.records": old.stream.seq, "audit.retired.ended": last}
                by.stream.retire([old.stream.id], changes=changes)
                by.retired.add(old.stream.id)
                return

    @staticmethod
    def _stays(one: Process, old: Process) -> bool:
        return one is not old and one.removed is None

    def _end(self, one: Process, reason: str, successor: str | None = None) -> None:
        said = {"audit.reason": reason} | ({"audit.successor": successor} if successor else {})
        one.stream.close(said)
        one.state = "closed"
        self._wrote(one)

    def _step(self, seconds: int) -> None:
        self.at += seconds * SECOND
        if abs(seconds) > 1800:
            for one in [it for it in self.processes if it.state == "live"]:
                one.stream.at = self.at
                self._end(one, "clock")

    def _wrote(self, one: Process) -> None:
        while len(one.written) < one.stream.seq:
            left = one.stream.seq - len(one.written)
            one.written.append(len(self.clock))
            self.clock.append(one.stream.at - left * RECORD_NS + RECORD_NS // 2)
        self.at = max(self.at, one.stream.at)

    def snapshot(self, home: Path, began: int, delays: list[int], *, part: int) -> int:
        """Write the archive as a reader finds it who begins after write *began*; returns *now*.

        He comes to the nth stream `delays[n]` writes later, and finds *part* bytes of its next line as well.
        """
        (home / "shop").mkdir(parents=True)
        (home / "place").write_text(PLACE)
        for number, one in enumerate(self.processes):
            seen = began + delays[number % len(delays)] if delays else began
            count = sum(1 for moment in one.written if moment <= seen)
            if not count or (one.removed is not None and one.removed <= seen):
                continue
            tail = one.torn if count == one.stream.seq else one.stream.lines[count][: part % 500]
            folder = home / "shop" / one.stream.id
            folder.mkdir()
            whole = b"".join(line + b"\n" for line in one.stream.lines[:count])
            (folder / "000000000001.jsonl").write_bytes(whole + tail + bytes(part % 64))
        return self.clock[began]


def _last_signed(one: Stream) -> int:
    return max(at for at, line in enumerate(one.lines, 1) if "sig" in json.loads(line))
