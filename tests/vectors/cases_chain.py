"""Chain, signatures, seals and lifecycle of one stream: `forked` to `misplaced`, and what the log admits."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.vectors.openssl import ED25519_ORDER, Ed25519, IdentityPoint
from tests.vectors.stream import (
    SECOND,
    T0,
    Members,
    Stream,
    base64url,
    encode,
    merkle_root,
    signature,
    stamp,
    stream_id,
    whole,
)
from tests.vectors.vector import First, Vector


def vectors() -> Iterator[Vector]:
    yield Vector("whole", "An honest closed stream.", [whole()])
    yield Vector("whole-signed-records", "Every record signed.", [whole(sign="record")])
    yield Vector("whole-in-segments", "One stream in three files.", [whole()], segments=4)
    yield from _changed()
    yield from _removed()
    yield from _resigned()
    yield from _seals()
    yield from _lifecycle()
    yield from _admitted()


Forge = Callable[[Members], str | None]
"""Makes a sig for a record; None takes it away."""


def _one(name: str, why: str, stream: Stream, first: First | None = None, **more: Any) -> Vector:
    return Vector(name, why, [stream], {stream.id: first} if first else {}, **more)


def _edit(stream: Stream, at: int, /, **changes: Any) -> Stream:
    """Change members of line *at* and leave everything else as it was."""
    members: Members = json.loads(stream.lines[at - 1]) | changes
    stream.lines[at - 1] = encode(members)
    return stream


def _changed() -> Iterator[Vector]:
    mallory = {"id": "mallory", "type": "user", "auth": "session"}
    why = "The next record does not follow the hash of the changed one."
    yield _one("altered-event", why, _edit(whole(), 4, actor=mallory), ("altered", 4))
    yield _one("altered-last-before-seal", why, _edit(whole(), 6, actor=mallory), ("altered", 6))
    yield _one("altered-last-before-close", why, _edit(whole(), 10, outcome="failure"), ("altered", 10))
    yield _one("altered-time", why, _edit(whole(), 3, time=stamp(T0)), ("altered", 3))
    yield _one("altered-signed-event", why, _edit(whole(sign="record"), 4, actor=mallory), ("altered", 4))
    yield _one("altered-open", why, _edit(whole(), 1, time=stamp(T0 - 1)), ("altered", 1))
    yield _one("altered-seal", why, _edit(whole(), 7, time=stamp(T0)), ("altered", 7))
    yield _one(
        "altered-prev", "Record 6 follows another hash than that of record 5.",
        _edit(whole(), 6, prev="00" * 32), ("altered", 5),
    )  # fmt: skip
    yield _one(
        "altered-close", "Nothing follows the close, its signature shows the change.",
        _edit(whole(), 11, time=stamp(T0)), ("bad-signature", 11),
    )  # fmt: skip
    swapped = whole()
    swapped.lines[3], swapped.lines[4] = swapped.lines[4], swapped.lines[3]
    yield _one("reordered-lines", "A verifier orders by seq.", swapped)
    renumbered = whole()
    renumbered.lines[3:5] = [renumbered.lines[4], renumbered.lines[3]]
    _edit(_edit(renumbered, 4, seq=4), 5, seq=5)
    yield _one("swapped-records", "Records 4 and 5 with each other's number.", renumbered, ("altered", 3))
    yield _one("rechained", "The chain and root are made again, the seal's signature is not.",
               _rechained(), ("bad-signature", 7))  # fmt: skip
    twice = whole()
    twice.lines[5:5] = twice.lines[2:5]
    yield _one("repeated-lines", "Byte-identical duplicates are harmless.", twice)
    fork = whole()
    forged = json.loads(fork.lines[4]) | {"actor": mallory}
    fork.lines.insert(5, encode(forged))
    yield _one("forked-event", "Two records with one seq.", fork, ("forked", 5))
    fork = whole()
    fork.lines.append(_edit(whole(), 11, time=stamp(T0)).lines[10])
    yield _one("forked-close", "Two closes with one seq.", fork, ("forked", 11))
    fork, other = whole(), whole(key=Ed25519("second key"))
    fork.lines.append(other.lines[0])
    yield _one("forked-open", "Two certificates for one stream.", fork, ("forked", 1))
    a, b = whole("a"), whole("b")
    moved: Members = json.loads(b.lines[3]) | {"stream": a.id}
    a.lines[3] = encode(moved)
    yield Vector("replayed-into-another-stream", "A record of b under a's name and number.", [a, b],
                 {a.id: ("altered", 3)})  # fmt: skip


def _rechained() -> Stream:
    """Another event, all that follows chained anew, a seal with the new root under its old signature."""
    honest, forged = whole(), Stream().begin().events(2)
    forged.event(actor={"id": "mallory", "type": "user"})
    forged.events(1)
    seal: Members = json.loads(honest.lines[6])
    seal |= {"prev": forged.hashes[-1].hex(), "seq": 7}
    seal["context"] |= {"audit.seal.root": merkle_root(forged.hashes).hex(), "audit.seal.size": 6}
    forged.put(seal, signed=True)
    return forged.events(3).close()


def _removed() -> Iterator[Vector]:
    why = "A seq between 1 and the highest present is absent: the first of the run."
    for name, seqs in (("event", [5]), ("range", [4, 5, 6]), ("open", [1]), ("seal", [7]), ("start", [1, 2, 3])):
        cut = whole()
        for seq in reversed(seqs):
            del cut.lines[seq - 1]
        yield _one(f"missing-{name}", why, cut, ("missing", seqs[0]))
    counting = Stream().begin().events(2)
    counting.skipped = 1
    yield _one("missing-number", "The chain is whole and leaves a number out.",
               counting.events(2).seal().close(), ("missing", 5))  # fmt: skip
    foreign = Stream().begin().events(2)
    foreign.event(stream=stream_id("b"))
    yield _one("missing-under-another-name", "Record 5 is chained and sealed, and belongs to another stream.",
               foreign.events(1).seal().close(), ("missing", 5))  # fmt: skip
    ends = whole()
    del ends.lines[1:10]
    yield _one("missing-all-between", why, ends, ("missing", 2))
    last = whole()
    last.lines = last.lines[-1:]
    yield _one("missing-all-but-the-close", why, last, ("missing", 1))


def _resigned() -> Iterator[Vector]:
    why = "A sig that does not verify by the stream's key."
    stranger = Ed25519("stranger")
    for name, seq in (("open", 1), ("policy", 2), ("seal", 7), ("close", 11)):
        yield _one(f"bad-signature-{name}", why, _with_sig(seq, lambda m: signature(stranger, m)),
                   ("bad-signature", seq))  # fmt: skip
    yield _one(
        "bad-signature-context", "The signed bytes begin with `otel-audit/1` and a line feed.",
        _with_sig(7, lambda m: base64url(Ed25519("stream a").sign(_unsigned(m)))), ("bad-signature", 7),
    )  # fmt: skip
    yield _one(
        "bad-signature-of-hash", "Signed are the bytes, not their hash.",
        _with_sig(7, lambda m: base64url(Ed25519("stream a").sign(hashlib.sha256(_unsigned(m)).digest()))),
        ("bad-signature", 7),
    )  # fmt: skip
    yield _one("bad-signature-zeros", why, _with_sig(7, lambda _: "A" * 86), ("bad-signature", 7))
    yield _one(
        "bad-signature-s-plus-l", "RFC 8032 §5.1.7: S lies below L; S + L signs the same under a lax check.",
        _with_sig(7, _plus_order), ("bad-signature", 7),
    )  # fmt: skip
    yield _one(
        "bad-signature-spare-bits", "The last character has four spare bits, and they are zero.",
        _with_sig(7, _spare_bits), ("bad-signature", 7),
    )  # fmt: skip
    weak = Stream(key=IdentityPoint()).begin().events(2).seal().close()
    yield _one(
        "bad-signature-small-order", "Under a key of small order one signature fits every message.",
        weak, ("bad-signature", 1),
    )  # fmt: skip
    missing = "A sig is missing where it must be: on every lifecycle record."
    yield _one("bad-signature-unsigned-seal", missing, _with_sig(7, lambda _: None), ("bad-signature", 7))
    yield _one("bad-signature-unsigned-policy", missing, _with_sig(2, lambda _: None), ("bad-signature", 2))
    plain = Stream(sign="record").begin().events(1)
    plain.event(sig=...)
    yield _one(
        "bad-signature-unsigned-event", "The open says that every record is signed; record 4 is not.",
        plain.events(2).seal().close(), ("bad-signature", 4),
    )  # fmt: skip
    forged = Stream(sign="record").begin().events(1)
    forged.event(sig="A" * 86)
    yield _one("bad-signature-event", why, forged.events(2).seal().close(), ("bad-signature", 4))


def _unsigned(members: Members) -> bytes:
    return encode({name: value for name, value in members.items() if name != "sig"})


def _with_sig(seq: int, forge: Forge) -> Stream:
    """The honest stream, but for the sig of record *seq*; the chain goes on over the forged one."""
    honest, stream = whole(), Stream()
    for line in honest.lines:
        members: Members = json.loads(line)
        if members["seq"] == seq:
            members["sig"] = forge(members) or ...
        if members["seq"] > 1:
            members["prev"] = stream.hashes[-1].hex()
        if "sig" in members and members["seq"] > seq:
            if "audit.seal.root" in members["context"]:
                members["context"]["audit.seal.root"] = merkle_root(stream.hashes).hex()
            members["sig"] = signature(stream.key, members)
        stream.put(members, signed=False)
    return stream


def _plus_order(members: Members) -> str:
    raw = Ed25519("stream a").sign(b"otel-audit/1\n" + _unsigned(members))
    scalar = int.from_bytes(raw[32:], "little") + ED25519_ORDER
    return base64url(raw[:32] + scalar.to_bytes(32, "little"))


def _spare_bits(members: Members) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    text = str(members["sig"])
    other = text[:-1] + alphabet[alphabet.index(text[-1]) + 1]
    assert base64.urlsafe_b64decode(other + "==") == base64.urlsafe_b64decode(text + "==")
    return other


def _seals() -> Iterator[Vector]:
    why = "A well-signed seal or close whose size or root is not that of the records before it."
    wrong: dict[str, Mapping[str, Any]] = {"root": {"audit.seal.root": "ab" * 32}, "size": {"audit.seal.size": 5}}
    for name, changes in wrong.items():
        sealed = Stream().begin().events(4).seal(changes).events(3).close()
        yield _one(f"wrong-{name}-seal", why, sealed, ("wrong-root", 7))
        closed = Stream().begin().events(4).seal().events(3).close(changes)
        yield _one(f"wrong-{name}-close", why, closed, ("wrong-root", 11))
    plain = Stream().begin().events(4)
    leaves = [hashlib.sha256(line).digest() for line in plain.lines]
    chained = hashlib.sha256(b"".join(leaves)).hexdigest()
    plain.seal({"audit.seal.root": chained})
    yield _one("wrong-root-plain-hash", why, plain.close(), ("wrong-root", 7))
    for name, declared in (
        ("late", stamp(T0 + 122 * SECOND)),
        ("2099", "2099-01-01T00:00:00.000000000Z"),
        ("past", stamp(T0 - SECOND)),
    ):
        opened = Stream(open_changes={"audit.seal.next_by": declared}).begin().events(2).close()
        bounds = "next_by lies between observed and observed + 2 x the larger interval + 1 s."
        yield _one(f"misplaced-next-by-{name}-open", bounds, opened, ("misplaced", 1))
        sealed = Stream().begin().events(4).seal({"audit.seal.next_by": declared}).events(3).close()
        if name == "late":
            sealed = Stream().begin().events(4)
            sealed.seal({"audit.seal.next_by": sealed.due(122)}).close()
        yield _one(f"misplaced-next-by-{name}-seal", bounds, sealed, ("misplaced", 7))
    for member in ("audit.seal.interval_ms", "audit.heartbeat.interval_ms"):
        slow = Stream(open_changes={member: 300_001}).begin().events(2).close()
        yield _one(f"misplaced-{member.split('.')[1]}-interval", "Both intervals are at most 300,000 ms.",
                   slow, ("misplaced", 1))  # fmt: skip
        fits = Stream(open_changes={member: 300_000}).begin().events(2).close()
        yield _one(f"longest-{member.split('.')[1]}-interval", "Both intervals are at most 300,000 ms.", fits)


def _lifecycle() -> Iterator[Vector]:
    stream = Stream().begin().events(2)
    stream.lifecycle("audit.stream.open", stream.opening | {"audit.seal.next_by": stream.due()})
    yield _one("misplaced-second-open", "An open stands at seq 1 and never later.",
               stream.events(1).seal().close(), ("misplaced", 5))  # fmt: skip
    headless = Stream().events(2)
    yield _one("misplaced-no-open", "Record 1 is no open; there is no certificate either.",
               headless.seal().close(), ("misplaced", 1), unclear_kind=True)  # fmt: skip
    yield _one("misplaced-event-after-close", "Nothing stands after a close.",
               whole().events(1), ("misplaced", 12))  # fmt: skip
    yield _one("misplaced-seal-after-close", "Nothing stands after a close.",
               whole().seal(), ("misplaced", 12))  # fmt: skip
    yield _one("misplaced-second-close", "Nothing stands after a close.", whole().close(), ("misplaced", 12))


def _admitted() -> Iterator[Vector]:
    why = "The log says itself that it lacks something."
    gap = Stream().begin().events(2)
    gap.lifecycle("audit.gap", {
        "audit.gap.count": 3, "audit.gap.from": stamp(gap.at - SECOND), "audit.gap.to": stamp(gap.at),
        "audit.reason": "disk-full",
    })  # fmt: skip
    yield _one("declared-gap", why, gap.events(1).seal().close(), ("declared-gap", 5))
    drops = Stream().begin().events(2).seal().events(2).seal({"audit.seal.dropped": 4})
    yield _one("declared-drops-seal", why, drops.close({"audit.seal.dropped": 4}), ("declared-drops", 8))
    last = Stream().begin().events(2).seal().close({"audit.seal.dropped": 1})
    yield _one("declared-drops-close", why, last, ("declared-drops", 6))
    skipped = Stream().begin().events(2).seal({"audit.seal.skipped": 9})
    yield _one("skipped-by-policy", "What the policy leaves out is no loss.",
               skipped.close({"audit.seal.skipped": 9}))  # fmt: skip
    both = Stream().begin().events(2).seal({"audit.seal.dropped": 1}).events(1)
    both.events(1).close({"audit.seal.dropped": 1})
    _edit(both, 6, outcome="failure")
    yield _one("declared-drops-then-altered", "The worst finding decides, the lowest comes first.", both,
               ("declared-drops", 5), verdicts={both.id: "tampered"})  # fmt: skip
