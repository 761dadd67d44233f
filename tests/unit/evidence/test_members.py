"""What becomes of values that JSON, or a record, does not have; the properties are in tests/properties."""

from __future__ import annotations

import enum
import math
from typing import Any

import pytest

from otel_audit.errors import InvalidEvent
from otel_audit.event import Actor, AuditEvent, Target
from otel_audit.evidence.canonical import MAX_RECORD_BYTES, encode
from otel_audit.evidence.members import (
    actor_members,
    context_members,
    event_members,
    fit,
    timestamp,
    without_surrogates,
)


class Markup(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Colour(str, enum.Enum):  # noqa: UP042 - what applications have
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Proxy:
    """As werkzeug's `LocalProxy`: the class that it gives is that of what it stands for."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
        return str


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        ("", ""),
        (True, True),
        (0, 0),
        (2**53 - 1, 2**53 - 1),
        (2**53, "9007199254740992"),
        (-(2**53), "-9007199254740992"),
        (1.5, "1.5"),
        (1e300, "1e+300"),
        (0.1 + 0.2, "0.30000000000000004"),
        (-0.0, "-0.0"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (Markup("<b>"), "<b>"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        ([], []),
        (("a", "b"), ["a", "b"]),
        ([1, 2], [1, 2]),
        ([True, False], [True, False]),
        ([1, True], ["1", "true"]),
        ([1, 2**53], ["1", "9007199254740992"]),
        ([1.5, "x", False], ["1.5", "x", "false"]),
        ([Colour.RED], ["red"]),
    ],
)
def test_a_value_is_recorded_as_the_format_can_carry_it(value: Any, recorded: Any) -> None:
    members = context_members({"a": value})

    assert members == {"a": recorded}
    assert type(members["a"]) is type(recorded)
    assert encode(members)


def test_none_is_left_out() -> None:
    assert context_members({"a": None, "b": 1}) == {"b": 1}


@pytest.mark.parametrize("value", [b"", {}, set[int](), object(), [[]], [None], ({},), [b""], 1j])
def test_what_no_record_can_carry_is_refused_by_its_name(value: Any) -> None:
    with pytest.raises(InvalidEvent, match=r"context 'a\.b': a value of type"):
        context_members({"a.b": value})


def test_a_proxy_is_refused_whatever_class_it_gives() -> None:
    with pytest.raises(InvalidEvent, match="context 'a': a value of type Proxy"):
        context_members({"a": Proxy()})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


def test_an_impersonation_is_cut_at_the_third_identity_behind_the_actor() -> None:
    actor = Actor("0")
    for at in range(1, 6):
        actor = Actor(str(at), on_behalf_of=actor)
    ids: list[str] = []
    members: dict[str, Any] | None = actor_members(actor)
    while members is not None:
        ids.append(members["id"])
        members = members.get("on_behalf_of")

    assert ids == ["5", "4", "3", "2"]


def test_an_identity_without_a_name_is_unknown_and_so_is_a_target() -> None:
    event = AuditEvent("a.b", "READ", "success", target=Target("", "db.table"))

    members = event_members(event, actor=Actor(""), source=None, trace_id=None, span_id="b" * 16)

    assert members["actor"] == {"id": "unknown", "type": "user"}
    assert members["target"] == {"id": "unknown", "type": "db.table"}
    assert "span_id" not in members  # of no trace


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (-62_135_596_800_000_000_000, "0001-01-01T00:00:00.000000000Z"),
        (1_709_164_800_000_000_001, "2024-02-29T00:00:00.000000001Z"),
    ],
)
def test_a_time_has_nine_digits_and_a_year_of_four(nano: int, text: str) -> None:
    assert timestamp(nano) == text


def test_lone_surrogates_become_replacement_characters_at_any_depth() -> None:
    members = without_surrogates({"a": "x\ud800y", "b": ["\udfff", "\U0001f600"], "c": {"d": "\udc80"}})

    assert members == {"a": "x\ufffdy", "b": ["\ufffd", "\U0001f600"], "c": {"d": "\ufffd"}}


def test_the_longest_string_is_cut_first_and_named() -> None:
    members = {"context": {"short": "s" * 1000, "long": "l" * 70_000, "n": 1}}

    fitted = fit(members)

    assert fitted is not None
    assert fitted["context"]["audit.truncated"] == ["long"]
    assert fitted["context"]["short"] == "s" * 1000
    assert len(encode(fitted)) in range(MAX_RECORD_BYTES - 1, MAX_RECORD_BYTES + 1)
    assert len(members["context"]) == 3  # what was given is left as it was


def test_a_string_that_begins_with_escapes_is_cut_and_not_given_up() -> None:
    """By its mean bytes a character it would be cut far too late."""
    fitted = fit({"context": {"a": "\x00" * 20_000 + "a" * 100_000}})

    assert fitted is not None
    assert set(fitted["context"]["a"]) == {"\x00"}


@pytest.mark.parametrize("members", [{"actor": "a" * 70_000}, {"context": {"a": ["b" * 70_000]}}])
def test_what_is_too_large_elsewhere_cannot_be_made_to_fit(members: dict[str, Any]) -> None:
    assert fit(members) is None


@pytest.mark.parametrize("value", [2**53 - 1, -(2**53 - 1), 0])
def test_an_integer_of_53_bits_stays_one_wherever_it_stands(value: int) -> None:
    assert context_members({"alone": value, "listed": [value]}) == {"alone": value, "listed": [value]}


@pytest.mark.parametrize("value", [2**53, -(2**53)])
def test_a_larger_integer_is_a_string_wherever_it_stands(value: int) -> None:
    assert context_members({"alone": value, "listed": [value]}) == {"alone": str(value), "listed": [str(value)]}
