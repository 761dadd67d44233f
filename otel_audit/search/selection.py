"""The records that answer a query, gathered while the verifier reads them.

What is shown is what was verified: one reading serves both, so nothing can be exchanged in between. The
records wait in a temporary database of SQLite's own, which it keeps in memory and moves to an unlinked
file as it grows: a selection costs no memory in proportion to the log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from otel_audit.evidence.canonical import decode
from otel_audit.evidence.record import CLOSE, OPEN, problem
from otel_audit.search.query import REQUEST, UNIDENTIFIED, Query, like
from otel_audit.sources.temporary_database import as_ours, open_temporary_database

_SCHEMA = """
CREATE TABLE record (
    time TEXT, stream TEXT, seq INTEGER, trace TEXT, span TEXT, actor TEXT, name TEXT,
    answers INTEGER, is_by INTEGER, is_request INTEGER, body BLOB,
    UNIQUE (stream, seq, body)
)
"""
# What was recorded before the user was known belongs to whom the request's own record names, which is made
# last. Only where every request of the span, else of the process's part of the trace, names the same one: a
# trace id is the client's to choose, and must not lay a stranger's queries at somebody's door.
_ANSWER = """
WITH request AS (
    SELECT stream, trace, span, MIN(actor) AS actor, MIN(actor) = MAX(actor) AS is_one, MIN(is_by) AS is_by,
           MIN(name) AS name
    FROM record WHERE is_request AND trace <> '' GROUP BY stream, trace, span
), whole AS (
    SELECT stream, trace, MIN(actor) AS actor, MIN(is_by) AS is_by,
           MIN(is_one) AND MIN(actor) = MAX(actor) AS is_one, MIN(name) AS name
    FROM request GROUP BY stream, trace
), answer AS (
    SELECT record.*, CASE WHEN record.is_request OR record.actor NOT IN ('anonymous', 'unknown') THEN NULL
                          WHEN request.is_one THEN request.actor WHEN whole.is_one THEN whole.actor END AS learnt,
           CASE WHEN request.is_one THEN request.is_by ELSE whole.is_by END AS is_learnt_by,
           CASE WHEN request.is_one THEN request.name ELSE whole.name END AS learnt_name
    FROM record LEFT JOIN request USING (stream, trace, span) LEFT JOIN whole USING (stream, trace)
    WHERE record.answers AND is_of_service(record.stream) AND is_counted(record.stream, record.seq)
), newest AS (
    SELECT * FROM answer WHERE is_by OR (learnt IS NOT NULL AND is_learnt_by)
    ORDER BY time DESC, stream DESC, seq DESC LIMIT ?
)
SELECT stream, seq, body, learnt, learnt_name FROM newest ORDER BY time, stream, seq
"""

_KEEPING = "what was found cannot be kept"


@dataclass(frozen=True, slots=True)
class Found:
    """One record that answers the query; its body is canonical, its members are of the evidence format's types."""

    stream: str
    seq: int
    body: bytes
    members: dict[str, Any]
    learnt_actor: str | None = None
    """Who the request turned out to be of, where the record was made before that was known."""
    learnt_name: str | None = None
    """The name of that actor, where the request has one."""


class Selection:
    """Gathers the records that answer *query*; a context manager, whose end removes what it kept.

    `take` is given every body that the verifier reads, good or not. Only well-formed records are ever
    selected; byte-identical ones count once.
    """

    def __init__(self, query: Query, *, is_followed: bool = False) -> None:
        self.last_seq: dict[str, int] = {}
        """Highest `seq` taken, by stream: where a follower goes on. Kept for one only: there may be a million."""
        self.services: dict[str, str] = {}
        """`service.name` of each stream whose open record was taken, for a follower or where it is asked for."""
        self.closed: set[str] = set()
        """Streams whose close was taken: nothing follows. Kept for a follower only."""
        self._is_followed = is_followed
        self._query = query
        self._database = open_temporary_database()
        self._database.execute(_SCHEMA)
        self._database.execute("BEGIN")
        self._database.create_function("is_of_service", 1, self._is_of_service)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def take(self, body: bytes) -> None:
        """Keep the record where it may answer.

        Raises:
            SourceError: there is no room to keep it.
        """
        members = decode(body)
        if members is None or problem(members) is not None:
            return
        stream, seq = members["stream"], members["seq"]
        if self._is_followed:
            self.last_seq[stream] = max(seq, self.last_seq.get(stream, 0))
            if members["event"] == CLOSE:
                self.closed.add(stream)
        if members["event"] == OPEN and (self._is_followed or self._query.service is not None):
            self.services[stream] = members["context"]["service.name"]
        query = self._query
        is_request = members["event"] == REQUEST
        answers = query.matches(members)
        is_by = query.is_by(members)
        if answers and (is_by or members["actor"]["id"] in UNIDENTIFIED):
            kept = body
        elif is_request:
            # Something leaves it out, but it says whose the records before sign-in were
            answers, kept = False, b""
        else:
            return
        actor = members["actor"]
        ids = (members.get("trace_id", ""), members.get("span_id", ""), actor["id"], actor.get("name"))
        try:
            self._database.execute(
                "INSERT OR IGNORE INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (members["time"], stream, seq, *ids, answers, is_by, is_request, kept),
            )
        except sqlite3.Error as error:
            raise as_ours(error, _KEEPING) from error

    def found(self, limit: int | None = None, last_seqs: Mapping[str, int] | None = None) -> Iterator[Found]:
        """The answers in order of time; with a *limit* the most recent ones.

        *last_seqs* is where each stream ends, as the verdict has it: what stands above a recovered end is torn,
        no record, and anyone may have written it there.

        Raises:
            SourceError: there is no room to put them in order.
        """
        ends = last_seqs or {}

        def is_counted(stream: str, seq: int) -> bool:
            return seq <= ends.get(stream, seq)

        self._database.create_function("is_counted", 2, is_counted)
        try:
            rows = self._database.execute(_ANSWER, (-1 if limit is None else limit,))
            for stream, seq, body, learnt, name in rows:
                is_known = learnt is not None and learnt not in UNIDENTIFIED
                yield Found(stream, seq, body, decode(body) or {}, *((learnt, name) if is_known else ()))
        except sqlite3.Error as error:
            raise as_ours(error, _KEEPING) from error

    def _is_of_service(self, stream: str) -> bool:
        return self._query.service is None or like(self._query.service, self.services.get(stream, ""))
