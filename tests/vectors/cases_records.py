""" "Record": what is and what is not one, each trick on a chain that is sound but for it.

The odd record 4 was hashed and sealed as it stands on its line, so a verifier that takes it for a record
finds nothing; the right one calls the line malformed and its place absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.vectors.stream import SECOND, T0, Members, Spell, Stream, encode, stamp
from tests.vectors.vector import Vector

ALICE = {"id": "alice", "type": "user", "auth": "session"}
CONTEXT = {"http.request.method": "GET"}


def vectors() -> Iterator[Vector]:
    for name, why, spell in SPELLINGS:
        yield _malformed(f"record-{name}", why, spell=spell)
    for name, why, changes in MEMBERS:
        yield _malformed(f"record-{name}", why, **changes)
    for name, why, changes in SOUND:
        odd = _with_odd_record(**changes)
        yield Vector(f"record-ok-{name}", why, [odd])
    behalf = {"id": "admin", "on_behalf_of": ALICE, "type": "user"}
    yield _malformed(
        "record-on-behalf-of-order",
        "Members of an object three deep in another order are not RFC 8785.",
        actor=behalf,
        spell=_replace('"auth":"session","id":"alice"', '"id":"alice","auth":"session"'),
    )
    yield from _sizes()
    yield from _lifecycle()
    yield from _beside()


def _with_odd_record(*, spell: Spell | None = None, **changes: Any) -> Stream:
    """1 open, 2 policy, 3 event, 4 the odd one, 5-6 events, 7 seal, 8-10 events, 11 close."""
    stream = Stream().begin().events(1)
    stream.event(spell=spell, **changes)
    return stream.events(2).seal().events(3).close()


def _malformed(name: str, why: str, **changes: Any) -> Vector:
    odd = _with_odd_record(**changes)
    return Vector(name, why, [odd], {odd.id: ("missing", 4)}, ["malformed"])


def _replace(old: str, new: str) -> Spell:
    def spell(body: bytes) -> bytes:
        assert body.count(old.encode()) == 1, (old, body)
        return body.replace(old.encode(), new.encode())

    return spell


def _unsorted(body: bytes) -> bytes:
    """The first member, `action`, at the end: same object, other bytes."""
    member = b'"action":"READ",'
    assert body.startswith(b"{" + member)
    return body.replace(member, b"")[:-1] + b"," + member[:-1] + b"}"


def _encode_string(body: bytes) -> bytes:
    return b'"' + body.replace(b'"', b'\\"') + b'"'


SPELLINGS: Sequence[tuple[str, str, Spell]] = (
    ("key-order", "Members in another order are not RFC 8785.", _unsorted),
    (
        "nested-key-order",
        "Members of a nested object in another order are not RFC 8785.",
        _replace('"id":"203.0.113.9","type":"ipv4"', '"type":"ipv4","id":"203.0.113.9"'),
    ),
    (
        "actor-order",
        "Members of a nested object in another order are not RFC 8785.",
        _replace('"auth":"session","id":"alice"', '"id":"alice","auth":"session"'),
    ),
    (
        "target-order",
        "Members of a nested object in another order are not RFC 8785.",
        _replace('"id":"/notes/4","type":"http.endpoint"', '"type":"http.endpoint","id":"/notes/4"'),
    ),
    (
        "context-order",
        "Members of a nested object in another order are not RFC 8785.",
        _replace(
            '"http.request.method":"GET","http.response.status_code":200',
            '"http.response.status_code":200,"http.request.method":"GET"',
        ),
    ),
    (
        "duplicate-member",
        "A member given twice is not RFC 8785, whichever of the two a parser keeps.",
        _replace('"action":"READ",', '"action":"DELETE","action":"READ",'),
    ),
    (
        "duplicate-member-same-value",
        "A member given twice with one value is still given twice.",
        _replace('"action":"READ",', '"action":"READ","action":"READ",'),
    ),
    (
        "duplicate-nested-member",
        "A member of a nested object given twice is not RFC 8785.",
        _replace('"auth":"session",', '"auth":"none","auth":"session",'),
    ),
    ("space-after-colon", "White space between tokens is not RFC 8785.", _replace('"READ",', '"READ", ')),
    ("float-1.0", "1.0 is spelt 1 in RFC 8785.", _replace(":200}", ":200.0}")),
    ("float-1e0", "2e2 is spelt 200 in RFC 8785.", _replace(":200}", ":2e2}")),
    ("minus-zero", "-0 is spelt 0 in RFC 8785.", _replace(":200}", ":-0}")),
    ("leading-zero", "JSON has no leading zeros.", _replace(":200}", ":0200}")),
    ("fraction", "A number is an integer.", _replace(":200}", ":200.5}")),
    ("nan", "JSON has no NaN.", _replace(":200}", ":NaN}")),
    ("infinity", "JSON has no Infinity.", _replace(":200}", ":Infinity}")),
    ("huge-exponent", "1e400 is no integer within range.", _replace(":200}", ":1e400}")),
    ("integer-2-53", "Integers lie within ±(2^53-1).", _replace(":200}", ":9007199254740992}")),
    ("integer-minus-2-53", "Integers lie within ±(2^53-1).", _replace(":200}", ":-9007199254740992}")),
    ("integer-20-digits", "Integers lie within ±(2^53-1).", _replace(":200}", ":18446744073709551616}")),
    ("integer-5000-digits", "Integers lie within ±(2^53-1).", _replace(":200}", ":" + "9" * 5000 + "}")),
    ("lone-surrogate", "A lone surrogate cannot be UTF-8.", _replace('"GET"', r'"\ud800"')),
    ("lone-low-surrogate", "A lone surrogate cannot be UTF-8.", _replace('"GET"', r'"\udc00"')),
    ("surrogate-pair-escape", "RFC 8785 writes U+1F600 itself.", _replace('"GET"', r'"\ud83d\ude00"')),
    ("escaped-slash", "RFC 8785 does not escape a slash.", _replace("/notes/4", r"\/notes\/4")),
    ("escaped-letter", "RFC 8785 does not escape a letter.", _replace('"GET"', r'"\u0047ET"')),
    ("escape-upper-case-hex", "RFC 8785 writes \\u001f.", _replace('"GET"', r'"\u001F"')),
    ("escape-u000a", "RFC 8785 writes \\n for a line feed.", _replace('"GET"', r'"\u000a"')),
    ("raw-control", "JSON has no raw control characters.", _replace('"GET"', '"\x01"')),
    ("raw-tab", "JSON has no raw tabs in strings.", _replace('"GET"', '"\t"')),
    ("bom", "A byte-order mark is no part of RFC 8785.", lambda body: b"\xef\xbb\xbf" + body),
    ("crlf", "The carriage return belongs to the line, and to no record.", lambda body: body + b"\r"),
    ("trailing-space", "A trailing space is no part of RFC 8785.", lambda body: body + b" "),
    ("leading-space", "A leading space is no part of RFC 8785.", lambda body: b" " + body),
    ("trailing-zero-byte", "A zero byte before the line feed is no part of a record.", lambda body: body + b"\0"),
    ("two-on-one-line", "Two objects on a line are no record.", lambda body: body + body),
    ("in-an-array", "An array is no record.", lambda body: b"[" + body + b"]"),
    ("as-a-string", "A string is no record.", _encode_string),
    ("cut-short", "Half an object is no record.", lambda body: body[: len(body) // 2]),
    (
        "invalid-utf8",
        "A byte that is no UTF-8.",
        lambda body: body.replace(b'"GET"', b'"\xff"'),
    ),
    (
        "overlong-utf8",
        "A slash in two bytes is no UTF-8.",
        lambda body: body.replace(b"/notes/4", b"\xc0\xafnotes/4"),
    ),
    (
        "utf8-surrogate",
        "A surrogate in three bytes is no UTF-8.",
        lambda body: body.replace(b'"GET"', b'"\xed\xa0\x80"'),
    ),
    (
        "utf16",
        "UTF-16 is not UTF-8.",
        lambda body: body.decode().encode("utf-16-le"),
    ),
    ("nested-30000", "Deep nesting is no record, and no crash.", lambda _: b"[" * 30_000 + b"]" * 30_000),
    ("nested-open-60000", "Unclosed nesting is no record, and no crash.", lambda _: b'{"a":' * 12_000),
)


def _context(**changes: Any) -> Members:
    return {"context": CONTEXT | changes}


def _nested(depth: int) -> dict[str, Any]:
    actor: dict[str, Any] = dict(ALICE)
    for level in range(depth):
        actor = {"id": f"admin-{level}", "type": "user", "on_behalf_of": actor}
    return actor


MEMBERS: Sequence[tuple[str, str, Mapping[str, Any]]] = (
    ("null", "null does not occur.", {"target": None}),
    ("null-in-context", "null does not occur.", _context(note=None)),
    ("null-in-array", "null does not occur.", _context(note=["a", None])),
    ("empty-actor-id", "Strings may be empty only inside context.", {"actor": {"id": "", "type": "user"}}),
    ("empty-action", "Strings may be empty only inside context.", {"action": ""}),
    ("empty-event", "Strings may be empty only inside context.", {"event": ""}),
    (
        "empty-target-id",
        "Strings may be empty only inside context.",
        {"target": {"id": "", "type": "db.table"}},
    ),
    ("unknown-member", "No other top-level member exists.", {"severity": "INFO"}),
    ("unknown-actor-member", "Objects have the members named and no others.", {"actor": ALICE | {"ip": "::1"}}),
    (
        "unknown-target-member",
        "Objects have the members named and no others.",
        {"target": {"id": "1", "type": "db.row", "name": "x"}},
    ),
    ("missing-actor", "actor is always there.", {"actor": ...}),
    ("missing-outcome", "outcome is always there.", {"outcome": ...}),
    ("missing-event", "event is always there.", {"event": ...}),
    ("missing-time", "time is always there.", {"time": ...}),
    ("missing-schema", "schema is always there.", {"schema": ...}),
    ("foreign-schema", "A schema that is not otel-audit is no record.", {"schema": "other-log/1"}),
    ("missing-prev", "prev is absent exactly when seq is 1.", {"prev": ...}),
    ("actor-without-type", "An actor has an id and a type.", {"actor": {"id": "alice"}}),
    ("actor-without-id", "An actor has an id and a type.", {"actor": {"type": "user"}}),
    ("actor-a-string", "actor is an object.", {"actor": "alice"}),
    ("actor-type", "An actor is a user, a service or a system.", {"actor": {"id": "a", "type": "robot"}}),
    ("outcome-denied", "An outcome is success, failure or unknown.", {"outcome": "denied"}),
    ("source-type", "A source is ipv4, ipv6 or hostname.", {"source": {"id": "x", "type": "mac"}}),
    ("seq-a-string", "seq is an integer.", {"seq": "4"}),
    ("seq-true", "A boolean is no integer.", {"seq": True}),
    ("seq-zero", "seq begins with 1.", {"seq": 0}),
    ("seq-negative", "seq begins with 1.", {"seq": -4}),
    ("stream-upper-case", "A stream id is lower-case hex.", {"stream": "A" * 32}),
    ("stream-31-digits", "A stream id is 32 digits.", {"stream": "a" * 31}),
    ("stream-33-digits", "A stream id is 32 digits.", {"stream": "a" * 33}),
    ("stream-line-feed", "A stream id is 32 digits, and no line feed after them.", {"stream": "a" * 32 + "\n"}),
    ("stream-arabic-digits", "A stream id is ASCII.", {"stream": "٣" * 32}),
    ("prev-upper-case", "prev is lower-case hex.", {"prev": "AB" * 32}),
    ("prev-empty", "Strings may be empty only inside context.", {"prev": ""}),
    ("prev-short", "prev is 64 digits.", {"prev": "ab" * 31}),
    ("time-no-fraction", "Times have nine fractional digits.", {"time": "2026-03-01T08:00:00Z"}),
    ("time-six-digits", "Times have nine fractional digits.", {"time": "2026-03-01T08:00:00.000000Z"}),
    ("time-offset", "Times are UTC and end with Z.", {"time": "2026-03-01T08:00:00.000000000+00:00"}),
    ("time-lower-case", "Times are written with T and Z.", {"time": "2026-03-01t08:00:00.000000000z"}),
    ("time-space", "Times are written with T and Z.", {"time": "2026-03-01 08:00:00.000000000Z"}),
    ("time-february-30", "No 30 February is in any calendar.", {"time": "2026-02-30T08:00:00.000000000Z"}),
    ("time-february-29", "2026 is no leap year.", {"time": "2026-02-29T08:00:00.000000000Z"}),
    ("time-month-13", "A year has twelve months.", {"time": "2025-13-01T08:00:00.000000000Z"}),
    ("time-hour-24", "A day ends at 23:59.", {"time": "2026-02-28T24:00:00.000000000Z"}),
    ("time-minute-60", "An hour has sixty minutes.", {"time": "2026-03-01T07:60:00.000000000Z"}),
    ("time-arabic-digits", "Times are ASCII.", {"time": "٢026-02-28T08:00:00.000000000Z"}),
    ("time-a-number", "A time is a string.", {"time": 1772352000}),
    ("observed-before-time", "observed is never before time.", {"time": stamp(T0 + 3600 * SECOND)}),
    ("trace-id-zero", "A trace id is not all zero.", {"trace_id": "0" * 32}),
    ("trace-id-upper-case", "A trace id is lower-case hex.", {"trace_id": "AB" * 16}),
    ("trace-id-short", "A trace id is 32 digits.", {"trace_id": "ab" * 8}),
    ("span-id-zero", "A span id is not all zero.", {"span_id": "0" * 16}),
    ("span-id-long", "A span id is 16 digits.", {"span_id": "ab" * 16}),
    ("context-array", "context is an object.", {"context": ["a"]}),
    ("context-object-inside", "Context values are no objects.", _context(note={"a": "b"})),
    ("context-array-inside-array", "Context arrays hold no arrays.", _context(note=[["a"]])),
    ("context-mixed-array", "Context arrays are of one type.", _context(note=["a", 1])),
    ("context-boolean-and-integer", "A boolean is no integer in an array either.", _context(note=[1, True])),
    ("context-name-empty", "Names have 1 to 256 characters.", {"context": {"": "x"}}),
    ("context-name-257", "Names have 1 to 256 characters.", {"context": {"n" * 257: "x"}}),
    ("context-name-space", "Names are of 0x21 to 0x7E.", {"context": {"a b": "x"}}),
    ("context-name-control", "Names are of 0x21 to 0x7E.", {"context": {"a\x7f": "x"}}),
    ("context-name-umlaut", "Names are of 0x21 to 0x7E.", {"context": {"größe": "x"}}),
    ("on-behalf-of-six", "on_behalf_of is at most three deep.", {"actor": _nested(6)}),
    ("on-behalf-of-a-string", "on_behalf_of is an object.", {"actor": ALICE | {"on_behalf_of": "bob"}}),
    ("sig-a-number", "sig is a string.", {"sig": 1}),
)

SOUND: Sequence[tuple[str, str, Mapping[str, Any]]] = (
    ("empty-in-context", "Strings may be empty inside context.", _context(note="")),
    ("integer-limits", "±(2^53-1) are integers of the profile.", _context(low=-(2**53) + 1, high=2**53 - 1)),
    ("context-values", "Strings, booleans, integers and arrays of one of them.",
     _context(a=["x", "y"], b=[True, False], c=[1, -2], d=False, e=0)),
    ("context-name-256", "Names have up to 256 characters.", {"context": {"n" * 256: "x"}}),
    ("context-name-edges", "Names reach from 0x21 to 0x7E.", {"context": {"!": "x", "~": "y", '"': "z"}}),
    ("unicode", "UTF-8 stands as it is, beyond the BMP too.", _context(note="grüße 😀 \u2028 \x7f \ufeff")),
    ("escapes", "RFC 8785 escapes: two-letter forms, then \\u00xx.",
     _context(note='\b\t\n\f\r"\\ \x00\x1f')),
    ("on-behalf-of", "An impersonator keeps both identities.", {"actor": _nested(1)}),
    ("anonymous", "A request without identity.",
     {"actor": {"id": "anonymous", "type": "user", "auth": "none"}}),
    ("trace", "W3C ids.", {"trace_id": "0" * 31 + "1", "span_id": "0" * 15 + "1"}),
    ("no-target", "target, source and context are there where they are known.",
     {"target": ..., "source": ..., "context": ...}),
    ("leap-day", "2024 was a leap year.", {"time": "2024-02-29T23:59:59.999999999Z"}),
    ("time-before-observed", "It happened before it was seen.", {"time": stamp(T0 - 1)}),
    ("hashed", "hash: and enc: are strings to a verifier.",
     {"actor": {"id": "hash:" + "ab" * 32, "type": "user", "name": "enc:AAAA"}}),
)  # fmt: skip


def _sizes() -> Iterator[Vector]:
    fits, over = _padded(65_536), _padded(65_537)
    yield Vector("record-ok-65536-bytes", "A record has at most 65,536 bytes; this one has them.", [fits])
    yield Vector(
        "record-65537-bytes", "A record has at most 65,536 bytes; this one has one more.",
        [over], {over.id: ("missing", 4)}, ["malformed"],
    )  # fmt: skip


def _padded(size: int) -> Stream:
    probe = Stream().begin().events(1)
    probe.event(context={"pad": ""})
    stream = _with_odd_record(context={"pad": "x" * (size - len(probe.lines[-1]))})
    assert len(stream.lines[3]) == size
    return stream


def _lifecycle() -> Iterator[Vector]:
    """ "Stream": every member listed is required; absent or of another type is malformed."""
    for name, changes in (
        ("seal-without-root", {"audit.seal.root": ...}),
        ("seal-without-size", {"audit.seal.size": ...}),
        ("seal-without-dropped", {"audit.seal.dropped": ...}),
        ("seal-without-next-by", {"audit.seal.next_by": ...}),
        ("seal-size-a-string", {"audit.seal.size": "6"}),
        ("seal-dropped-a-boolean", {"audit.seal.dropped": False}),
        ("seal-next-by-a-date", {"audit.seal.next_by": "2026-03-01"}),
        ("seal-with-foreign-audit-name", {"audit.note": "x"}),
        ("seal-with-reason", {"audit.reason": "shutdown"}),
    ):
        odd = Stream().begin().events(4).seal(changes).events(3).close()
        why = "A seal has the members of its row and nothing else of the name audit.*."
        yield Vector(f"lifecycle-{name}", why, [odd], {odd.id: ("missing", 7)}, ["malformed"])
    for name, changes in (
        ("close-without-reason", {"audit.reason": ...}),
        ("close-with-next-by", {"audit.seal.next_by": stamp(T0 + 60 * SECOND)}),
    ):
        odd = Stream().begin().events(4).seal().close(changes)
        why = "A close is as a seal, without next_by and with a reason; without it the stream has no end."
        yield Vector(f"lifecycle-{name}", why, [odd], {odd.id: ("overdue-seal", 7)}, ["malformed"])
    for name, changes in (
        ("open-without-certificate", {"audit.certificate": ...}),
        ("open-without-predecessors", {"audit.predecessors": ...}),
        ("open-without-next-by", {"audit.seal.next_by": ...}),
        ("open-without-service-name", {"service.name": ...}),
        ("open-certificate-a-string", {"audit.certificate": "MIIB"}),
        ("open-interval-a-string", {"audit.seal.interval_ms": "5000"}),
        ("open-with-foreign-audit-name", {"audit.note": "x"}),
    ):
        odd = Stream(open_changes=changes).begin().events(4).seal().close()
        why = "An open has the members of its row and nothing else of the name audit.*."
        yield Vector(f"lifecycle-{name}", why, [odd], {odd.id: ("missing", 1)}, ["malformed"])


def _beside() -> Iterator[Vector]:
    """A malformed line beside a whole stream tells nothing of the stream, and is never passed over."""
    for name, line in (("text", b"hello"), ("object", b"{}"), ("otel", encode({"body": "x"}))):
        stream = _with_odd_record()
        stream.lines.insert(5, line)
        why = "A malformed line belongs to no stream."
        yield Vector(f"beside-{name}", why, [stream], others=["malformed"])
    later = Stream("later").begin().lines[0].replace(b"otel-audit/1", b"otel-audit/2")
    stream = _with_odd_record()
    stream.lines.append(later)
    yield Vector(
        "unsupported-schema", "A record of a later schema cannot be shown.", [stream], others=["unsupported"]
    )
