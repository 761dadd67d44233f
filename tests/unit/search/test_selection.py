"""Which records answer a question, and whose the ones are that were made before the user was known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from otel_audit.errors import InvalidSetting
from otel_audit.search.query import Query
from otel_audit.search.selection import Found, Selection
from otel_audit.search.trace import by_request

if TYPE_CHECKING:
    from tests.unit.search.conftest import MakeRecord

OTHER_STREAM = "b" * 32
OTHER_TRACE = "3" * 32
OTHER_SPAN = "4" * 16


def found(query: Query, *bodies: bytes, limit: int | None = None) -> list[Found]:
    with Selection(query) as selection:
        for body in bodies:
            selection.take(body)
        return list(selection.found(limit))


def seqs(query: Query, *bodies: bytes, limit: int | None = None) -> list[int]:
    return [one.seq for one in found(query, *bodies, limit=limit)]


@pytest.mark.parametrize(
    ("condition", "answers"),
    [
        ({"actor": "alice"}, [2]),
        ({"actor": "ALICE"}, []),
        ({"actor": "b?b"}, [3, 5]),
        ({"actor": "Robert"}, [3]),
        ({"actor": "support"}, [5]),
        ({"action": "delete"}, [3]),
        ({"event": "user.*"}, [4]),
        ({"event": "audit.*"}, [6]),
        ({"target": "customers"}, [2]),
        ({"target": "db.table"}, [2, 3]),
        ({"target": "db.table:orders"}, [3]),
        ({"target": "invoices"}, [3]),
        ({"outcome": "failure"}, [4]),
        ({"trace": "1111"}, [2, 3, 4, 5]),
        ({"trace": "1" * 32, "action": "LOGIN"}, [4]),
        ({"trace": "2222"}, []),
        ({"since": datetime(2026, 11, 23, 15, 0, 4, tzinfo=UTC)}, [4, 5]),
        ({"until": datetime(2026, 11, 23, 15, 0, 4, tzinfo=UTC)}, [2, 3]),
        ({}, [2, 3, 4, 5]),
    ],
)
def test_every_condition_must_hold(record: MakeRecord, condition: dict[str, Any], answers: list[int]) -> None:
    bodies = [
        record(2),
        record(
            3,
            actor={"id": "bob", "type": "user", "name": "Robert"},
            action="DELETE",
            target={"id": "orders", "type": "db.table"},
            context={"db.collection.names": ["orders", "invoices"]},
        ),
        record(4, actor="carol", action="LOGIN", event="user.login", outcome="failure", target=None),
        record(
            5, actor={"id": "support", "type": "user", "on_behalf_of": {"id": "bob", "type": "user"}}, target=None
        ),
        record(
            6, event="audit.gap", actor={"id": "otel-audit", "type": "system"}, action="EXECUTE", target=None,
            trace_id=None, span_id=None, sig="A" * 86,
            context={"audit.gap.count": 1, "audit.gap.from": "2026-11-23T15:00:05.000000000Z",
                     "audit.gap.to": "2026-11-23T15:00:06.000000000Z", "audit.reason": "disk-full"},
        ),
    ]  # fmt: skip

    assert seqs(Query(**condition), *bodies) == answers


def test_streams_are_merged_by_time_and_the_limit_keeps_the_newest(record: MakeRecord) -> None:
    bodies = [record(2), record(6), record(4, stream=OTHER_STREAM), record(5, stream=OTHER_STREAM)]

    assert seqs(Query(), *bodies) == [2, 4, 5, 6]
    assert seqs(Query(), *bodies, limit=2) == [5, 6]


def test_the_same_record_from_two_sources_is_shown_once_and_a_fork_twice(record: MakeRecord) -> None:
    assert seqs(Query(), record(2), record(2), record(2, actor="mallory")) == [2, 2]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b'{"schema":"otel-audit/1"}', b"\xff", b"null", b'{"a":' * 300]
)
def test_what_is_no_record_is_never_selected(body: bytes) -> None:
    assert found(Query(), body) == []


def test_queries_before_sign_in_are_found_under_the_user_of_the_request(record: MakeRecord) -> None:
    before, after = record(2, actor="anonymous"), record(3)
    request = record(4, event="http.server.request", actor="alice")

    answers = found(Query(actor="alice"), before, after, request)

    assert [(one.seq, one.learnt_actor) for one in answers] == [(2, "alice"), (3, None), (4, None)]


def test_a_query_in_a_span_of_its_own_is_the_only_request_s(record: MakeRecord) -> None:
    before = record(2, actor="anonymous", span_id=OTHER_SPAN)

    assert seqs(Query(actor="alice"), before, record(3, event="http.server.request")) == [2, 3]


def test_the_request_joins_even_where_other_conditions_leave_it_out(record: MakeRecord) -> None:
    bodies = [record(2, actor="anonymous"), record(3, event="http.server.request")]

    assert seqs(Query(actor="alice", event="db.query"), *bodies) == [2]


def test_a_stranger_who_borrows_a_trace_id_lays_nothing_at_alice_s_door(record: MakeRecord) -> None:
    """`traceparent` is the client's to choose."""
    alices = record(2, event="http.server.request")
    strangers_query = record(3, actor="anonymous", span_id=OTHER_SPAN)
    strangers = record(4, actor="anonymous", event="http.server.request", span_id=OTHER_SPAN)
    unclear = record(5, actor="anonymous", span_id="5" * 16)
    elsewhere = record(6, actor="anonymous", stream=OTHER_STREAM)

    assert seqs(Query(actor="alice"), alices, strangers_query, strangers, unclear, elsewhere) == [2]


def test_one_span_of_two_actors_joins_neither(record: MakeRecord) -> None:
    bodies = [
        record(2, event="http.server.request"),
        record(3, event="http.server.request", actor="bob"),
        record(4, actor="anonymous"),
    ]

    assert seqs(Query(actor="alice"), *bodies) == [2]
    assert [one.learnt_actor for one in found(Query(), *bodies)] == [None, None, None]


def test_a_trace_is_its_requests_with_what_served_them(record: MakeRecord) -> None:
    bodies = [
        record(2, event="http.server.request"),
        record(3),
        record(4, span_id=OTHER_SPAN),
        record(5, event="http.server.request", span_id=OTHER_SPAN),
        record(6, span_id="5" * 16),
        record(7, stream=OTHER_STREAM),
    ]

    served = by_request(found(Query(trace="1" * 32), *bodies))

    assert [(one.request and one.request.seq, [within.seq for within in one.within]) for one in served] == [
        (2, [3]),
        (5, [4]),
        (None, [6, 7]),
    ]


@pytest.mark.parametrize("condition", [{"trace": "xyz"}, {"trace": "12"}, {"trace": "1" * 33}, {"outcome": "ok"}])
def test_a_condition_that_could_never_hold_is_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match="expected"):
        Query(**condition)


def test_wildcards_in_a_hostile_text_cost_no_backtracking(record: MakeRecord) -> None:
    """Exponential in the number of stars, if they were greedy: this would not end."""
    body = record(2, actor="a" * 5000)

    assert seqs(Query(actor="*a" * 30 + "b"), body) == []
