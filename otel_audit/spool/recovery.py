"""Ending the streams of processes that are gone: exactly one later stream says where each of them ended.

Spool stage. Whoever holds a crashed stream's lock recovers it. Before the recovery is written, `recovering`
names the stream that will carry it; so when the recoverer is killed in between, the next one looks there
first and never writes a second one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from otel_audit.spool.ends import End, give_back_room, mark_ended, read_end, sync_segment
from otel_audit.spool.layout import ENDED, UNLOCKED, segments, stream_directories, write_durably
from otel_audit.spool.mentions import foreign_service, read_mentions
from otel_audit.spool.ownership import acquire, is_held_here
from otel_audit.spool.tail import Tail, begins_with_hole, has_line, read_tail
from otel_audit.spool.writer import Writer

_CLAIM = "recovering"
_LITTER_AGE_S = 60
"""A directory this old was not left unlocked by someone who is just about to lock it."""


def find_crashed(service: Path) -> Path | None:
    """Some stream that has not ended and that no process holds; None where there is none."""
    for directory in stream_directories(service):
        if not (directory / ENDED).exists() and not is_held_here(directory):
            with contextlib.suppress(OSError):  # retired meanwhile, or not ours to open: not to be adopted here
                ownership = acquire(directory)
                if ownership is not None:
                    ownership.release()
                    if foreign_service(directory) is None:
                        return directory
    return None


def recover_crashed(service: Path, writer: Writer) -> list[End]:
    """End every crashed stream of the service; what each was like.

    Raises:
        OSError, IdentityError: the recovery cannot be written; what remains is left to the next try.
    """
    ends: list[End] = []
    strangers: list[tuple[Path, str]] = []
    for directory in list(stream_directories(service)):
        if (directory / ENDED).exists() or is_held_here(directory):
            continue
        try:
            ownership = acquire(directory)
        except FileNotFoundError:  # retired meanwhile
            continue
        if ownership is None:
            continue
        try:
            if read_end(directory) is None:
                foreign = foreign_service(directory)
                if foreign is None:
                    ends.append(_recover(directory, writer))
                else:
                    strangers.append((directory, foreign))
        finally:
            ownership.release()
    _tell_of(strangers, writer)
    _clear_litter(service)
    return ends


def _tell_of(strangers: Sequence[tuple[Path, str]], writer: Writer) -> None:
    """Streams of other services lie here: to end one would be `misplaced`, and a verdict of `tampered`."""
    if not strangers:
        writer.alarms.over("strangers", "no stream of another service lies in this one's directory any more")
        return
    directory, service = strangers[0]
    writer.alarms.note(
        "strangers",
        f"{directory} is a stream of the service '{service}', copied or moved into another one's directory "
        f"({len(strangers)} such); it is left alone. Move it out of the state directory",
    )


def _recover(directory: Path, writer: Writer) -> End:
    tail = read_tail(directory)
    if tail is None:
        end = _end_without_record(directory, writer)
    else:
        sync_segment(tail.path)
        if not tail.is_closed:
            _say(directory, tail, writer)
        if tail.is_intact:
            give_back_room(tail.path)
        else:  # what was altered keeps its time of change, too
            _warn_of_alteration(tail.path, writer)
        mentions = read_mentions(directory)
        end = End(
            "altered" if not tail.is_intact else "closed" if tail.is_closed else "recovered",
            tail.reference(directory.name),
            tail.seq,
            tail.observed,
            tuple(sorted(mentions.names)),
            tuple(sorted(mentions.retired)),
        )
    mark_ended(directory, end)  # the last step: from here on retention may take it away
    return end


def _end_without_record(directory: Path, writer: Writer) -> End:
    end = End("empty")
    for path in segments(directory):
        if begins_with_hole(path):
            _set_aside(path, 0, writer)
        elif has_line(path):
            _warn_of_alteration(path, writer)
            end = End("altered")
    return end


def _warn_of_alteration(path: Path, writer: Writer) -> None:
    writer.alarms.once(
        logging.ERROR,
        f"{path} was altered by another than the process that wrote it: its lines are not that process's records. "
        "They stay as they are, and `otel-audit verify` says what is wrong with them. What now: keep a copy, and "
        "find out who can write there",
    )


def _say(directory: Path, tail: Tail, writer: Writer) -> None:
    """Write the recovery into the present stream, unless one who was killed meanwhile had done so."""
    if _was_said(directory):
        return
    if tail.has_hole:
        _set_aside(tail.path, tail.end_offset, writer)
    context = {
        "audit.recovered.stream": directory.name,
        "audit.recovered.seq": tail.seq,
        "audit.recovered.hash": tail.hash,
        "audit.recovered.sealed": tail.signed_seq,
        "audit.recovered.torn_bytes": tail.torn_bytes,
    }
    said = False
    while not said:
        by = writer.present_id()
        write_durably(directory / _CLAIM, orjson.dumps({"by": by}))
        said = writer.write_lifecycle("audit.stream.recovered", context, only_in=by)


def _was_said(directory: Path) -> bool:
    by = recovered_by(directory)
    if by is None or directory.name not in read_mentions(directory.parent / by).recovered:
        return False
    for path in segments(directory.parent / by):  # it may have been killed just before its sync
        sync_segment(path)
    return True


def recovered_by(directory: Path) -> str | None:
    """The stream that says, or was about to say, where this one ended; None where none is known."""
    try:
        by = str(orjson.loads((directory / _CLAIM).read_bytes())["by"])
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return by if re.fullmatch("[0-9a-f]{32}", by) else None


def _set_aside(path: Path, offset: int, writer: Writer) -> None:
    """Move what stands behind a hole, which only a power cut leaves, into a file of its own; nothing is deleted."""
    aside = path.with_suffix(".torn")
    with path.open("r+b") as segment:
        segment.seek(offset)
        write_durably(aside, segment.read())
        segment.truncate(offset)
        os.fsync(segment.fileno())
    writer.alarms.once(
        logging.WARNING,
        f"{path} has a hole, as a power cut leaves it; what stands behind it is no evidence any more, and was "
        f"moved to {aside}. What now: nothing where the power was lost; else keep a copy, and find out who can "
        "write there",
    )


def _clear_litter(service: Path) -> None:
    """Remove directories that a process was killed over before it had locked them; nothing is in them."""
    for directory in service.glob(f"{UNLOCKED}*"):
        with contextlib.suppress(OSError):  # its maker is alive after all, or another one clears it
            if time.time() - directory.stat().st_mtime < _LITTER_AGE_S:
                continue
            ownership = acquire(directory)
            if ownership is not None:
                try:
                    for name in directory.iterdir():
                        name.unlink()
                    directory.rmdir()
                finally:
                    ownership.release()
