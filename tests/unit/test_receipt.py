"""Receipts: what they say of a record that stands, of one that was left out, and of one that was lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from otel_audit.receipt import NOT_RECORDED, SKIPPED, Receipt


class Disk:
    """Says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int, float]] = []

    def wait_durable(self, stream: str, seq: int, timeout_s: float) -> bool:
        self.asked.append(("durable", stream, seq, timeout_s))
        return True

    def wait_delivered(self, stream: str, seq: int, timeout_s: float) -> bool:
        self.asked.append(("delivered", stream, seq, timeout_s))
        return True

    def ask_delivered(self, stream: str, seq: int, answer: Callable[[bool], object]) -> bool:
        raise NotImplementedError

    def forget_delivered(self, answer: Callable[[bool], object]) -> None:
        raise NotImplementedError


def test_a_recorded_receipt_names_its_record_and_asks_its_stream_to_wait() -> None:
    disk = Disk()
    receipt = Receipt(True, "ab" * 16, 7, "cd" * 32, disk)

    assert receipt.record_id == f"{'ab' * 16}-7"
    assert receipt.wait_durable(1.5)
    assert receipt.wait_delivered(2.5)
    assert disk.asked == [("durable", "ab" * 16, 7, 1.5), ("delivered", "ab" * 16, 7, 2.5)]
    assert repr(receipt) == f"<Receipt recorded {'ab' * 16}-7>"


@pytest.mark.parametrize(
    ("receipt", "skipped", "shown"),
    [(NOT_RECORDED, False, "<Receipt not recorded >"), (SKIPPED, True, "<Receipt skipped >")],
)
def test_what_was_not_recorded_has_no_id_and_nothing_to_wait_for(
    receipt: Receipt, skipped: bool, shown: str
) -> None:
    assert (receipt.recorded, receipt.skipped, receipt.record_id, receipt.record_hash) == (False, skipped, "", "")
    assert not receipt.wait_durable()
    assert not receipt.wait_delivered()
    assert repr(receipt) == shown


def test_a_receipt_given_before_its_record_was_made_becomes_the_record_s() -> None:
    early = Receipt(False)
    made = Receipt(True, "ab" * 16, 7, "cd" * 32)

    early.become(made)

    assert (early.recorded, early.record_id, early.record_hash) == (True, made.record_id, made.record_hash)
