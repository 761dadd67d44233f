"""What an attacker does to an archive: with every key, so that what lies behind the signatures is reached."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.second_verifier.crashes import recover, slack
from tests.second_verifier.model import Entry, Model, later, members_of, renumber
from tests.second_verifier.paths import PATHS
from tests.second_verifier.stolen import again, close_early, invent, rewrite, share_key
from tests.second_verifier.verifier import LIFECYCLE, OBJECT, OPEN, SECOND, SYSTEM, Json, fits

Mutation = Callable[[Model, Random], None]
BIG = 2**53
VALUES: Sequence[Any] = (
    "", "x", "X", "READ", "read", "hash:00", "ab" * 32, "AB" * 32, "ab" * 16, "0" * 32, "0" * 16, "ab" * 8, "\x7f",
    "a\nb", "\u2028", "\U0001f600", "\ufffd", "user", "system", "service", "ipv4", "hostname", "success", "unknown",
    "shutdown", "rotation", "clock", "disk-full", "seal", "record", "disk", "memory", "open", "closed", "shop",
    "billing", "none", "mtls", "otel-audit/1", "otel-audit/2", "otel-audit/10", "otel-audit/01", "otel-audit/0",
    "audit.seal", "audit.gap", "audit.stream.close", "audit.stream.open", "audit.unknown", "db.query",
    0, 1, -1, 2, 7, 1000, 5_000, 60_000, 299_999, 300_000, 300_001, BIG - 1, BIG, 1 - BIG, -BIG, 10**30,
    True, False, None, 1.0, 0.5, [], {}, [""], ["x"], [1], [True], [True, 1], ["x", 1], [[]], [None], {"a": "b"},
    {"id": "x", "type": "user"}, {"id": "x", "type": "db.table"}, "0000-01-01T00:00:00.000000000Z",
    "0001-01-01T00:00:00.000000000Z", "9999-12-31T23:59:59.999999999Z", "2016-12-31T23:59:60.000000000Z",
    "2024-02-29T00:00:00.000000000Z", "2026-03-01T08:00:00.000000000z", "2026-03-01T08:00:00.00000000Z",
)  # fmt: skip
STEPS = (1, -1, 1000, -1000, SECOND, -SECOND, 65 * SECOND, 121 * SECOND, 121 * SECOND + 1, -3600 * SECOND)
FURTHER = (3600 * SECOND, 26 * 3600 * SECOND, 26 * 3600 * SECOND + 1, 300 * SECOND, -300 * SECOND, 86_400 * SECOND)
AUDIT_NAMES = sorted({name for row in LIFECYCLE.values() for name in row} | {"audit.successor", "audit.truncated"})


def pick(model: Model, rng: Random, *events: str) -> tuple[list[Entry], int]:
    """A stream and a place in it; of these *events*, where there is one."""
    every = [(entries, at) for entries in model.streams.values() for at in range(len(entries))]
    wanted = [(entries, at) for entries, at in every if entries[at].members.get("event") in events]
    return rng.choice(wanted or every)


def slots(members: Json) -> list[tuple[Any, Any]]:
    """Every place in a record: the container and the member or index."""
    found: list[tuple[Any, Any]] = []
    keys: list[Any]
    todo: list[Any] = [members]
    while todo:
        one = todo.pop()
        keys = list(one) if isinstance(one, OBJECT) else list(range(len(one)))
        found += [(one, key) for key in keys]
        todo += [one[key] for key in keys if isinstance(one[key], (dict, list))]
    return found


def fix(entry: Entry, name: Any) -> None:
    """What is set on purpose is not made again."""
    kinds = {"prev": "prev", "audit.seal.root": "root", "audit.seal.size": "root", "sig": "sig"}
    if name in kinds:
        entry.fixed.add(kinds[name])
    elif isinstance(name, int) or str(name).startswith("audit.recovered") or name == "audit.predecessors":
        entry.fixed.add("named")


def set_value(model: Model, rng: Random) -> None:
    entries, at = pick(model, rng, *rng.sample(sorted(LIFECYCLE), 2)) if rng.random() < 0.6 else pick(model, rng)
    container, key = rng.choice(slots(entries[at].members))
    old, roll = container[key], rng.random()
    if roll < 0.35 and fits(old, "time"):
        container[key] = later(old, rng.choice(STEPS + FURTHER))
    elif roll < 0.5 and isinstance(old, int):
        container[key] = old + rng.choice([1, -1])
    elif roll < 0.6 and isinstance(container, dict):
        del container[key]
    elif roll < 0.7 and isinstance(old, str) and old:
        cut = rng.randrange(len(old))
        container[key] = old[:cut] + rng.choice("0aZ_-= \u00e9") + old[cut + 1 :]
    elif roll < 0.78:
        same = [
            value for c, k in slots(pick(model, rng)[0][0].members) for value in [c[k]] if type(value) is type(old)
        ]
        container[key] = copy.deepcopy(rng.choice(same or [old]))
    else:
        container[key] = copy.deepcopy(rng.choice(VALUES))
    fix(entries[at], key)


def add_member(model: Model, rng: Random) -> None:
    entries, at = pick(model, rng)
    members = entries[at].members
    if rng.random() < 0.5:
        members.setdefault("context", {})[rng.choice([*AUDIT_NAMES, "a", "a.b", "x" * 256, "x" * 257, "a b"])] = copy.deepcopy(rng.choice(VALUES))  # fmt: skip # noqa: E501
    else:
        where = rng.choice([members, members.get("actor"), members.get("target"), members.get("source")])
        if isinstance(where, dict):
            where[rng.choice(["auth", "name", "on_behalf_of", "target", "source", "sig", "trace_id", "context", "id"])] = copy.deepcopy(rng.choice(VALUES))  # fmt: skip # noqa: E501


def nest_actor(model: Model, rng: Random) -> None:
    entries, at = pick(model, rng, "http.server.request")
    actor: Json = {"id": "deep", "type": "user"}
    for _ in range(rng.randrange(1, 6)):
        actor = {"id": "on", "type": "user", "on_behalf_of": actor}
    entries[at].members["actor"] = actor


def move_time(model: Model, rng: Random) -> None:
    """Shift when it was observed, of one record or of all from it on, promises with it or not."""
    entries, at = pick(model, rng)
    step, promises = rng.choice(STEPS + FURTHER), rng.random() < 0.7
    for entry in entries[at : at + 1 if rng.random() < 0.5 else len(entries)]:
        entry.members["observed"] = entry.members["time"] = later(entry.members.get("observed"), step)
        said = members_of(entry)
        if promises and "audit.seal.next_by" in said:
            said["audit.seal.next_by"] = later(said["audit.seal.next_by"], step)


def promise(model: Model, rng: Random) -> None:
    """A `next_by` at its bounds."""
    entries, at = pick(model, rng, OPEN, "audit.seal")
    said, opened = members_of(entries[at]), members_of(entries[0])
    if "audit.seal.next_by" not in said:
        return
    both = [opened.get(f"audit.{name}.interval_ms", 1) for name in ("seal", "heartbeat")]
    longest = max([one for one in both if isinstance(one, int)] or [1])
    bound = rng.choice([0, -1, 1, 2 * longest * 10**6 + SECOND, 2 * longest * 10**6 + SECOND + 1])
    said["audit.seal.next_by"] = later(entries[at].members["observed"], bound)


def drop_entry(model: Model, rng: Random) -> None:
    entries, at = pick(model, rng)
    del entries[at : at + rng.choice([1, 1, 1, 2, 3])]
    if rng.random() < 0.4:
        renumber(entries)
    if not entries:
        model.streams = {name: one for name, one in model.streams.items() if one}


def cut_tail(model: Model, rng: Random) -> None:
    entries, at = pick(model, rng)
    del entries[max(at, 1) :]


def repeat_entry(model: Model, rng: Random) -> None:
    """Again at its own number, changed a little; or as a record of its own, further on."""
    entries, at = pick(model, rng)
    twin = copy.copy(entries[at])
    twin.members, twin.fixed, twin.named = copy.deepcopy(twin.members), set(twin.fixed), dict(twin.named)
    if rng.random() < 0.5:
        twin.members["observed"] = later(twin.members["observed"], rng.choice([0, 1, SECOND]))
        entries.insert(rng.randrange(len(entries) + 1), twin)
        renumber(entries)
        return
    twin.members["outcome"] = "failure" if twin.members["event"] not in LIFECYCLE else "success"
    twin.members["trace_id"] = "ab" * 16
    if rng.random() < 0.7 and at:
        twin.fixed |= {"prev", "root"}
        twin.members["prev"] = (
            hashlib.sha256(b"").hexdigest() if rng.random() < 0.5 else twin.members.get("prev", "")
        )
    entries.insert(at, twin) if rng.random() < 0.5 else entries.append(twin)


def move_entry(model: Model, rng: Random) -> None:
    entries, at = pick(model, rng)
    there = rng.choice(list(model.streams.values())) if rng.random() < 0.3 else entries
    entry = entries.pop(at)
    there.insert(rng.randrange(len(there) + 1), entry)
    entry.members["stream"] = next(name for name, one in model.streams.items() if one is there)
    if rng.random() < 0.5:
        entry.key = str(entry.members["stream"])
    renumber(there)
    renumber(entries)
    model.streams = {name: one for name, one in model.streams.items() if one}


def insert_lifecycle(model: Model, rng: Random) -> None:
    """Any lifecycle record, well-signed, anywhere after the open."""
    entries, _ = pick(model, rng)
    at = rng.randrange(min(1, len(entries)), len(entries) + 1)
    beside = {"stream": entries[0].key, "observed": "", **entries[min(at, len(entries) - 1)].members}
    event = rng.choice([*LIFECYCLE, "audit.unknown"])
    target_list, target_at = pick(model, rng)
    target, seen = target_list[target_at], beside["observed"]
    named: dict[str, list[Entry | None]] = {}
    said: Json = {}
    if event == OPEN:
        said = copy.deepcopy(members_of(entries[0]))
    elif event in {"audit.seal", "audit.stream.close"}:
        said = {"audit.seal.size": 0, "audit.seal.root": "00" * 32, "audit.seal.skipped": 0}
        said["audit.seal.dropped"] = rng.choice([0, 0, 0, 1, -1])
        said |= {"audit.seal.next_by": later(seen, 65 * SECOND)} if event == "audit.seal" else {}
        reason = rng.choice(["shutdown", "rotation", "clock", "crash"])
        said |= {} if event == "audit.seal" else {"audit.reason": reason}
        if reason == "rotation" and event != "audit.seal":
            said["audit.successor"] = rng.choice([*model.streams, "ab" * 16])
    elif event == "audit.stream.recovered":
        said = {"audit.recovered.stream": target.members["stream"], "audit.recovered.seq": 1}
        said |= {"audit.recovered.hash": "ab" * 32, "audit.recovered.sealed": 1, "audit.recovered.torn_bytes": 0}
        named["audit.recovered.hash"] = [target if rng.random() < 0.8 else None]
        if named["audit.recovered.hash"] == [None]:
            said["audit.recovered.seq"] = rng.choice([1, 5, 7, 8, 9, 12, 100])
    elif event == "audit.stream.linked":
        said["audit.predecessors"] = [f"{target.members['stream']}:{rng.choice([1, 7, 12, 99])}:{'ab' * 32}"]
        named["audit.predecessors"] = [target if rng.random() < 0.7 else None]
    elif event == "audit.gap":
        said = {"audit.gap.count": rng.choice([0, 1]), "audit.gap.from": seen, "audit.gap.to": seen}
        said["audit.reason"] = "disk-full"
    elif event == "audit.retired":
        said = {"audit.retired.place": rng.choice(["P", "Q"]), "audit.retired.records": 3}
        said["audit.retired.streams"] = [rng.choice([*model.streams, "ab" * 16])]
        said["audit.retired.ended"] = later(seen, -rng.choice([-1, 0, 1, 3600 * SECOND, 3600 * SECOND - 1]))
        said |= {"audit.retired.delivered": rng.random() < 0.5, "audit.policy.digest": "00" * 32}
    elif event == "audit.policy":
        said = {"audit.policy.text": "x", "audit.policy.digest": hashlib.sha256(b"x").hexdigest()}
    members: Json = {
        "schema": "otel-audit/1", "stream": beside["stream"], "seq": 0, "time": seen, "observed": seen,
        "event": event, "actor": dict(SYSTEM), "action": "EXECUTE",
        "outcome": "success", "context": said, "sig": "A" * 86,
    }  # fmt: skip
    entries.insert(at, Entry(members, entries[0].key, named=named))
    renumber(entries)


def touch_signature(model: Model, rng: Random) -> None:
    entries, at = pick(model, rng)
    entry, roll = entries[at], rng.random()
    if roll < 0.3:
        entry.members.pop("sig", None)
    elif roll < 0.5:
        entry.members["sig"] = "A" * 86  # signed when it is built
    elif roll < 0.6:
        entry.key = rng.choice(list(model.streams))
    elif roll < 0.8:
        for one in entries:
            one.members.setdefault("sig", "A" * 86)
        members_of(entries[0])["audit.sign"] = "record"
    else:
        entry.fixed.add("sig")
        entry.members["sig"] = rng.choice(["A" * 86, "A" * 85, "A" * 87, "+" * 86, "A" * 85 + "=", "_" * 86])


def intervals(model: Model, rng: Random) -> None:
    entries, _ = pick(model, rng)
    said = members_of(entries[0])
    name = rng.choice(["audit.seal.interval_ms", "audit.heartbeat.interval_ms"])
    said[name] = rng.choice([0, -1, 1, 1000, 299_999, 300_000, 300_001, BIG - 1])
    if "audit.seal.next_by" in said and rng.random() < 0.5:
        both = max(said.get(f"audit.{one}.interval_ms", 1) for one in ("seal", "heartbeat"))
        said["audit.seal.next_by"] = later(entries[0].members["observed"], 2 * min(both, 10**7) * 10**6 + SECOND)


def certificate(model: Model, rng: Random) -> None:
    """Another path of certificates for the stream's key."""
    entries, at = pick(model, rng, OPEN)
    name = rng.choice(sorted(PATHS))
    members_of(entries[at])["audit.certificate"] = PATHS[name](entries[at].members)


def service(model: Model, rng: Random) -> None:
    """A stream moves to another service, certificate and all."""
    entries, _ = pick(model, rng)
    opening = entries[0].members
    members_of(entries[0])["service.name"] = rng.choice(["shop", "billing", "other", ""])
    if opening["event"] == OPEN and fits(opening["observed"], "time"):
        members_of(entries[0])["audit.certificate"] = PATHS["good"](opening)


def refer(model: Model, rng: Random) -> None:
    """References changed: to another record, another hash, another number, twice."""
    entries, at = pick(model, rng, OPEN, "audit.stream.linked")
    entry = entries[at]
    said, target = members_of(entry), rng.choice(pick(model, rng)[0])
    if not isinstance(said.get("audit.predecessors"), list):
        return
    named = entry.named.setdefault("audit.predecessors", [])
    named += [None] * (len(said["audit.predecessors"]) - len(named))
    seq = target.members["seq"]
    number = rng.choice([seq, seq, 1, 99, 0, BIG - 1, BIG, f"0{seq}"])
    said["audit.predecessors"].append(f"{target.members['stream']}:{number}:{rng.choice(['ab', 'AB']) * 32}")
    named.append(target if rng.random() < 0.6 else None)
    if rng.random() < 0.05:
        said["audit.predecessors"] += said["audit.predecessors"][-1:] * rng.choice([198, 199, 200])


def wrong_seal(model: Model, rng: Random) -> None:
    entries, at = pick(model, rng, "audit.seal", "audit.stream.close")
    said = members_of(entries[at])
    if "audit.seal.root" not in said:
        return
    entries[at].fixed.add("root")
    change = rng.choice(["root", "size", "dropped", "skipped"])
    others = [members_of(one).get("audit.seal.root") for one in entries]
    said[f"audit.seal.{change}"] = rng.choice([0, 1, 2, at + 1, at - 1]) if change != "root" else "ab" * 32
    if change == "root" and rng.random() < 0.4:
        said["audit.seal.root"] = rng.choice([one for one in others if one])


def retire(model: Model, rng: Random) -> None:
    """A stream goes, and another says so, or says so of one that stays."""
    gone = rng.choice(list(model.streams))
    if rng.random() < 0.7 and len(model.streams) > 1:
        del model.streams[gone]
    entries, at = pick(model, rng)
    seen = entries[at].members["observed"]
    said: Json = {"audit.retired.place": rng.choice("PPQ"), "audit.retired.records": 3}
    said["audit.retired.streams"] = [gone] if rng.random() < 0.9 else []
    said["audit.retired.ended"] = later(
        seen, -rng.choice([-1, 0, 1, 3600 * SECOND, 3600 * SECOND - 1, 7200 * SECOND])
    )
    said |= {"audit.retired.delivered": rng.random() < 0.5, "audit.policy.digest": "00" * 32}
    members = entries[at].members | {"event": "audit.retired", "context": said, "sig": "A" * 86}
    members |= {"actor": dict(SYSTEM), "action": "EXECUTE", "outcome": "success"}
    entries.insert(at + 1, Entry(members, entries[0].key))
    renumber(entries)


def fork_open(model: Model, rng: Random) -> None:
    """Another open beside the first one, with a path of its own."""
    entries, _ = pick(model, rng)
    twin = Entry(copy.deepcopy(entries[0].members), entries[0].key, {"prev"}, dict(entries[0].named))
    members_of(twin)["audit.certificate"] = PATHS[rng.choice(sorted(PATHS))](twin.members)
    if rng.random() < 0.3:
        twin.members["seq"] = rng.choice([2, 5, 12])
        twin.members["prev"] = "ab" * 32
    entries.insert(rng.choice([0, 1]), twin)


def remove_stream(model: Model, rng: Random) -> None:
    if len(model.streams) > 1:
        del model.streams[rng.choice(list(model.streams))]


MUTATIONS: Sequence[tuple[Mutation, int]] = (
    (set_value, 8), (add_member, 3), (nest_actor, 1), (move_time, 4), (promise, 3), (drop_entry, 3), (cut_tail, 4),
    (repeat_entry, 4), (move_entry, 2), (insert_lifecycle, 10), (touch_signature, 4), (intervals, 2),
    (certificate, 4), (service, 2), (refer, 4), (remove_stream, 2), (recover, 5), (fork_open, 2), (wrong_seal, 4),
    (retire, 5), (slack, 2), (rewrite, 2), (close_early, 2), (invent, 3), (again, 1), (share_key, 1),
)  # fmt: skip


def mutate(model: Model, rng: Random) -> list[str]:
    """One to four of them, by name."""
    several, weights = zip(*MUTATIONS, strict=True)
    done: list[str] = []
    for mutation in rng.choices(several, weights, k=rng.choice([1, 1, 1, 2, 2, 3, 4])):
        if model.streams:
            try:
                mutation(model, rng)
            except (LookupError, TypeError, AttributeError, ValueError):
                # An earlier one has put another type where this one looks: half done is a mutation as well.
                done.append("half")
            model.streams = {name: one for name, one in model.streams.items() if one}
            done.append(mutation.__name__)
    return done
