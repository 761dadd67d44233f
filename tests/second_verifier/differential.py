"""Both verifiers on archives changed at random: `python -m tests.second_verifier.differential FIRST COUNT`.

A case follows from its number alone, but for archives that the product writes afresh (`--product`). A disagreement
prints the case, what was done to it, and both answers; `--show` prints the archives too.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from otel_audit.errors import AuditError
from otel_audit.verify import Reference
from otel_audit.verify import verify as verify_first
from tests.attacks.host import Host
from tests.attacks.world import World
from tests.memory_source import MemoryLane, MemorySource
from tests.second_verifier import product
from tests.second_verifier.archive import bodies
from tests.second_verifier.asked import INCOMPLETE, ORDER, TAMPERED, Answer, Body, Question
from tests.second_verifier.model import ISSUER, STRANGER, Model
from tests.second_verifier.mutations import BIG, mutate
from tests.second_verifier.verifier import OBJECT, SECOND, Json, fits, moment, parse, projection
from tests.second_verifier.windows import verify

VECTORS = Path(__file__).parents[1] / "vectors" / "archives"
LOWEST = moment("0002-01-01T00:00:00.000000000Z")
EPOCH = moment("1970-01-01T00:00:00.000000000Z")
OPERATIONS = ("event", "event", "seal", "close", "rotate", "crash", "recover", "retire", "start", "wait", "step")


@dataclass
class Case:
    """One archive, how it is asked about, and what was done to it."""

    bodies: list[Body]
    question: Question
    places: Sequence[str | None] = (None,)
    """Of each source."""
    done: list[str] = field(default_factory=list[str])


@cache
def vectors() -> list[Path]:
    return sorted(VECTORS.iterdir())


@cache
def vector(at: int) -> tuple[Body, ...]:
    return tuple(bodies(vectors()[at]))


@cache
def world() -> tuple[Body, ...]:
    with tempfile.TemporaryDirectory() as folder:
        return tuple(bodies(World(Path(folder)).write()))


@cache
def host(number: int) -> tuple[Body, ...]:
    """An honest host with a history of its own."""
    one, rng = Host(), Random(number)
    steps = [(rng.choice(OPERATIONS), rng.randrange(4), rng.randrange(400)) for _ in range(rng.randrange(4, 26))]
    one.run([("start", 0, 0), *steps])
    return tuple(
        Body(line) for process in one.processes if process.removed is None for line in process.stream.lines
    )


def base(rng: Random, written: Sequence[Sequence[bytes]]) -> tuple[Body, ...]:
    if written:
        return tuple(map(Body, rng.choice(written)))
    roll = rng.random()
    if roll < 0.35:
        return host(rng.randrange(1000))
    return world() if roll < 0.5 else vector(rng.randrange(len(vectors())))


def damage(lines: list[bytes], rng: Random) -> None:
    """What happens to lines without a key."""
    at = rng.randrange(len(lines))
    line, roll = lines[at], rng.random()
    if roll < 0.4 and line:
        where = rng.randrange(len(line))
        lines[at] = line[:where] + bytes([line[where] ^ 1 << rng.randrange(8)]) + line[where + 1 :]
    elif roll < 0.55:
        del lines[at]
    elif roll < 0.65:
        lines.insert(rng.randrange(len(lines)), line)
    elif roll < 0.75:
        lines[at] = line[: rng.randrange(len(line) + 1)]
    elif roll < 0.85:
        lines.append(rng.choice(vector(rng.randrange(len(vectors()))) or (Body(b""),)).text)
    else:
        lines[at] = line.replace(b'"outcome":"success"', b'"outcome":"failure"').replace(b"alice", b"mallory")


def case(number: int, written: Sequence[Sequence[bytes]] = (), *, windows: bool = False) -> Case:
    """Case *number*, of one of the archives *written* where some are given."""
    rng = Random(number)
    model, done, lines = Model(()), list[str](), list[bytes]()
    for _ in range(rng.choice([1, 5])):
        # Often once more where a line became no record at all: the rules behind that one are worth more.
        model = Model(body.text for body in base(rng, written))
        done = mutate(model, rng) if rng.random() < 0.95 else []
        lines = [line for stream in model.build().values() for line in stream]
        if not any(isinstance(parse(line), str) for line in lines):
            break
    if model.streams and rng.random() < 0.05:
        other = model.clone()
        done += ["or", *mutate(other, rng)]  # another story of the same streams, told beside the first
        lines += [line for stream in other.build().values() for line in stream]
    lines += model.others if rng.random() < 0.1 else []
    if lines and rng.random() < 0.15:
        damage(lines, rng)
        done.append("damage")
    records = [one for one in map(parse, lines) if not isinstance(one, str)]
    indexed = rng.choice([0] * 9 + [0.1])
    held = [Body(line, attributes(line, rng) if rng.random() < indexed else None) for line in lines]
    retired = [one["context"]["audit.retired.place"] for one in records if one["event"] == "audit.retired"]
    places: list[str | None] = [rng.choice(["P", "P", "Q", None, *retired[:2]])]
    if rng.random() < 0.15 and lines:
        places.append(rng.choice([places[0], "P", None]))
        cut = rng.randrange(len(lines))
        held += [Body(line, source=1) for line in rng.choice([lines[:cut], lines[cut:], lines, lines[::2]])]
        done.append("two sources")
    if rng.random() < 0.2:
        rng.shuffle(held)
        done.append("shuffled")
    asked = question(records, lines, places, rng)
    if windows:
        since, until = period(records, rng)
        asked = replace(asked, since=since, until=until)
    return Case(held, asked, places, done)


def period(records: Sequence[Json], rng: Random) -> tuple[int | None, int | None]:
    """A period to ask about: often with an edge in the instant of a record or beside it, sometimes with one end."""
    times = [moment(one["observed"]) for one in records] or [moment("2026-03-02T08:00:00.000000000Z")]
    low, high = min(times), max(times)
    edges = [
        rng.randrange(low - SECOND, high + SECOND)
        if rng.random() < 0.3
        else rng.choice(times) + rng.choice([0, 0, 1000, -1000, SECOND, -SECOND, 3600 * SECOND, -3600 * SECOND])
        for _ in range(2)
    ]
    since, until = (max(one, LOWEST) // 1000 * 1000 for one in sorted(edges))
    return rng.choice([(since, until)] * 8 + [(since, None), (None, until)])


def question(
    records: Sequence[Json], lines: Sequence[bytes], places: Sequence[str | None], rng: Random
) -> Question:
    texts = [str(one[name]) for one in records for name in ("observed", "time")]
    due = [one.get("context", {}).get("audit.seal.next_by") for one in records]
    texts += [str(one) for one in due if fits(one, "time")]
    latest = max(texts, default="2026-03-02T08:00:00.000000000Z")
    grace = rng.choice([0, 0, 0, 1, 120, 3600]) * SECOND
    roll = rng.random()
    if roll < 0.45:
        now = moment(latest) + rng.choice([0, 1, 86_400]) * SECOND
    elif roll < 0.6 or not texts:
        now = moment("2026-03-02T08:00:00.000000000Z")
    else:
        now = moment(rng.choice(texts)) + rng.choice([0, 0, 1000, -1000, SECOND, grace, grace + 1000])
    now = min(now, moment("9999-12-31T00:00:00.000000000Z")) // 1000 * 1000
    anchors = rng.choice([[ISSUER]] * 16 + [[ISSUER, STRANGER], [STRANGER, ISSUER], [STRANGER], []])
    return Question(
        anchors=[one.certificate for one in anchors],
        now=max(now, LOWEST),
        grace=grace,
        keep=rng.choice([None, None, 0, SECOND, 3600 * SECOND, 7200 * SECOND]),
        places=dict(enumerate(places)),
        witnesses=witnesses(records, lines, rng) if rng.random() < 0.15 else (),
    )


def witnesses(records: Sequence[Json], lines: Sequence[bytes], rng: Random) -> list[str]:
    hashes = {line: hashlib.sha256(line).hexdigest() for line in lines}
    known = [
        f"{one['stream']}:{one['seq']}:{hashes[line]}"
        for line in lines
        for one in [parse(line)]
        if not isinstance(one, str)
    ]
    gone = [
        name
        for one in records
        if one["event"] == "audit.retired"
        for name in one["context"]["audit.retired.streams"]
    ]
    given: list[str] = []
    for _ in range(rng.choice([1, 1, 2])):
        stream = rng.choice(records)["stream"] if records and rng.random() < 0.8 else rng.choice([*gone, "cd" * 16])
        made = f"{stream}:{rng.choice([1, 3, 7, 12, 100, BIG - 1])}:{'ab' * 32}"
        given.append(rng.choice(known) if known and rng.random() < 0.5 else made)
    return given


def attributes(line: bytes, rng: Random) -> Mapping[str, object] | None:
    """The index as a backend might give it back, sometimes altered."""
    record = parse(line)
    if isinstance(record, str):
        return None
    given: dict[str, object] = {name: one for name, one in projection(record).items() if one is not None}
    if rng.random() < 0.4:
        given = {name: one if isinstance(one, str) else json.dumps(one) for name, one in given.items()}
    if rng.random() < 0.4:
        given = {name.replace(".", "_"): one for name, one in given.items()}
    for name in rng.sample(sorted(given), min(2, len(given))):
        value = given[name]
        change = rng.choice(["keep", "drop", "cut", "other", "type", "spell"])
        if change == "drop":
            del given[name]
        elif change == "cut" and isinstance(value, str):
            given[name] = value[: rng.randrange(len(value) + 1)]
        elif change == "other":
            given[name] = rng.choice(["", "x", 1, True, 1.0, ["x"], [], f"{value}x"])
        elif change == "type":
            given[name] = [value]
        elif change == "spell":
            given[name] = rng.choice(["{}", " {}", "{} "]).format(json.dumps(value, indent=rng.choice([None, 1])))
    if rng.random() < 0.3:
        extra = ["audit.actor.name", "audit.sequence.end", "audit.source.id", "http.route", "audit_actor_auth", "x"]
        extra += ["audit.integrity.canonicalization", "audit_integrity_value"]
        given[rng.choice(extra)] = rng.choice(["x", True, ""])
    return given


def moment_of(nanos: int) -> datetime:
    seconds, rest = divmod(nanos - EPOCH, SECOND)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=rest // 1000)


def ask_first(one: Case) -> Answer:
    """The verdict of `otel_audit.verify`, in the second's words."""
    asked = one.question
    sources: list[MemorySource] = []
    for at, place in enumerate(one.places):
        own = [body for body in one.bodies if body.source == at]
        lane = MemoryLane(
            f"lane {at}", None, [body.text for body in own], attributes=[body.attributes for body in own]
        )
        sources.append(MemorySource(given=[lane], name=f"source {at}", place=place))
    try:
        verdict = verify_first(
            sources,
            trust=asked.anchors,
            now=moment_of(asked.now),
            grace=timedelta(microseconds=asked.grace // 1000),
            keep=None if asked.keep is None else timedelta(microseconds=asked.keep // 1000),
            witness=[Reference.parse(text) for text in asked.witnesses],
            since=None if asked.since is None else moment_of(asked.since),
            until=None if asked.until is None else moment_of(asked.until),
        )
    except AuditError as error:  # whatever the archive says, there is a verdict
        return Answer(f"none, but {error}")
    answer = Answer(verdict.status, {stream.stream: stream.verdict for stream in verdict.streams})
    ranked = [
        (finding.stream, finding.seq, ORDER[finding.kind])
        for finding in verdict.findings
        if finding.severity != "warning" and finding.stream and finding.seq is not None
    ]
    for stream, seq, rank in sorted(ranked, reverse=True):
        answer.first[stream] = ((TAMPERED + INCOMPLETE)[rank], seq)
    answer.loose = {
        one.kind
        for one in verdict.findings
        if one.severity != "warning" and not (one.stream and one.seq is not None)
    }
    answer.pending, answer.adopted = verdict.pending, verdict.adopted
    return answer


def differences(first: Answer, second: Answer) -> list[str]:
    """Where the two disagree."""
    found: list[str] = []
    counts = () if first.verdict == "tampered" else ("pending", "adopted")
    for name in ("verdict", "streams", "first", "loose", *counts):
        one: Any = getattr(first, name)
        two: Any = getattr(second, name)
        if one != two and isinstance(one, OBJECT):
            keys = sorted(key for key in one.keys() | two.keys() if one.get(key) != two.get(key))
            found += [f"{name} {key[:4]}: first {one.get(key)}, second {two.get(key)}" for key in keys]
        elif one != two:
            found.append(f"{name}: first {one}, second {two}")
    return found


def compare(
    numbers: Iterable[int], written: Sequence[Sequence[bytes]] = (), *, windows: bool = False, show: bool = False
) -> Counter[str]:
    """Compare both on every case; disagreements are printed, and counted under that name."""
    seen: Counter[str] = Counter()
    for number in numbers:
        one = case(number, written, windows=windows)
        answer = verify(one.bodies, one.question)
        seen.update({kind for kind, _ in answer.first.values()} | answer.loose or {answer.verdict})
        found = differences(ask_first(one), answer)
        if found:
            seen["disagreements"] += 1
            print(number, one.done, "; ".join(found), flush=True)
        if show:
            print(one.question, *one.bodies, sep="\n")
    return seen


def main(arguments: Sequence[str]) -> int:
    first, count = int(arguments[0]), int(arguments[1])
    written: list[list[bytes]] = []
    if "--product" in arguments:
        with tempfile.TemporaryDirectory() as folder:
            written = product.write(Path(folder))
    seen = compare(
        range(first, first + count), written, windows="--windows" in arguments, show="--show" in arguments
    )
    print(f"{count} archives, {seen.pop('disagreements', 0)} disagreements; found were {dict(seen.most_common())}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
