"""One stream, record by record: chain, signatures, roots, promises, and what it says of other streams.

No I/O. Records come in order of `seq`; what cannot be judged before other streams are known (references,
recoveries) is kept for `resolve.py`. Memory is that of one stream: nothing is kept per record.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from otel_audit.evidence.canonical import encode
from otel_audit.evidence.merkle import Tree
from otel_audit.evidence.record import CLOSE, GAP, LINKED, MAX_INTEGER, OPEN, RECOVERED, RETIRED, SEAL, is_lifecycle
from otel_audit.evidence.rfc3339 import seconds_between, unix_nanos
from otel_audit.evidence.signatures import is_sound_key, verify
from otel_audit.verify.notes import Notes
from otel_audit.verify.reference import Naming, Retirement, namings
from otel_audit.verify.run import Run
from otel_audit.verify.standing import Current, End, Marks, Opening, Tail, Terms
from otel_audit.verify.window import Window

MAX_INTERVAL_MS = 300_000
_NAMING = (OPEN, LINKED, RECOVERED)
_MAX_FORKS = 64
"""Different records of one `seq` that are told apart from each other; more are all forks."""
_FOLD = 2_048
"""Leaves kept before the tree takes them in."""


class StreamCheck:
    """State of one stream while it is read, and what was found when it has been."""

    __slots__ = (
        "_before", "_current", "_dropped", "_end", "_leaves", "_marked", "_recent", "_signed", "_terms", "_tree",
        "closed_at", "first_seq", "future", "held", "holders", "is_open_signed", "last_holders",
        "last_observed", "last_seq", "marks", "namings", "next_by", "notes", "opening", "records", "retirements",
        "signed_seq", "stream", "tail", "window",
    )  # fmt: skip

    def __init__(self, stream: str, terms: Terms, marks: Marks) -> None:
        self.stream = stream
        self.marks = marks
        self.opening: Opening | None = None
        self.is_open_signed = False
        self.records = 0
        """Distinct ones."""
        self.future = 0
        """Signed, or followed by a signed one, and observed after *now*."""
        self.first_seq = 0
        self.last_seq = 0
        self.last_observed = ""
        self.signed_seq = 0
        self.next_by: str | None = None
        self.closed_at: int | None = None
        self.tail = Tail()
        self.notes = Notes()
        self.namings: list[Naming] = []
        self.retirements: list[Retirement] = []
        self.holders: set[int] = set()
        """Sources that hold any record of it."""
        self.last_holders: set[int] = set()
        """Sources that hold its last record."""
        self.held: dict[int, Current] = {}
        """Hashes at marked records, the last signed and the last one."""
        self.window = Window(terms, marks)
        self._terms = terms
        self._marked = sorted(marks.seqs)
        self._recent = Notes()
        self._current = Current()
        self._before: Sequence[str] = ()
        """Hashes of the records one `seq` before the current one; none where that is absent."""
        self._signed = Current()
        self._tree: Tree | None = None if terms.is_window else Tree()
        self._leaves: list[bytes] = []
        self._dropped = 0
        self._end: End | None = None

    @property
    def is_good(self) -> bool:
        """Whether what this stream says of others counts."""
        return self.opening is not None and self.opening.path.is_good

    @property
    def service(self) -> str | None:
        """`service.name` as the open has it, None without an open."""
        return None if self.opening is None else self.opening.service

    def take(self, m: dict[str, Any], digest: bytes, source: int) -> None:  # noqa: PLR0912 - one record, in the format's order
        """Take in the record with members *m* and hash *digest*; `seq` never falls from one call to the next."""
        seq: int = m["seq"]
        observed: str = m["observed"]
        record_hash = digest.hex()
        self.holders.add(source)
        if seq == self.last_seq:
            self._take_again(m, seq, observed, record_hash, source)
            return
        if self.window.is_cut:
            self._overhear(m, seq, observed)
            return
        end_at = self.marks.ended_at
        if end_at is not None and seq > end_at and (self._end is None or self._end.last_seq < self.signed_seq):
            hashes, holders = self._current.hashes, set(self.last_holders)
            self._end = End(self.records, self.last_seq, self.last_observed, hashes, holders, replace(self.tail))
        if seq == self.last_seq + 1:
            if seq > 1:
                self._follow(m["prev"], seq)
        else:
            absent = seq - self.last_seq - 1
            first = self.last_seq + 1
            said = f"record {first} is absent" if absent == 1 else f"records {first} to {seq - 1} are absent"
            self._note("missing", first, seq, said, absent)
            self._tree = None
            self._before = ()
        if observed < self.last_observed:
            self._note(
                "clock-step",
                seq,
                seq,
                f"observed runs backwards by {seconds_between(observed, self.last_observed)}",
            )
        self.first_seq = self.first_seq or seq
        self.last_seq = seq
        self.last_observed = observed
        self.last_holders = {source}
        self.records += 1
        self._current = Current([record_hash], observed)
        if seq in self.marks.seqs:
            self.held[seq] = self._current
        if self.closed_at is not None:
            self._note("misplaced", seq, seq, f"a record after the close at {self.closed_at}")
        is_signed = self._examine(m, seq, observed, record_hash)
        if self._tree is not None:
            self._leaves.append(digest)
            if len(self._leaves) > _FOLD:
                self._tree.extend(self._leaves[:-1])
                del self._leaves[:-1]
        if is_signed:
            self._take_signed(m, seq, observed)
        else:
            self.tail.add(seq, observed, is_future=observed > self._terms.now)
        if self._terms.is_window:
            self._move_window(seq, observed, set(), is_signed=is_signed)

    def plain_run(self) -> Run | None:
        """Where a run of plain records may begin, None where every record needs `take`."""
        opening = self.opening
        if (
            opening is None
            or opening.signs_records
            or self.closed_at is not None
            or self._terms.is_window
            or self.marks.ended_at is not None
            or len(self._current.hashes) != 1
        ):
            return None
        latest = min(self._terms.now, opening.path.not_after)
        at = bisect_right(self._marked, self.last_seq)
        before = self._marked[at] if at < len(self._marked) else MAX_INTEGER
        return Run(self.stream, self.last_seq, self._current.hashes[0], self.last_observed, latest, before)

    def take_run(self, run: Run) -> None:
        """Take in what *run*, which `plain_run` began, has gathered since."""
        count = len(run.leaves)
        if not count:
            return
        tail = self.tail
        if not tail.records:
            tail.first_seq = self.last_seq + 1
            tail.first_observed = tail.latest_observed = run.first_observed
        tail.records += count
        tail.latest_observed = max(tail.latest_observed, run.observed)
        if self._tree is not None:
            self._tree.extend(self._leaves)
            self._tree.extend(run.leaves[:-1])
            self._leaves = run.leaves[-1:]
        # Of the record before the last only the hash is wanted, in case the last one is forked.
        self._before = self._current.hashes if count == 1 else (run.leaves[-2].hex(),)
        self._current = Current([run.record_hash], run.observed)
        self.records += count
        self.last_seq = run.seq
        self.last_observed = run.observed

    def finish(self) -> None:
        """Take note that there are no more records."""
        end = self._end
        if end is not None and self.signed_seq <= end.last_seq:
            # What is unsigned above the recovered record and the last signed one is torn, as if it were not there.
            self.records, self.last_seq, self.last_observed = end.records, end.last_seq, end.last_observed
            self.tail, self.last_holders = end.tail, end.holders
            self._current = Current(end.hashes, end.last_observed)
            self._recent.keep_causes(end.last_seq)
        self.notes.take_over(self._recent)
        self.held[self.last_seq] = self._current
        if self.signed_seq:
            self.held[self.signed_seq] = self._signed

    def _take_again(self, m: dict[str, Any], seq: int, observed: str, record_hash: str, source: int) -> None:
        """Another record of the same `seq`: the same bytes are harmless."""
        hashes = self._current.hashes
        if record_hash in hashes:
            self.last_holders.add(source)
            return
        self._note("forked", seq, seq, f"another record {seq} with other contents")
        if len(hashes) >= _MAX_FORKS:
            return
        hashes.append(record_hash)
        if self._before and m["prev"] not in self._before and not self.window.run_start == seq > 2:
            self._note("altered", seq - 1, seq, f"record {seq - 1} is not the record that {seq} follows")
        is_signed = self._examine(m, seq, observed, record_hash)
        if is_signed:
            self._take_signed(m, seq, observed)
        if self._terms.is_window:
            self._move_window(seq, observed, {seq}, is_signed=is_signed)

    def _follow(self, prev: str, seq: int) -> None:
        self._before = before = self._current.hashes
        if prev not in before:
            self._note("altered", seq - 1, seq, f"record {seq - 1} is not the record that {seq} follows")
        elif len(before) > 1 and self._leaves:
            # Of two records the chain goes on from one: that is the leaf.
            self._leaves[-1] = bytes.fromhex(prev)

    def _examine(self, m: dict[str, Any], seq: int, observed: str, record_hash: str) -> bool:
        """Check what a record says and signs; returns whether it is well signed."""
        event: str = m["event"]
        lifecycle = is_lifecycle(event)
        if event == OPEN:
            self._check_open(m, seq, observed, record_hash)
        elif seq == 1:
            self._note("misplaced", 1, 1, "record 1 is not the stream's open")
        opening = self.opening
        if opening is not None and event != CLOSE:
            path = opening.path
            if not path.not_before <= observed <= path.not_after:
                self._note(
                    "clock-outside-certificate", seq, seq, f"observed {observed}, outside of the certificate"
                )
        is_signed = self._check_signature(m, seq, must=lifecycle or (opening is not None and opening.signs_records))
        if lifecycle:
            self._check_lifecycle(m, event, seq, observed, is_signed=is_signed)
        return is_signed

    def _check_open(self, m: dict[str, Any], seq: int, observed: str, record_hash: str) -> None:
        context: dict[str, Any] = m["context"]
        certificates: list[str] = context["audit.certificate"]
        certificate = certificates[0] if certificates else ""
        if seq > 1:
            self._note("misplaced", seq, seq, "an open that is not record 1")
            if self.opening is not None and certificate != self.opening.certificate:
                self._note("forked", seq, seq, "a second certificate for the stream")
            return
        opening = Opening.of(context, self.stream, observed, record_hash, self._terms)
        if opening.longest_interval_ms > MAX_INTERVAL_MS:
            self._note("misplaced", 1, 1, f"an interval longer than {MAX_INTERVAL_MS} ms is declared")
        known = self.opening
        if known is None or (not opening.path.is_good, opening.rank) < (not known.path.is_good, known.rank):
            self.opening = opening
            if known is not None and not known.path.is_good:
                # What it said, signed by a key that nobody certifies, is no word of this stream's.
                self.namings.clear()
                self.is_open_signed, self.signed_seq, self.next_by = False, 0, None

    def _check_signature(self, m: dict[str, Any], seq: int, *, must: bool) -> bool:
        sig: str | None = m.get("sig")
        if sig is None:
            if must:
                self._note("bad-signature", seq, seq, "a record that must be signed is not")
            return False
        key = None if self.opening is None else self.opening.path.key
        if key is None:
            # Without a key nothing can be said: that it is missing is another finding.
            return False
        unsigned = encode({name: value for name, value in m.items() if name != "sig"})
        if is_sound_key(key) and verify(key, unsigned, sig):
            return True
        self._note("bad-signature", seq, seq, "the signature is not the stream's key's over this record")
        return False

    def _check_lifecycle(self, m: dict[str, Any], event: str, seq: int, observed: str, *, is_signed: bool) -> None:
        context: dict[str, Any] = m["context"]
        if event in (SEAL, CLOSE):
            self._check_seal(context, seq)
        elif event == GAP:
            count: int = context["audit.gap.count"]
            self._note("declared-gap", seq, seq, f"{count} events could not be recorded: {context['audit.reason']}")
        next_by: str | None = context.get("audit.seal.next_by")
        if next_by is not None and self.opening is not None:
            ahead = unix_nanos(next_by) - unix_nanos(observed)
            if not 0 <= ahead <= self.opening.longest_interval_ms * 2_000_000 + 1_000_000_000:
                self._note("misplaced", seq, seq, f"the next seal is promised for {next_by}, out of bounds")
        if not is_signed:
            return
        if event == CLOSE:
            self.closed_at = self.closed_at or seq
        if observed <= self._terms.now or event == RETIRED:
            # What is pending names nothing; but a stream that it says was retired is not missing for that.
            self._listen(context, event, seq, observed)

    def _check_seal(self, context: dict[str, Any], seq: int) -> None:
        dropped: int = context["audit.seal.dropped"]
        if dropped > self._dropped:
            self._note(
                "declared-drops", seq, seq, f"{dropped - self._dropped} events were lost before they were recorded"
            )
            self._dropped = dropped
        if self._tree is None:
            return
        # A second seal of this `seq` comes when the first one's leaf is there already.
        below = seq - 1 - self._tree.size
        tree = self._tree.copy()
        tree.extend(self._leaves[:below])
        if context["audit.seal.size"] != seq - 1 or context["audit.seal.root"] != tree.root().hex():
            self._note("wrong-root", seq, seq, "the seal's size or root is not that of the records before it")
        # The last leaf stays apart: should its record be forked, the chain says which one it is.
        self._tree.extend(self._leaves[:-1])
        del self._leaves[:-1]

    def _take_signed(self, m: dict[str, Any], seq: int, observed: str) -> None:
        """A well-signed record vouches for those before it."""
        if self.next_by is not None and observed > self.next_by:
            self._note(
                "late-seal", seq, seq, f"signed {seconds_between(self.next_by, observed)} later than promised"
            )
        if m["event"] in (OPEN, SEAL):
            self.next_by = m["context"]["audit.seal.next_by"]
        above = self.marks.rolled_back_above
        if above is not None and seq > above:
            self._note("rolled-back", seq, seq, f"a signed record above {above}, where a recovery ended the stream")
        self.future += self.tail.future + (observed > self._terms.now)
        self.tail = Tail()
        self.signed_seq = seq
        self.is_open_signed = self.is_open_signed or (seq == 1 and m["event"] == OPEN)
        self._signed = self._current
        self.notes.take_over(self._recent)

    def _listen(self, context: dict[str, Any], event: str, seq: int, observed: str) -> None:
        """Keep what a well-signed record says of other streams."""
        if event != RETIRED:
            self.namings += namings(context, event, self.stream, seq, observed)
        else:
            self.retirements.append(Retirement.of(context, self.stream, seq, observed))

    def _move_window(self, seq: int, observed: str, found_at: set[int], *, is_signed: bool) -> None:
        """Where the run begins anew, what is to be reported at *found_at* stays, and record 1."""
        self.window.place(seq, observed)
        if is_signed and self.window.move(seq, observed):
            # Record 1 is there: without it there is no key, and nothing is well signed.
            self.records = 2
            self.future = 0
            self.notes.keep_causes(1, found_at | {1} if seq == 2 else found_at)

    def note_index(self, kind: str, seq: int, message: str) -> None:
        """Take note that an attribute beside record *seq*, the last one taken, differs from it."""
        if seq <= self.last_seq:  # not behind the run
            (self.notes if seq == self.signed_seq else self._recent).add(kind, seq, seq, message)

    def _overhear(self, m: dict[str, Any], seq: int, observed: str) -> None:
        """Behind the run: what is said of other streams counts wherever it is said, and so does a close."""
        self.window.place(seq, observed)  # before the period's end: all is to be read again, further
        event: str = m["event"]
        if event not in (CLOSE, RETIRED) and not (event in _NAMING and observed <= self._terms.now):
            return
        recent, self._recent = self._recent, Notes()
        if self._check_signature(m, seq, must=True):
            if event == CLOSE:
                self.closed_at = self.closed_at or seq
            else:
                self._listen(m["context"], event, seq, observed)
        self._recent = recent

    def _note(self, kind: str, seq: int, cause: int, message: str, count: int = 1) -> None:
        self._recent.add(kind, seq, cause, message, count)
