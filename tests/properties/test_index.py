"""What is compared quickly where all is as it should be is judged as the second verifier judges it, one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_audit.verify.index import compare, differs, expected_attributes
from tests.second_verifier.verifier import agrees

RECORD: dict[str, Any] = {
    "schema": "otel-audit/1",
    "stream": "a" * 32,
    "seq": 17,
    "prev": "b" * 64,
    "time": "2026-11-23T14:59:59.123456789Z",
    "observed": "2026-11-23T15:00:00.123456789Z",
    "event": "http.server.request",
    "actor": {"id": "alice", "type": "user", "on_behalf_of": {"id": "bob", "type": "user"}},
    "action": "READ",
    "outcome": "success",
    "source": {"id": "198.51.100.7", "type": "ipv4"},
}
NAMES = ("http.route", "http_route", "flag", "sizes", "audit_action", "audit_actor_name", "audit_actor_id", "a.b_c")
VALUES = st.sampled_from(
    ["/a", "READ", "alice", "", "true", "1", 1, 0, True, False, [], [1, 2], [True], ["x"], ["<a&b>", "c"]]
)
CHANGES = st.sampled_from(["keep", "text", "go", "spaces", "form", "cut", "other", "gone"])
OTHERS = st.sampled_from(["audit.actor.name", "audit.sequence.end", "audit.integrity.canonicalization", "a_b_c"])


@given(
    context=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5),
    is_signed=st.booleans(),
    changes=st.lists(CHANGES, min_size=24, max_size=24),
    other=VALUES,
    more=st.dictionaries(OTHERS, VALUES | st.just("otel-audit/1"), max_size=2),
)
@example(context={"sizes": ["<&>", 1]}, is_signed=False, changes=["go"] * 24, other=1, more={})
@example(context={"sizes": [1, 2]}, is_signed=False, changes=["spaces"] * 24, other=1, more={})
def test_both_verifiers_say_the_same_of_an_index(
    context: dict[str, Any], is_signed: bool, changes: list[str], other: object, more: dict[str, object]
) -> None:
    m = RECORD | {"context": context} | ({"sig": "A" * 86} if is_signed else {})
    attributes = more | changed(expected_attributes(m), changes, other)

    found = {kind for kind, _ in compare(m, attributes)}

    assert ("index-mismatch" in found) == (not agrees(attributes, m))


def changed(expected: dict[str, object], changes: list[str], other: object) -> dict[str, object]:
    given: dict[str, object] = {}
    for (name, value), change in zip(expected.items(), changes, strict=False):
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        go = text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")
        spaced = value if isinstance(value, str) else json.dumps(value)
        spellings = {"text": text, "go": go, "spaces": spaced, "cut": text[:-1], "other": other}
        said = spellings.get(change, value)
        if change != "gone":
            given[name.replace(".", "_") if change == "form" else name] = said
    return given


def test_an_honest_index_with_a_name_and_its_form_is_no_mismatch() -> None:
    """An application may record both; each is beside the body under its own name."""
    m = RECORD | {"context": {"http.route": "/a", "http_route": "/b"}}

    assert list(compare(m, {"http.route": "/a", "http_route": "/b"})) == []
    assert [kind for kind, _ in compare(m, {"http_route": "/a"})] == ["index-mismatch"]


@pytest.mark.parametrize("name", ["audit.integrity.canonicalization", "audit_integrity_canonicalization"])
def test_an_unsigned_record_has_no_canonicalization_beside_it(name: str) -> None:
    """The table has it "from sig, when present"."""
    signed = RECORD | {"sig": "A" * 86}

    assert [kind for kind, _ in compare(RECORD, {name: "otel-audit/1"})] == ["index-mismatch"]
    assert list(compare(signed, {name: "otel-audit/1"})) == []


@pytest.mark.parametrize(("value", "told"), [(1, True), (True, 1), ([1], [True]), (1, 1.0), ("1", 1)])
def test_what_python_takes_for_equal_is_a_mismatch_where_its_type_is_another(value: object, told: object) -> None:
    m = RECORD | {"context": {"count": value}}

    assert [kind for kind, _ in compare(m, {"count": told})] == ["index-mismatch"]


JSON = st.recursive(
    VALUES | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*RECORD, *NAMES]), inner, max_size=5)
    ),
)


@given(st.dictionaries(st.sampled_from([*RECORD, "context", "sig"]), JSON, max_size=3), JSON, st.booleans())
def test_any_body_may_be_asked_whether_its_index_differs(
    changes: dict[str, Any], other: object, is_object: bool
) -> None:
    """It may be no record: nothing is raised, and of a record the answer is that of the comparison."""
    body = json.dumps(RECORD | changes if is_object else other).encode()

    assert differs(body, {"audit.action": "DELETE", "http.route": "/a", "audit.actor.id": "x"}) in {True, False}
    assert differs(body[:-1], {})
    assert differs(json.dumps(RECORD).encode(), {"audit.action": "DELETE"})
    assert not differs(json.dumps(RECORD).encode(), expected_attributes(RECORD))
