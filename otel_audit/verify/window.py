"""Where one stream's run of a period begins and ends ("Windows"), told record by record.

The run spans every record observed in the period, wherever the clock had stepped to. Where a stream has none, it is
what lies between the last signed record observed before the period and the first one observed after it.
"""

from __future__ import annotations

from otel_audit.verify.standing import Marks, Terms


class Window:
    """The part of one stream that is judged; all of it where no period is asked about."""

    __slots__ = (
        "_last_before", "_last_in_period", "_marks", "_since", "_until", "has_record_since", "is_cut", "run_start",
    )  # fmt: skip

    def __init__(self, terms: Terms, marks: Marks) -> None:
        self._since = terms.since
        self._until = terms.until
        self._marks = marks
        self._last_before = 0
        self._last_in_period = 0
        self.has_record_since = False
        """Whether a record is observed in the period or after it."""
        self.is_cut = False
        """Whether the run ended before the stream did."""
        self.run_start = 1
        """First `seq` after record 1 that the run has."""

    @property
    def reach(self) -> int:
        """A record that the run must reach, as `Marks.period_to` of a second reading: it may lie behind its end."""
        return self._last_in_period or self._last_before

    def is_before(self, observed: str) -> bool:
        """Whether a record *observed* then lies before the period."""
        return self._since is not None and observed < self._since

    def place(self, seq: int, observed: str, *, is_signed: bool) -> None:
        """Take note of when record *seq* was observed."""
        if not self.is_before(observed):
            self.has_record_since = True
            if self._until is None or observed < self._until:
                self._last_in_period = seq
        elif is_signed:
            self._last_before = seq

    def move(self, seq: int, observed: str) -> bool:
        """End the run, or begin it anew, at the well-signed record *seq*; True where it begins here."""
        if self._until is not None and observed >= self._until:
            self.is_cut = seq > self._marks.period_to
        elif seq > 1 and not self._last_in_period:  # before the period
            self.run_start = seq
            return True
        return False
