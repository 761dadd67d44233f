"""First match wins; what does not parse says line, rule, what, and what is accepted."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.capture.policy import DEFAULT_TEXT, MAX_TEXT_BYTES, RECORD, Decision, Policy
from otel_audit.capture.request import RequestScope, current_request
from otel_audit.errors import InvalidSetting
from otel_audit.event import Actor, AuditEvent

SKIP = Decision(is_recorded=False)
CORE = Decision(detail="core")


def _request(path: str = "/", method: str = "GET") -> RequestScope:
    return RequestScope(
        trace_id="1" * 32,
        span_id="1" * 16,
        source=None,
        path=path,
        method=method,
        resolve_actor=lambda: Actor("alice"),
    )


def _event(event: str = "http.server.request", status: int = 200, actor: Actor | None = None) -> AuditEvent:
    return AuditEvent(event, "READ", "success", actor, context={"http.response.status_code": status})


def _decide(rule: str, event: AuditEvent | None = None, request: RequestScope | None = None) -> Decision:
    return Policy.parse(f"rules:\n  - {{{rule}, action: skip}}\n").decide(event or _event(), request or _request())


def test_the_built_in_policy_records_everything_and_is_its_own_text() -> None:
    policy = Policy.parse()

    assert policy.text == DEFAULT_TEXT
    assert policy.digest == hashlib.sha256(DEFAULT_TEXT.encode()).hexdigest()
    assert policy.decide(_event(), None) is RECORD


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("/health", "/health", True),
        ("/health", "/health/", False),
        ("/health", "/x/health", False),
        ("/static/*", "/static/a.css", True),
        ("/static/*", "/static/css/a.css", False),
        ("/static/**", "/static/css/a.css", True),
        ("/static/**", "/static", True),
        ("/static/**", "/statics", False),
        ("/**/export", "/a/b/export", True),
        ("/**/export", "/export", False),
        ("**/export", "/export", True),
        ("/a?c", "/abc", True),
        ("/a?c", "/a/c", False),
        ("/a.c", "/abc", False),
        ("/[ab]", "/a", False),
        ("/*", "/a\nb", True),
        ("/**", "/" + "a" * 2048, False),
    ],
)
def test_paths_match_by_glob_and_segment(glob: str, path: str, matches: bool) -> None:
    assert _decide(f"path: '{glob}'", request=_request(path)) == (SKIP if matches else RECORD)


@pytest.mark.parametrize(
    ("status", "actual", "matches"),
    [
        ("404", 404, True),
        ("404", 403, False),
        ("2xx", 204, True),
        ("2XX", 304, False),
        ("400-403", 403, True),
        ("400-403", 404, False),
        ("[200, 5xx]", 503, True),
    ],
)
def test_statuses_match_by_number_class_and_range(status: str, actual: int, matches: bool) -> None:
    assert _decide(f"status: {status}", _event(status=actual)) == (SKIP if matches else RECORD)


def test_methods_events_and_actors_match() -> None:
    assert _decide("method: [GET, HEAD]") == SKIP
    assert _decide("method: POST") == RECORD
    assert _decide("event: 'http.*'") == SKIP
    assert _decide("event: user.login") == RECORD
    assert _decide("actor: 'svc-*'", _event(actor=Actor("svc-backup"))) == SKIP
    assert _decide("actor: 'svc-*'", _event(actor=Actor("alice"))) == RECORD


def test_an_event_without_an_actor_is_whoever_the_request_is() -> None:
    token = current_request.set(_request())
    try:
        assert _decide("actor: alice") == SKIP
    finally:
        current_request.reset(token)
    assert _decide("actor: alice") == RECORD


def test_all_conditions_of_a_rule_must_hold() -> None:
    assert _decide("path: /health, method: GET", request=_request("/health", "POST")) == RECORD


def test_a_rule_about_requests_does_not_hold_outside_of_one() -> None:
    policy = Policy.parse("rules:\n  - path: '**'\n    action: skip\n  - method: GET\n    action: skip\n")

    assert policy.decide(_event(), None) is RECORD


def test_a_path_covers_what_happens_inside_its_requests() -> None:
    query = AuditEvent("db.query", "READ", "success")

    assert _decide("path: /health", query, _request("/health")) == SKIP


def test_the_first_rule_that_matches_wins() -> None:
    policy = Policy.parse(
        """
        rules:
          - path: /admin/health
            action: skip
          - path: /admin/**
            detail: core
          - path: '**'
            action: skip
        """
    )

    assert policy.decide(_event(), _request("/admin/health")) == SKIP
    assert policy.decide(_event(), _request("/admin/users")) == CORE
    assert policy.decide(_event(), _request("/")) == SKIP


def test_core_detail_keeps_only_what_the_format_names() -> None:
    event = _event()._replace(context={"url.path": "/", "audit.reason": "denied"})

    assert CORE.reduce(event).context == {"audit.reason": "denied"}
    assert RECORD.reduce(event) is event


def test_excluded_paths_come_first_and_stand_in_the_text() -> None:
    file = "rules:\n  - path: /health\n    action: record\n"
    policy = Policy.parse(file, excluded_paths=["/health", "/it's"])

    assert policy.decide(_event(), _request("/health")) == SKIP
    assert policy.decide(_event(), _request("/it's")) == SKIP
    assert policy.decide(_event("db.query"), _request("/health")) == RECORD
    assert "OTEL_AUDIT_EXCLUDED_PATHS" in policy.text
    assert policy.text.endswith(file)
    assert policy.digest == hashlib.sha256(policy.text.encode()).hexdigest()


@pytest.mark.parametrize("begin", ["", "# a comment\n", "---\n", "%YAML 1.1\n---\n", "\n\n"])
def test_the_text_says_what_is_decided_when_it_is_read_again(begin: str) -> None:
    """An auditor has only the text: it must mean the same by itself."""
    policy = Policy.parse(begin + "rules:\n  - path: /a\n    detail: core\n", excluded_paths=["/health"])
    again = Policy.parse(policy.text)

    for path in ("/health", "/a", "/"):
        assert again.decide(_event(), _request(path)) == policy.decide(_event(), _request(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules:\n  - paht: /x\n", ("line 2", "rule 1", "paht", "path")),
        ("rules:\n  - path: /x\n  - action: drop\n", ("line 3", "rule 2", "action", "'drop'", "record, skip")),
        ("rules:\n  - detail: little\n", ("detail", "'little'", "full, core")),
        ("rules:\n  - status: 999\n", ("status", "'999'", "404, 2xx or 400-499")),
        ("rules:\n  - method: get\n", ("method", "'get'", "upper case")),
        ("rules:\n  - path: health\n", ("path", "'health'", "begins with `/`")),
        ("rules:\n  - path: []\n", ("path", "expected a value")),
        ("rules:\n  - path: {a: b}\n", ("path", "expected a value")),
        ("rules:\n  - path: /a\n    path: /b\n", ("'path' twice",)),
        ("rules:\n  - action: skip\n    detail: core\n", ("detail", "no detail")),
        ("rules:\n  - text\n", ("line 2", "rule 1", "expected members")),
        ("rules: 7\n", ("line 1", "expected a list")),
        ("rule: []\n", ("line 1", "'rule'", "rules")),
        ("- a\n", ("line 1", "expected members rules")),
        ("rules: [\n", ("line 2", "expected YAML")),
        ("rules: !!python/object:os.system []\nx: 1", ("'x'",)),
        ("a: &a [*a]\n", ("'a'",)),
        ("\x00", ("expected YAML",)),
        ("[" * 2000, ("expected",)),
    ],
)
def test_a_mistake_is_named(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidSetting) as caught:
        Policy.parse(text, name="policy.yaml")

    assert "policy.yaml" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_text_that_does_not_fit_a_record_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="49,152"):
        Policy.parse("#" + "x" * MAX_TEXT_BYTES)


def test_an_excluded_path_that_cannot_be_written_down_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="OTEL_AUDIT_EXCLUDED_PATHS"):
        Policy.parse(excluded_paths=["/a\nrules: []"])


def test_a_file_of_comments_has_no_rules() -> None:
    for text in ("", "# nothing yet\n", "---\n"):
        assert Policy.parse(text, excluded_paths=["/health"]).decide(_event(), _request()) is RECORD
        assert Policy.parse(text).decide(_event(), _request("/health")) is RECORD


@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_a_mistake_that_is_named(text: str) -> None:
    try:
        policy: Any = Policy.parse(text)
    except InvalidSetting:
        return
    assert policy.decide(_event(), _request()) in (RECORD, SKIP, CORE)


def test_rows_are_recorded_for_the_models_named_with_the_detail_of_each_field() -> None:
    policy = Policy.parse("rows:\n  - model: [shop.Invoice, crm.*]\n    fields: {total: plain, card_*: hash}\n")

    (rule,) = policy.rows
    assert [rule.matches(model) for model in ("shop.Invoice", "crm.Person", "shop.InvoiceLine")] == [
        True,
        True,
        False,
    ]
    assert [rule.detail(name) for name in ("total", "card_number", "name")] == ["plain", "hash", "none"]
    assert not policy.has_rules


def test_rules_and_rows_stand_side_by_side() -> None:
    policy = Policy.parse("rules:\n  - {event: db.query, action: skip}\nrows:\n  - model: shop.Invoice\n")

    assert policy.has_rules
    assert len(policy.rows) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rows:\n  - fields: {total: plain}\n", "line 2 (row 1): expected a member `model`"),
        (
            "rows:\n  - {model: a.B, fields: {total: full}}\n",
            "fields, total: 'full': expected one of none, hash, plain",
        ),
        ("rows:\n  - {model: a.B, fields: [total]}\n", "fields: expected members such as `total: plain`"),
        ("rows: shop.Invoice\n", "line 1: expected a list under `rows`"),
        ("rows:\n  - {model: a.B, colour: red}\n", "unknown member 'colour': expected one of model, fields"),
    ],
)
def test_a_mistake_in_rows_is_named_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        Policy.parse(text, name="p.yaml")

    assert said in str(caught.value)
