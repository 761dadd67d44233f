"""Removing what has been kept long enough: whole ended streams, the earliest ended first, and then saying so.

Spool stage. A stream is first renamed out of readers' sight, then `audit.retired` is written and synced, then its
bytes go. Whoever is killed in between leaves renamed directories, which the next run says and removes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from otel_audit.evidence.members import timestamp
from otel_audit.spool.delivered import delivered_at
from otel_audit.spool.ends import End, read_end
from otel_audit.spool.layout import ENDED, RETIRING, stream_directories, sync_directory
from otel_audit.spool.mentions import read_mentions
from otel_audit.spool.ownership import Ownership, acquire
from otel_audit.spool.steadiness import may_remove
from otel_audit.spool.writer import Writer

_STREAMS_A_RECORD = 1000
_SAID = "said"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ended streams are kept, and where that is."""

    keep: timedelta
    place: str
    """The spool directory's own name, as `audit.retired.place` gives it."""
    only_delivered: bool = False
    """Somebody delivers: nothing is removed before that, and its time is counted from then."""


@dataclass(frozen=True, slots=True)
class _Ended:
    directory: Path
    stream: str
    end: End
    delivered: str | None
    """When the last of it was acknowledged by an OTLP endpoint, if it was."""

    def since(self, *, only_delivered: bool) -> str | None:
        """From when on its time counts; None while it does not."""
        if not only_delivered:
            return self.end.observed
        return None if self.delivered is None else max(self.delivered, self.end.observed)


def retire(service: Path, writer: Writer, retention: Retention) -> int:
    """Remove what is old enough; returns how many streams were.

    Raises:
        OSError, IdentityError: what was renamed is said and removed by the next run.
    """
    if not may_remove(service.parent, writer.clock, retention.keep):
        return _say_and_remove(service, writer, retention)
    cutoff = timestamp(writer.clock.unix_nano() - int(retention.keep.total_seconds() * 1e9))
    ended = sorted(_ended(service), key=lambda found: found.end.observed)
    old: list[_Ended] = []
    for found in ended:
        since = found.since(only_delivered=retention.only_delivered)
        if since is not None and since < cutoff:
            old.append(found)
    for found in _removable(service, ended, old):
        # another process was quicker; a rename disturbs nobody who reads it just now
        with contextlib.suppress(FileNotFoundError):
            found.directory.rename(service / f"{RETIRING}{found.stream}")
    return _say_and_remove(service, writer, retention)


def _ended(service: Path) -> list[_Ended]:
    found: list[_Ended] = []
    for directory in stream_directories(service):
        end = read_end(directory)
        if end is not None and end.how == "empty":
            # not one record, so no time of its own: the directory's
            end = replace(end, observed=timestamp((directory / ENDED).stat().st_mtime_ns))
        if end is not None and end.observed:
            found.append(_Ended(directory, directory.name, end, delivered_at(directory, directory.name, end)))
    return found


def _removable(service: Path, ended: Sequence[_Ended], old: Sequence[_Ended]) -> Sequence[_Ended]:
    """Of those old enough, as many of the earliest as leave nobody who names what only they say was retired."""
    removed = {found.stream for found in old}
    ids = {found.stream for found in ended}
    named = {name for found in ended if found.stream not in removed for name in found.end.names}
    for directory in stream_directories(service):
        if directory.name not in ids:
            named |= read_mentions(directory).names
    count = len(old)
    while count and any(not named.isdisjoint(found.end.retired) for found in old[:count]):
        count -= 1
        named.update(old[count].end.names)
    return old[:count]


def _say_and_remove(service: Path, writer: Writer, retention: Retention) -> int:
    """Say what is out of sight and remove it; its lock keeps a second process from saying it too.

    What ended later than it is now, because the clock was set back, waits: to say that it has ended would be false.
    """
    removed = 0
    for delivered in (False, True):
        batch: list[_Ended] = []
        owned: list[Ownership] = []
        try:
            for directory in sorted(service.glob(f"{RETIRING}*"))[:_STREAMS_A_RECORD]:
                stream, end = directory.name.removeprefix(RETIRING), read_end(directory) or End("empty")
                found = _Ended(directory, stream, end, delivered_at(directory, stream, end))
                is_over = end.observed <= timestamp(writer.clock.unix_nano())
                if is_over and (found.delivered is not None) == delivered:
                    ownership = acquire(directory)
                    if ownership is not None:
                        owned.append(ownership)
                        batch.append(found)
            unsaid = [
                found for found in batch if found.end.how != "empty" and not (found.directory / _SAID).exists()
            ]
            if unsaid:
                if not _say(writer, retention, unsaid, delivered=delivered):
                    continue  # the clock was set back meanwhile
                for found in unsaid:
                    (found.directory / _SAID).touch(mode=0o600)
            import shutil

            for found in batch:
                shutil.rmtree(found.directory)
            removed += len(batch)
        finally:
            for ownership in owned:
                ownership.release()
    if removed:
        sync_directory(service)
    return removed


def _say(writer: Writer, retention: Retention, batch: Sequence[_Ended], *, delivered: bool) -> bool:
    ended = max(found.end.observed for found in batch)
    context = {
        "audit.retired.place": retention.place,
        "audit.retired.streams": [found.stream for found in batch],
        "audit.retired.records": sum(found.end.seq for found in batch),
        "audit.retired.ended": ended,
        "audit.retired.delivered": delivered,
        "audit.policy.digest": writer.config.declaration.policy_digest,
    }
    return writer.write_lifecycle("audit.retired", context, not_before=ended)
