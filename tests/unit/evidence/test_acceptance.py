"""What the door for an application's own events lets in, and what it makes of it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any

import pytest

from otel_audit.errors import InvalidEvent
from otel_audit.event import Actor, AuditEvent, Source, Target
from otel_audit.evidence.acceptance import EARLIEST_UNIX_NANO, accepted, accepted_actor

BOB = Actor("bob", "service", "mtls", "Bob")
ALICE = Actor("alice", "user", "session", "Alice", BOB)
TARGET = Target("invoice/42", "invoice")
SOURCE = Source("198.51.100.7", "ipv4")
EVENT = AuditEvent(
    "invoice.read",
    "READ",
    "success",
    ALICE,
    TARGET,
    SOURCE,
    1,
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "00f067aa0ba902b7",
    {"invoice.total_cents": 120_000},
)


class Markup(str):
    """As templates make them: equal to their text, and not what every encoder takes."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


def marked(text: str) -> Any:
    return Markup(text)


MARKED: dict[str, AuditEvent] = {
    "event": EVENT._replace(event=marked("invoice.read")),
    "action": EVENT._replace(action=marked("READ")),
    "outcome": EVENT._replace(outcome=marked("success")),
    "actor.id": EVENT._replace(actor=replace(ALICE, id=marked("alice"))),
    "actor.type": EVENT._replace(actor=replace(ALICE, type=marked("user"))),
    "actor.auth": EVENT._replace(actor=replace(ALICE, auth=marked("session"))),
    "actor.name": EVENT._replace(actor=replace(ALICE, name=marked("Alice"))),
    "actor.on_behalf_of": EVENT._replace(actor=replace(ALICE, on_behalf_of=replace(BOB, auth=marked("mtls")))),
    "target.id": EVENT._replace(target=replace(TARGET, id=marked("invoice/42"))),
    "target.type": EVENT._replace(target=replace(TARGET, type=marked("invoice"))),
    "source.id": EVENT._replace(source=replace(SOURCE, id=marked("198.51.100.7"))),
    "source.type": EVENT._replace(source=replace(SOURCE, type=marked("ipv4"))),
}


def subclasses(value: Any) -> list[Any]:
    """The strings in an event that are of a subclass of `str`."""
    if is_dataclass(value):
        return [found for field in fields(value) for found in subclasses(getattr(value, field.name))]
    if isinstance(value, tuple):
        return [found for part in value for found in subclasses(part)]  # pyright: ignore[reportUnknownVariableType]
    return [value] if isinstance(value, str) and type(value) is not str else []


@pytest.mark.parametrize("field", MARKED)
def test_a_subclass_of_str_is_taken_for_its_text_wherever_it_stands(field: str) -> None:
    given = MARKED[field]
    assert len(subclasses(given)) == 1

    taken = accepted(given)

    assert taken == EVENT
    assert subclasses(taken) == []


@pytest.mark.parametrize(
    "event",
    [
        EVENT,
        AuditEvent("a.b", "READ", "failure"),
        EVENT._replace(context={}),
        EVENT._replace(context=MappingProxyType({"a": "b"})),
    ],
)
def test_an_event_of_plain_strings_is_not_made_again(event: AuditEvent) -> None:
    assert accepted(event) is event


def test_years_before_the_first_one_are_refused() -> None:
    first = EVENT._replace(time_unix_nano=EARLIEST_UNIX_NANO)

    assert accepted(first) is first
    with pytest.raises(InvalidEvent, match="expected whole nanoseconds"):
        accepted(EVENT._replace(time_unix_nano=EARLIEST_UNIX_NANO - 1))


def test_a_time_of_a_subclass_of_int_is_refused() -> None:
    """Nobody's clock gives one, and what `bool` makes of a time is no time."""
    with pytest.raises(InvalidEvent, match=r"time_unix_nano=\(bool\)"):
        accepted(EVENT._replace(time_unix_nano=False))


def chain(length: int, last: Actor) -> Actor:
    """An actor on behalf of *length* others, the last of them *last*."""
    return last if length == 0 else Actor("a", on_behalf_of=chain(length - 1, last))


def test_an_identity_is_judged_as_deep_as_it_is_recorded() -> None:
    """Of what lies deeper nothing is written; to refuse an event for it would lose the record."""
    nobody = Actor("")

    for depth in range(4):
        with pytest.raises(InvalidEvent, match="actor: id=''"):
            accepted_actor(chain(depth, nobody))
    assert accepted_actor(chain(4, nobody)) == chain(4, nobody)


def test_an_actor_without_a_name_may_say_so_by_an_empty_one() -> None:
    nameless = replace(ALICE, name="")

    assert accepted_actor(nameless) is nameless
    assert accepted_actor(replace(ALICE, name=marked(""))) == nameless


@pytest.mark.parametrize("other", [TARGET, {"id": "alice"}, "alice"])
def test_whom_an_actor_works_for_is_an_actor(other: Any) -> None:
    with pytest.raises(InvalidEvent, match="expected an Actor"):
        accepted_actor(replace(ALICE, on_behalf_of=other))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (EVENT._replace(event=""), "event='': expected a name"),
        (EVENT._replace(event="audit.seal"), "event='audit.seal': expected a name"),
        (EVENT._replace(action=""), "action='': expected an upper-case verb"),
        (EVENT._replace(action="Read"), "action='Read': expected an upper-case verb"),
        (EVENT._replace(outcome=marked("ok")), r"outcome=\(Markup\): expected one of success, failure, unknown"),
        (
            EVENT._replace(actor=replace(ALICE, type=marked("admin"))),
            r"actor: type=\(Markup\): expected one of user",
        ),
        (EVENT._replace(actor=replace(ALICE, auth=marked(""))), r"actor: auth=\(Markup\): expected one of session"),
        (EVENT._replace(target=Target("", "invoice")), "target: id='', type='invoice': expected strings"),
        (EVENT._replace(target=Target("42", "")), "target: id='42', type='': expected strings"),
        (EVENT._replace(source=Source("", "ipv4")), "source: id='', type='ipv4': expected an address"),
        (
            EVENT._replace(source=replace(SOURCE, type=marked("ip"))),
            r"type=\(Markup\): expected an address, and one",
        ),
    ],
)
def test_a_wrong_field_is_named_with_what_is_expected(wrong: AuditEvent, message: str) -> None:
    with pytest.raises(InvalidEvent, match=message):
        accepted(wrong)
