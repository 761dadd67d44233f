"""Whatever an application hands in, a record is made that verifiers take, or the call says what is wrong."""

from __future__ import annotations

import enum
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from otel_audit.errors import InvalidEvent
from otel_audit.event import Actor, AuditEvent, Source, Target
from otel_audit.evidence.acceptance import accepted
from otel_audit.evidence.canonical import MAX_RECORD_BYTES, decode, encode
from otel_audit.evidence.members import Members, context_members, event_members, fit, timestamp
from otel_audit.evidence.record import is_time, problem
from otel_audit.evidence.stream import Declaration, Stream

KEY = Ed25519PrivateKey.generate()
NOW = 1_767_225_600_000_000_000


class Text(str):
    """As `markupsafe.Markup` is one, with an opinion of how it looks."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"Text({str.__str__(self)})"


class Number(int):
    def __repr__(self) -> str:
        return "a number"


class Colour(str, enum.Enum):  # noqa: UP042 - what applications have
    RED = "red"
    BROKEN = "\ud800"


class Code(str, enum.Enum):  # noqa: UP042 - likewise
    """The value that JSON encoders write is not the text."""

    OK = ("ok", 200)

    def __new__(cls, text: str, value: int) -> Self:
        member = str.__new__(cls, text)
        member._value_ = value
        return member

    def __repr__(self) -> str:
        return "Code"


class Level(enum.IntEnum):
    HIGH = 3


class Proxy:
    """As werkzeug's `LocalProxy` and Django's lazy objects: the class that it gives is not its own."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
        return str


texts = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["", "\ud800", "\x00\x1f\x7f", "\U0010ffff", "a" * 300]
)
strings: st.SearchStrategy[Any] = texts | texts.map(Text) | st.sampled_from([*Colour, *Code])
numbers: st.SearchStrategy[Any] = (
    st.integers()
    | st.integers(-(2**53) - 2, 2**53 + 2)
    | st.integers().map(Number)
    | st.just(Level.HIGH)
    | st.floats()
    | st.booleans()
)
scalars: st.SearchStrategy[Any] = strings | numbers
strange: st.SearchStrategy[Any] = (
    st.none()
    | st.binary(max_size=3)
    | st.builds(object)
    | st.builds(Proxy)
    | st.just(5000).map(lambda digits: 10**digits)
)
anything: st.SearchStrategy[Any] = st.recursive(
    scalars | strange,
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(strings, inner, max_size=2)
    ),
    max_leaves=8,
)
sound_names = st.from_regex(r"[a-z]{1,8}(\.[a-z_]{1,8}){0,2}", fullmatch=True)
names: st.SearchStrategy[Any] = (
    sound_names | sound_names.map(Text) | strings | numbers | st.sampled_from(["audit.reason", "audit.seal.root"])
)
contexts: st.SearchStrategy[Any] = st.dictionaries(names, anything, max_size=5) | anything


def mostly(sound: st.SearchStrategy[Any], otherwise: st.SearchStrategy[Any] = anything) -> st.SearchStrategy[Any]:
    """Sound three times of four: of an event with ten fields that are anything, none would get through."""
    return st.one_of(sound, sound, sound, otherwise)


actor_types = mostly(st.sampled_from(["user", "service", "system"]))
auths = mostly(st.sampled_from([None, "session", "mtls"]))
bare_actors = st.builds(Actor, mostly(strings), actor_types, auths, mostly(st.none() | strings))
actors = bare_actors | st.builds(Actor, strings, actor_types, auths, st.none(), bare_actors | anything)
targets = st.builds(Target, mostly(strings), mostly(strings))
sources = st.builds(Source, mostly(strings), mostly(st.sampled_from(["ipv4", "ipv6", "hostname"])))
sound_contexts = st.dictionaries(sound_names, scalars | st.lists(scalars, max_size=3), max_size=5)
events = st.builds(
    AuditEvent,
    mostly(sound_names | strings),
    mostly(st.sampled_from(["READ", "APPROVE"]) | strings),
    mostly(st.sampled_from(["success", "failure", "unknown"])),
    mostly(st.none() | actors),
    mostly(st.none() | targets),
    mostly(st.none() | sources),
    mostly(st.none() | st.integers(0, NOW + 10**9), numbers),
    context=mostly(st.none() | sound_contexts, contexts),
)


def record_of(event: AuditEvent) -> bytes:
    """The record that a stream makes of *event*, its first after the open."""
    sound = accepted(event)
    members = event_members(
        sound, actor=sound.actor or Actor("shop", "service"), source=sound.source, trace_id=None, span_id=None
    )
    stream = Stream("a" * 32, KEY, Declaration("shop", {"service.name": "shop"}, ""))
    stream.advance(stream.draft_open(NOW, [], []))
    draft = stream.draft_event(members, NOW, sound.time_unix_nano)
    assert draft is not None
    return draft.body


@settings(max_examples=150, deadline=None)
@given(events)
def test_an_event_becomes_a_record_or_is_refused_at_the_call(event: AuditEvent) -> None:
    try:
        body = record_of(event)
    except InvalidEvent:
        return
    members = decode(body)

    assert members is not None
    assert problem(members) is None


@given(st.dictionaries(sound_names, st.none() | scalars | st.lists(scalars, max_size=4), max_size=5))
def test_every_value_that_the_type_allows_is_recorded_under_its_name(context: dict[str, Any]) -> None:
    assume(not any(name.startswith("audit.") for name in context))

    members = context_members(context)

    assert set(members) == {name for name in context if context[name] is not None}


@given(st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999))
def test_a_time_is_written_as_verifiers_read_it(seconds: int, nano: int) -> None:
    text = timestamp(seconds * 1_000_000_000 + nano)

    assert is_time(text)
    assert text.endswith(f".{nano:09d}Z")


big = st.integers(1, 40_000)
pieces = st.lists(st.tuples(st.sampled_from(["a", "\x00", '"', "é", "€", "😀"]), big), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(sound_names, pieces, min_size=1, max_size=5), st.sampled_from([0, 95]))
def test_a_record_that_is_too_large_is_cut_to_what_fits_and_says_where(
    parts: dict[str, list[tuple[str, int]]], overhead: int
) -> None:
    """Escapes take six bytes a character and emoji four, in any order within a string."""
    context = {name: "".join(text * count for text, count in run) for name, run in parts.items()}
    members: Members = {"event": "a.b", "context": context}

    fitted = fit(members, overhead)

    assert fitted is not None
    size = len(encode(fitted)) + overhead
    cut: list[str] = fitted["context"].pop("audit.truncated", [])
    assert size <= MAX_RECORD_BYTES
    assert cut == sorted(name for name in context if fitted["context"][name] != context[name])
    assert all(context[name].startswith(fitted["context"][name]) for name in context)
    assert not cut or size > MAX_RECORD_BYTES - 8  # no more than one escape and a comma too much
