"""Where a stream's records go: a directory that this process owns, or memory; and what a failure leaves."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_audit.spool.ends import End, mark_ended
from otel_audit.spool.layout import ENDED, LOCK
from otel_audit.spool.ownership import acquire, is_held
from otel_audit.spool.room import Room
from otel_audit.spool.segment import RESERVE_STEP_BYTES, NamesNotSynced, NoSpace
from otel_audit.spool.storage import DiskSlot, DiskStorage, MemoryStorage
from otel_audit.variable_values import Reserve

from .conftest import descriptors, in_child

STREAM = "ab" * 16


def storage_of(directory: Path, limit_bytes: int = 1 << 30) -> DiskStorage:
    return DiskStorage(directory, "shop", Room(directory, limit_bytes, Reserve(size_bytes=1 << 20)))


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[DiskSlot]:
    made = storage_of(tmp_path).slot(STREAM)
    yield made
    made.abandon()
    made.release()


def test_a_slot_is_a_directory_with_a_lock_and_a_segment_all_for_their_owner(
    tmp_path: Path, slot: DiskSlot
) -> None:
    directory = storage_of(tmp_path).directory_of(STREAM)

    assert directory == tmp_path / "shop" / STREAM
    assert {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()} == {
        LOCK: 0o600,
        "000000000001.jsonl": 0o600,
    }
    assert directory.stat().st_mode & 0o777 == directory.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in directory.parent.iterdir()] == [STREAM]
    assert slot.is_held()
    slot.release()
    assert not is_held(directory)


def test_a_slot_that_gets_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    storage = storage_of(tmp_path, limit_bytes=RESERVE_STEP_BYTES // 2)
    before = descriptors()

    with pytest.raises(NoSpace):
        storage.slot(STREAM)

    assert list((tmp_path / "shop").iterdir()) == []
    assert descriptors() == before
    storage_of(tmp_path).slot(STREAM).close()


def test_a_slot_whose_name_is_taken_leaves_what_is_there(tmp_path: Path) -> None:
    taken = tmp_path / "shop" / STREAM
    taken.mkdir(parents=True)
    (taken / "theirs").write_bytes(b"theirs")
    before = descriptors()

    with pytest.raises(OSError, match="not empty"):
        storage_of(tmp_path).slot(STREAM)

    assert [path.relative_to(taken).name for path in taken.iterdir()] == ["theirs"]
    assert [path.name for path in taken.parent.iterdir()] == [STREAM]
    assert descriptors() == before


def end_it(slot: DiskSlot) -> None:
    mark_ended(slot.path.parent, End("empty"))


def close_the_file(slot: DiskSlot) -> None:
    os.close(slot.descriptor)


def give_up_the_lock(slot: DiskSlot) -> None:
    os.close(slot._ownership.descriptor.number)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("other_code", [end_it, close_the_file, give_up_the_lock])
def test_a_slot_is_lost_with_its_file_or_its_lock_or_once_another_has_ended_it(
    other_code: Callable[[DiskSlot], None], slot: DiskSlot
) -> None:
    other_code(slot)

    assert not slot.is_held()


def test_names_that_cannot_be_synced_are_an_error_that_the_stream_outlives(tmp_path: Path, slot: DiskSlot) -> None:
    slot.append(b"line\n")
    before = descriptors()
    (tmp_path / "shop").rename(tmp_path / "away")
    with pytest.raises(NamesNotSynced) as missing:
        slot.sync()
    assert (missing.value.errno, missing.value.filename) == (errno.ENOENT, str(slot.path.parent))
    (tmp_path / "shop").mkdir()
    slot.path.parent.touch()
    with pytest.raises(NamesNotSynced, match=os.strerror(errno.ENOTDIR)):
        slot.sync()
    slot.path.parent.unlink()
    (tmp_path / "shop").rmdir()

    (tmp_path / "away").rename(tmp_path / "shop")
    slot.sync()

    (tmp_path / "shop").rename(tmp_path / "away")
    slot.sync()  # the names need it once
    (tmp_path / "away").rename(tmp_path / "shop")
    assert descriptors() == before


def test_a_sync_without_a_descriptor_left_can_be_tried_again(slot: DiskSlot) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(NamesNotSynced) as none_left:
            slot.sync()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert none_left.value.errno == errno.EMFILE

    slot.sync()


@pytest.mark.parametrize("is_lock_gone", [False, True])
def test_a_slot_that_was_removed_is_put_back_and_still_owned(
    is_lock_gone: bool, slot: DiskSlot, tmp_path: Path
) -> None:
    slot.append(b"line\n")
    slot.path.unlink()
    if is_lock_gone:
        (slot.path.parent / LOCK).unlink()
        slot.path.parent.rmdir()
        (tmp_path / "shop").rmdir()
    before = descriptors()

    slot.restore()

    assert slot.path.read_bytes() == b"line\n"
    assert (slot.is_held(), slot.is_in_place()) == (True, True)
    assert (slot.path.parent / LOCK).exists()
    assert in_child(lambda: acquire(slot.path.parent) is None), "another process can end it"
    assert not (slot.path.parent / ENDED).exists()
    assert descriptors() == before


@pytest.fixture
def memory() -> MemoryStorage:
    return MemoryStorage(limit_bytes=10)


def test_memory_takes_events_up_to_its_limit_and_records_about_the_log_beyond(memory: MemoryStorage) -> None:
    slot = memory.slot(STREAM)
    assert slot.room_bytes == 10
    slot.append(b"4444")
    with pytest.raises(NoSpace) as full:
        slot.append(b"7777777")
    assert full.value.errno == errno.ENOSPC
    slot.append(b"666666")

    slot.append(b"22", is_lifecycle=True)

    assert slot.lines == [b"4444", b"666666", b"22"]
    assert slot.room_bytes == -2


def test_memory_says_whether_a_request_can_be_let_in(memory: MemoryStorage) -> None:
    slot = memory.slot(STREAM)
    slot.append(b"4444")

    slot.reserve(6)
    with pytest.raises(NoSpace) as full:
        slot.reserve(7)

    assert full.value.errno == errno.ENOSPC


def test_what_was_delivered_makes_room_in_memory_for_every_stream(memory: MemoryStorage) -> None:
    slot, other = memory.slot(STREAM), memory.slot("cd" * 16)
    for line in (b"22", b"333", b"55555"):
        slot.append(line)
    assert other.room_bytes == 0

    memory.release(slot, 2)

    assert slot.lines == [b"55555"]
    assert (slot.room_bytes, other.room_bytes) == (5, 5)
    other.append(b"555\n\n")
    assert memory.bodies() == [b"5555", b"555\n"]


def test_memory_stands_where_it_was_and_has_no_other_streams(memory: MemoryStorage) -> None:
    slot = memory.slot(STREAM)
    assert not slot.ends_with(b"line\n")
    slot.append(b"line\n")
    slot.append(b"next\n")

    assert slot.ends_with(b"next\n")
    assert not slot.ends_with(b"ext\n")
    assert not slot.ends_with(b"line\n")
    assert (slot.is_held(), slot.is_in_place()) == (True, True)
    slot.close()
    assert slot.lines == [b"line\n", b"next\n"]
    assert (list(memory.ended_heads()), list(memory.heads())) == ([], [])
    assert memory.directory_of(STREAM) is None  # type: ignore[func-returns-value]
