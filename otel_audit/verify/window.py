"""Where one stream's run of a period begins and ends ("Windows"), told record by record.

The run spans whatever may be of the period, though the clock has stepped: it begins at the last signed record ahead
of all that were observed in the period or later, and ends at the first one behind all observed in it or earlier.
"""

from __future__ import annotations

from otel_audit.verify.standing import Marks, Terms


class Window:
    """The part of one stream that is judged; all of it where no period is asked about."""

    __slots__ = ("_marks", "_since", "_until", "has_record_since", "is_cut", "reach", "run_start")

    def __init__(self, terms: Terms, marks: Marks) -> None:
        self._since = terms.since
        self._until = terms.until
        self._marks = marks
        self.has_record_since = False
        """Whether a record is observed in the period or after it."""
        self.is_cut = False
        """Whether the run ended before the stream did."""
        self.reach = 0
        """The last record observed before the period's end, for `Marks.period_to`: it may lie behind the run."""
        self.run_start = 1
        """First `seq` after record 1 that the run has."""

    def place(self, seq: int, observed: str) -> None:
        """Take note of when record *seq* was observed."""
        if self._since is None or observed >= self._since:
            self.has_record_since = True
        if self._until is None or observed < self._until:
            self.reach = seq

    def move(self, seq: int, observed: str) -> bool:
        """End the run, or begin it anew, at the well-signed record *seq*; True where it begins here."""
        if self._until is not None and observed >= self._until:
            self.is_cut = seq > self._marks.period_to
        elif seq > 1 and not self.has_record_since:
            self.run_start = seq
            return True
        return False
