"""Where a stream's records go: a directory of its own, or memory.

Spool stage. `DiskStorage` is the spool; `MemoryStorage` is `OTEL_AUDIT_DIR=memory:`, which seals like the other
and survives nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from otel_audit.spool.descriptor import Descriptor
from otel_audit.spool.ends import Head, ended_heads, heads_to_name
from otel_audit.spool.layout import ENDED, LOCK, UNLOCKED, make_directory, service_directory
from otel_audit.spool.ownership import Ownership, acquire
from otel_audit.spool.room import Room
from otel_audit.spool.segment import NamesNotSynced, NoSpace, Segment


class Slot(Protocol):
    """Where the records of one stream are appended."""

    @property
    def room_bytes(self) -> int:
        """What events may still take of the room that is reserved."""
        ...

    def append(self, line: bytes, *, is_lifecycle: bool = False) -> None:
        """Append one line; see `Segment.append`."""
        ...

    def ends_with(self, line: bytes) -> bool:
        """Whether *line*, whose appending was interrupted, stands there; see `Segment.ends_with`."""
        ...

    def reserve(self, size_bytes: int) -> None:
        """Make room certain; see `Segment.reserve`."""
        ...

    def sync(self) -> None:
        """Make what was appended durable, and that it is found there.

        Raises:
            NamesNotSynced: the directories could not be opened; the stream goes on, and the next sync tries again.
            OSError: what was appended may be lost.
        """
        ...

    def is_held(self) -> bool:
        """False once this process may no longer write there."""
        ...

    def is_in_place(self) -> bool:
        """False once the records are no longer where a reader finds them."""
        ...

    def restore(self) -> None:
        """Put the records back where a reader finds them."""
        ...

    def close(self) -> None:
        """End writing; ownership is kept until `release`."""
        ...

    def abandon(self) -> None:
        """End writing without touching what stands there."""
        ...

    def release(self) -> None:
        """Give up ownership."""
        ...


class Storage(Protocol):
    """Makes slots, and knows the other streams of the service."""

    def slot(self, stream: str) -> Slot:
        """A new slot for a new stream.

        Raises:
            OSError: it cannot be made (`NoSpace`: no room for a stream to begin).
        """
        ...

    def ended_heads(self) -> Sequence[Head]:
        """Last signed records of the other streams that have ended; see `ends.ended_heads`."""
        ...

    def heads(self) -> Iterator[Head]:
        """Last signed records of the other streams, each synced first; see `ends.heads_to_name`."""
        ...

    def directory_of(self, stream: str) -> Path | None:
        """Where the stream lies; None in memory."""
        ...


class DiskSlot(Segment):
    """A segment in a directory that this process owns."""

    def __init__(self, directory: Path, ownership: Ownership, room: Room) -> None:
        super().__init__(directory, 1, room.may_grow)
        self._ownership = ownership
        self._are_names_synced = False

    def sync(self) -> None:
        """See `Slot.sync`; the first one syncs the names on the way to the records too.

        Not when they are made: the first event of a process would wait for the disk.
        """
        if not self._are_names_synced:
            service = self.path.parent.parent
            for directory in (self.path.parent, service, service.parent):
                try:
                    descriptor = Descriptor(directory, os.O_RDONLY | os.O_DIRECTORY)
                except OSError as error:  # none is left, or it was removed under us (the keeper puts it back)
                    raise NamesNotSynced(error.errno, error.strerror, str(directory)) from error
                descriptor.sync_and_close(directory)
            self._are_names_synced = True
        super().sync()

    def release(self) -> None:
        """Let others see that nothing will follow from here."""
        self._ownership.release()

    def is_held(self) -> bool:
        """False once other code closed what this process holds, or another process ended the stream."""
        return super().is_held() and self._ownership.is_held() and not (self.path.parent / ENDED).exists()

    def restore(self) -> None:
        """Write the segment anew from its descriptor, which an unlinked file outlives.

        Raises:
            OSError: it cannot be written; the records in it end with this process.
        """
        directory = self.path.parent
        make_directory(directory)
        if not (directory / LOCK).exists():
            self._ownership.renew()
        self.rewrite()


class DiskStorage:
    """The spool of one service."""

    def __init__(self, directory: Path, service: str, room: Room) -> None:
        self.service_directory = service_directory(directory, service)
        self._room = room

    def slot(self, stream: str) -> DiskSlot:
        """See `Storage.slot`."""
        directory = self.service_directory / stream
        # under another name until it is locked: whoever looks for crashed streams must not find it unlocked
        draft = self.service_directory / f"{UNLOCKED}{stream}"
        make_directory(self.service_directory)
        draft.mkdir(mode=0o700)
        ownership = acquire(draft)
        if ownership is None:
            raise OSError(errno.EAGAIN, "its lock is held by another process", str(draft))
        made = draft
        try:
            ownership.move(directory)
            made = directory
            return DiskSlot(directory, ownership, self._room)
        except OSError:
            ownership.release()
            with contextlib.suppress(OSError):  # litter of a failure that is itself raised; recovery clears it
                (made / LOCK).unlink()
                made.rmdir()
            raise

    def ended_heads(self) -> Sequence[Head]:
        """See `Storage.ended_heads`."""
        return ended_heads(self.service_directory)

    def heads(self) -> Iterator[Head]:
        """See `Storage.heads`."""
        return heads_to_name(self.service_directory)

    def directory_of(self, stream: str) -> Path:
        """See `Storage.directory_of`."""
        return self.service_directory / stream


class MemorySlot:
    """Records in a list, up to a limit."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self.lines: list[bytes] = []

    @property
    def room_bytes(self) -> int:
        """See `Slot.room_bytes`."""
        storage = self._storage
        return storage.limit_bytes - storage.used_bytes + storage.released_bytes

    def append(self, line: bytes, *, is_lifecycle: bool = False) -> None:
        """See `Slot.append`.

        Raises:
            NoSpace: the limit is reached.
        """
        if not is_lifecycle and self.room_bytes < len(line):
            raise NoSpace(errno.ENOSPC, "the limit of records in memory is reached")
        self.lines.append(line)
        with self._storage.counting:
            self._storage.used_bytes += len(line)

    def ends_with(self, line: bytes) -> bool:
        """See `Slot.ends_with`."""
        return self.lines[-1:] == [line]

    def reserve(self, size_bytes: int) -> None:
        """See `Slot.reserve`.

        Raises:
            NoSpace: the limit is reached.
        """
        if self.room_bytes < size_bytes:
            raise NoSpace(errno.ENOSPC, "the limit of records in memory is reached")

    def is_in_place(self) -> bool:
        """Memory is where it was."""
        return True

    is_held = is_in_place

    def sync(self) -> None:
        """Nothing outlives the process: `durability` in the open record says so."""

    restore = close = abandon = release = sync


class MemoryStorage:
    """Streams in memory, oldest first."""

    def __init__(self, limit_bytes: int = 64 << 20) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        """Of everything that was ever appended."""
        self.counting = threading.Lock()
        """A stream is written while its successor opens."""
        self.released_bytes = 0
        """Of what was delivered and let go of; the exporter's alone, so that neither needs the other's lock."""
        self.slots: dict[str, MemorySlot] = {}

    def slot(self, stream: str) -> MemorySlot:
        """See `Storage.slot`."""
        self.slots[stream] = MemorySlot(self)
        return self.slots[stream]

    def ended_heads(self) -> Sequence[Head]:
        """No other stream can be named: nothing of it will be found later."""
        return ()

    def heads(self) -> Iterator[Head]:
        """As `ended_heads`."""
        return iter(())

    def directory_of(self, stream: str) -> None:
        """Nowhere."""

    def release(self, slot: MemorySlot, count: int) -> None:
        """Let go of the first *count* lines of a slot: they were delivered."""
        released = sum(map(len, slot.lines[:count]))
        del slot.lines[:count]
        self.released_bytes += released

    def bodies(self) -> list[bytes]:
        """Every record so far, stream after stream."""
        return [line[:-1] for slot in self.slots.values() for line in slot.lines]
