"""Metrics of a process's audit log through the OpenTelemetry API.

Export stage, beside the path. No event touches an instrument: figures are plain integers, and files, which are
looked at when a reader collects. Without a MeterProvider all of it is a no-op. docs/operations.md says what to do
for each.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter

from otel_audit.evidence.canonical import decode
from otel_audit.evidence.record import is_time
from otel_audit.evidence.rfc3339 import unix_nanos
from otel_audit.spool.delivered import quarantined, read_cursor
from otel_audit.spool.ends import read_end
from otel_audit.spool.layout import segments
from otel_audit.spool.live import LiveStream
from otel_audit.spool.storage import MemoryStorage, Storage
from otel_audit.spool.writer import Writer

if TYPE_CHECKING:
    from otel_audit.export.exporter import Exporter
    from otel_audit.export.outcome import Outcome

Queue = Literal["own", "backlog"]


@dataclass(frozen=True, slots=True)
class Watched:
    """What figures are read from: a process's own pipeline."""

    writer: Writer
    exporter: Exporter | None
    """None where nothing in this process delivers."""
    directory: Path | None
    """The state directory; None in memory."""
    is_delivered: bool
    """Whether somebody delivers what is written: this process, or `otel-audit ship`."""


@dataclass(slots=True)
class _Counts:
    """Cumulative figures of the pipelines that were replaced, so that counters never run backwards."""

    emitted: int = 0
    dropped: int = 0
    skipped: int = 0
    seals: int = 0
    exported: int = 0

    def add(self, other: _Counts) -> _Counts:
        return _Counts(*(getattr(self, name) + getattr(other, name) for name in _Counts.__slots__))


class Metrics:
    """The instruments of one process, on a meter."""

    def __init__(self, meter: Meter) -> None:
        self._watched: Watched | None = None
        self._before = _Counts()
        self._pid = os.getpid()
        for name, description in (
            ("emitted", "Events recorded"),
            ("dropped", "Events that could not be recorded; the log says so too"),
            ("skipped", "Events that the policy left out"),
            ("exported", "Records that a sink has acknowledged"),
        ):
            meter.create_observable_counter(
                f"audit.records.{name}", [partial(self._count, name)], "{record}", description
            )
        meter.create_observable_counter(
            "audit.seals.written", [partial(self._count, "seals")], "{seal}", "Seals written"
        )
        meter.create_observable_up_down_counter(
            "audit.queue.depth", [self._depth], "{record}", "Records in the spool that no sink has acknowledged"
        )
        meter.create_observable_gauge(
            "audit.queue.oldest_age", [self._oldest_age], "s", "Age of the oldest record not acknowledged"
        )
        meter.create_observable_gauge(
            "audit.records.quarantined", [self._quarantined], "{record}", "Records that the sink refuses"
        )
        self._duration = meter.create_histogram(
            "audit.export.duration", "s", "Duration of export requests, by their outcome"
        )

    def watch(self, watched: Watched) -> None:
        """Report that pipeline from now on; what the one before has counted is kept."""
        self._before = self._totals()
        self._watched = watched
        self._pid = os.getpid()
        if watched.exporter is not None:
            watched.exporter.on_sent = self._sent

    def _sent(self, duration_s: float, outcome: Outcome) -> None:
        """On the exporter's thread, after each request."""
        self._duration.record(duration_s, {"audit.export.outcome": type(outcome).__name__.lower()})

    def _totals(self) -> _Counts:
        if self._pid != os.getpid():  # a forked child: what its parent counted, its parent reports
            self._pid = os.getpid()
            self._before = _Counts()
        watched = self._watched
        if watched is None:
            return self._before
        tally = watched.writer.tally
        delivered = None if watched.exporter is None else watched.exporter.tally
        exported = 0 if delivered is None else delivered.delivered_records
        return self._before.add(_Counts(tally.emitted, tally.dropped, tally.skipped, tally.seals, exported))

    def _count(self, name: str, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(getattr(self._totals(), name))]

    def _depth(self, _: CallbackOptions) -> Iterator[Observation]:
        for queue, waiting in self._queues():
            yield Observation(sum(left for left, _ in waiting), {"audit.queue": queue})

    def _oldest_age(self, _: CallbackOptions) -> Iterator[Observation]:
        for queue, waiting in self._queues():
            ages = [_age_s(line) for left, line in waiting if left > 0]
            yield Observation(max(ages, default=0.0), {"audit.queue": queue})

    def _queues(self) -> Iterator[tuple[Queue, list[_Waiting]]]:
        """Streams that are not wholly delivered: those of this process, and those that it delivers for others."""
        watched = self._watched
        if watched is None or not watched.is_delivered:
            return
        writer, exporter = watched.writer, watched.exporter
        live = writer.live
        lives = ([] if live is None else [live]) if exporter is None else exporter.own()
        yield "own", [_own(writer.storage, live) for live in lives]
        if exporter is not None:
            yield "backlog", [_ended(directory) for directory in exporter.backlog()]

    def _quarantined(self, _: CallbackOptions) -> Iterator[Observation]:
        watched = self._watched
        if watched is None or not watched.is_delivered:
            return
        if watched.directory is not None:
            yield Observation(len(quarantined(watched.directory)))
        elif watched.exporter is not None and watched.exporter.tally is not None:
            yield Observation(watched.exporter.tally.quarantined_records)


_Waiting: TypeAlias = tuple[int, bytes]
"""How many records of a stream were not acknowledged, and the first of them (empty: not there)."""


def _own(storage: Storage, live: LiveStream) -> _Waiting:
    stream = live.stream
    if isinstance(storage, MemoryStorage):
        slot = storage.slots.get(stream.id)
        lines = [] if slot is None else slot.lines[:1]
        return stream.seq - (0 if live.delivery is None else live.delivery.seq), b"".join(lines)[:-1]
    directory = storage.directory_of(stream.id)
    assert directory is not None
    return _on_disk(directory, stream.seq)


def _ended(directory: Path) -> _Waiting:
    end = read_end(directory)
    return (0, b"") if end is None else _on_disk(directory, end.seq)


def _on_disk(directory: Path, last_seq: int) -> _Waiting:
    cursor = read_cursor(directory)
    from otel_audit.export.streams import read_lines  # by then its module is loaded, or metrics are collected

    with contextlib.suppress(FileNotFoundError):  # retired meanwhile: it was delivered
        for path in segments(directory):
            if path.name >= cursor.segment:
                for line in read_lines(path, cursor.offset if path.name == cursor.segment else 0):
                    return last_seq - cursor.seq, line.body
    return last_seq - cursor.seq, b""


def _age_s(body: bytes) -> float:
    """Seconds since a record was observed; 0 for what is none."""
    members = decode(body)
    observed = None if members is None else members.get("observed")
    return max(0.0, (time.time_ns() - unix_nanos(str(observed))) / 1e9) if is_time(observed) else 0.0


_metrics: Metrics | None = None


def watch(watched: Watched) -> None:
    """Report that pipeline on the process's meter `otel_audit`; the instruments are made on first use."""
    global _metrics  # noqa: PLW0603 - instruments are the process's, and may be made once
    if _metrics is None:
        _metrics = Metrics(get_meter("otel_audit"))
    _metrics.watch(watched)
