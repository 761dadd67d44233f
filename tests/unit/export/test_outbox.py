"""What of a stream leaves next, and what waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_audit.export.encoding import Encoder
from otel_audit.export.outbox import Batch, Outbox
from otel_audit.export.streams import DiskLines
from otel_audit.spool.layout import EXPORT_LOCK
from otel_audit.spool.ownership import acquire
from tests.archives import Archive


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """Of a stream whose record 4 names another one."""
    archive = Archive()
    other = archive.stream()
    stream = archive.stream()
    stream.event()
    stream.seal()
    stream.linked([other.reference()])
    stream.seal()
    archive.write(tmp_path)
    directory = tmp_path / stream.directory
    ownership = acquire(directory, EXPORT_LOCK)
    assert ownership is not None
    outbox = Outbox(DiskLines(directory, ownership), Encoder(), ("otel-audit", "0"))
    yield outbox
    outbox.lines.release()


def seqs(batch: Batch | None) -> list[int]:
    return [] if batch is None else [entry.seq for entry in batch.entries]


def test_a_batch_that_failed_is_sent_again_whatever_holds_back_the_record_behind_it(outbox: Outbox) -> None:
    first = outbox.take(holds_back=lambda _: True)
    assert seqs(first) == [1, 2, 3]

    again = outbox.take(holds_back=lambda _: True)

    assert again is first


def test_a_record_waits_for_what_it_names_and_all_behind_it_with_it(outbox: Outbox) -> None:
    first = outbox.take(holds_back=lambda _: True)
    assert first is not None
    outbox.advance(first.entries[-1])

    assert outbox.take(holds_back=lambda _: True) is None
    assert seqs(outbox.take()) == [4, 5]
