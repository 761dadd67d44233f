"""Locks of streams: what one thread takes, no other thread of its process takes from it."""

from __future__ import annotations

import threading
from pathlib import Path

from otel_audit.spool.layout import UNLOCKED, stream_directories
from otel_audit.spool.ownership import Ownership, acquire, is_held_here


def test_a_stream_that_one_thread_opens_is_never_taken_for_a_crashed_one_by_another(tmp_path: Path) -> None:
    """Its lock is taken under another name; between the renaming and our note of it lies a moment."""
    taken: list[str] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            taken.extend(
                directory.name
                for directory in stream_directories(tmp_path)
                if not is_held_here(directory) and acquire(directory) is not None
            )

    looker = threading.Thread(target=look)
    looker.start()
    opened: list[Ownership] = []
    for number in range(300):
        name = f"{number:032x}"
        draft = tmp_path / f"{UNLOCKED}{name}"
        draft.mkdir()
        ownership = acquire(draft)
        assert ownership is not None
        ownership.move(tmp_path / name)
        opened.append(ownership)
    ended.set()
    looker.join()
    for ownership in opened:
        ownership.release()

    assert taken == []
