"""When rows that are leaving owe a record."""

from __future__ import annotations

from otel_audit.capture.leaving import Leaving, under_way
from otel_audit.event import AuditEvent


class _Rows:
    """Rows that leave at times that the test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.leaving = Leaving(lambda: self.now_s)
        self.recorded: list[int] = []

    def leave(self, count: int, each_s: float = 0.0) -> list[int]:
        """*count* rows more, *each_s* before each of them; how many had left at each record so far."""
        for _ in range(count):
            self.now_s += each_s
            if self.leaving.is_due():
                self.recorded.append(self.leaving.rows)
            self.leaving.rows += 1
        return self.recorded


def test_a_hundred_rows_within_a_second_owe_nothing() -> None:
    assert _Rows().leave(100, 0.01) == []


def test_one_row_more_is_on_record_before_it_leaves() -> None:
    assert _Rows().leave(101) == [100]


def test_the_second_row_after_a_second_is_on_record_before_it_leaves() -> None:
    rows = _Rows()
    rows.leave(1)

    assert rows.leave(1, 1.0) == [1]


def test_a_statement_that_thinks_for_long_before_its_first_row_owes_nothing() -> None:
    assert _Rows().leave(1, 3600.0) == []


def test_a_million_rows_owe_a_handful_and_the_last_one_tells_their_number_within_a_factor_of_ten() -> None:
    assert _Rows().leave(1_000_000) == [100, 1000, 10_000, 100_000]


def test_rows_that_leave_slowly_owe_a_record_whenever_ten_times_as_long_has_passed() -> None:
    assert _Rows().leave(1001, 0.5) == [2, 20, 200]


def test_what_is_under_way_says_that_nobody_knows_its_end() -> None:
    event = under_way(AuditEvent("db.query", "EXPORT", "success", context={"db.operation.name": "COPY"}))

    assert (event.outcome, event.context) == (
        "unknown",
        {"db.operation.name": "COPY", "audit.reason": "under-way"},
    )
