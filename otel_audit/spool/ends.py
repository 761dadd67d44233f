"""What is known of the streams of a service that no longer grow: two small files beside their records.

Spool stage. `ended` says where a stream ended and `named` that another stream names that end. They spare every
start a walk through all that is kept, and mean nothing to a verifier: whoever forges them only changes what
the next stream says, and that is checked against the records.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import orjson

from otel_audit.evidence.record import REFERENCE, is_time
from otel_audit.spool.descriptor import Descriptor
from otel_audit.spool.layout import ENDED, NAMED, stream_directories, sync_directory, write_durably
from otel_audit.spool.mentions import foreign_service
from otel_audit.spool.ownership import is_held, is_held_here
from otel_audit.spool.tail import read_tail

How = Literal["closed", "recovered", "altered", "empty"]


@dataclass(frozen=True, slots=True)
class End:
    """Where a stream ended."""

    how: How
    """`empty`: not one whole record was written; there is nothing to name. `altered`: recovered, or found closed,
    but its lines are not the records that were written; without a record that is its own it is kept for ever."""
    reference: str = ""
    """Its last signed record, `<stream>:<seq>:<record hash>`."""
    seq: int = 0
    """Of its last record, adopted ones included."""
    observed: str = ""
    """Of its last record."""
    names: tuple[str, ...] = ()
    """Streams that its records name: predecessors, successor, recovered ones."""
    retired: tuple[str, ...] = ()
    """Streams that its records say were retired."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last signed record of a stream that is to be named."""

    directory: Path
    reference: str
    has_ended: bool


def mark_ended(stream_directory: Path, end: End) -> None:
    """Note that nothing will follow.

    Raises:
        OSError: the note cannot be written; the stream will be looked at again, with the same result.
    """
    write_durably(stream_directory / ENDED, orjson.dumps(asdict(end)))


def read_end(stream_directory: Path) -> End | None:
    """What `ended` says; None where the stream has not ended, or the note makes no sense."""
    try:
        match orjson.loads((stream_directory / ENDED).read_bytes()):
            case {
                "how": "closed" | "recovered" | "altered" | "empty" as how,
                "reference": str(reference),
                "seq": int(seq),
                "observed": str(observed),
                "names": [*names],
                "retired": [*retired],
                **rest,
            } if not rest and seq >= 0 and (is_time(observed) or not observed):
                if REFERENCE.fullmatch(reference) or not reference:
                    return End(how, reference, seq, observed, _streams(names), _streams(retired))
            case _:
                pass
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return None


def _streams(names: list[object]) -> tuple[str, ...]:
    return tuple(name for name in names if isinstance(name, str))


def mark_named(stream_directory: Path) -> None:
    """Note that a stream which is on disk names this one's end."""
    # gone since (retention), or a full disk: it will be named once more, which is harmless
    with contextlib.suppress(OSError):
        (stream_directory / NAMED).touch(mode=0o600)


def ended_heads(service: Path) -> list[Head]:
    """Every other stream of the service that has ended and is not yet named.

    Needs no sync, which beside a busy disk takes a second: an end is noted after it was synced.

    Raises:
        OSError: the service's directory cannot be listed.
    """
    heads: list[Head] = []
    for directory in _unnamed(service):
        end = read_end(directory)
        if end is not None and end.reference and foreign_service(directory) is None:
            heads.append(Head(directory, end.reference, has_ended=True))
    return heads


def heads_to_name(service: Path) -> Iterator[Head]:
    """Every other stream of the service that is alive, crashed, or ended and not yet named, one after the other.

    What is returned is on disk: each segment is synced after its head was read.

    Raises:
        OSError: the service's directory cannot be listed; or, after all others were given, a stream cannot be read
            or synced.
    """
    failed: OSError | None = None
    for directory in _unnamed(service):
        try:
            head = _head(directory)
        except FileNotFoundError:  # retired meanwhile
            continue
        except OSError as error:
            failed = error
            continue
        if head is not None:
            yield head
    if failed is not None:
        raise failed


def _head(directory: Path) -> Head | None:
    if foreign_service(directory) is not None:
        return None
    end = read_end(directory)
    if end is not None:
        return Head(directory, end.reference, has_ended=True) if end.reference else None
    tail = read_tail(directory, is_live=is_held(directory))
    if tail is None:
        return None
    sync_segment(tail.path)
    return Head(directory, tail.reference(directory.name), has_ended=False)


def _unnamed(service: Path) -> Iterator[Path]:
    for directory in stream_directories(service):
        if not is_held_here(directory) and not (directory / NAMED).exists():
            yield directory


def sync_segment(path: Path) -> None:
    """Make a segment that another process wrote durable, and the names on the way to it.

    Raises:
        OSError: it cannot be opened or synced.
    """
    # its writer makes them durable with its own first sync, which may be still to come
    for directory in (path.parent, path.parent.parent, path.parent.parent.parent):
        sync_directory(directory)
    Descriptor(path, os.O_RDONLY).sync_and_close(path)


def give_back_room(path: Path) -> None:
    """Free what a process that is gone had reserved behind the end of a segment, up to 1 MiB; no byte changes.

    Its lock is held by the caller: nobody writes there.

    Raises:
        OSError: it cannot be opened, or the room cannot be given back.
    """
    with path.open("r+b") as segment:
        segment.truncate(os.fstat(segment.fileno()).st_size)
