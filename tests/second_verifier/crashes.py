"""Streams that crash and are recovered: part of what is done to an archive."""

from __future__ import annotations

import copy
from random import Random

from tests.second_verifier.model import Entry, Model, later, members_of, renumber
from tests.second_verifier.verifier import LIFECYCLE, SECOND, SYSTEM, Json


def recover(model: Model, rng: Random) -> None:
    """One or two streams end a third, which may have crashed, at a record of it, and may not agree."""
    dead = model.streams[rng.choice(list(model.streams))]
    if rng.random() < 0.7:
        del dead[rng.randrange(1, len(dead) + 1) :]
    signed = max((at for at, one in enumerate(dead) if "sig" in one.members), default=0)
    if len(dead) > signed + 2 and rng.random() < 0.6:  # at the bound of what a living process would have sealed
        bound = later(dead[signed + 1].members["observed"], 10 * SECOND + rng.choice([-1, 0, 1]))
        dead[-1].members |= {"observed": bound, "time": bound}
    for _ in range(rng.choice([1, 1, 2])):
        by = model.streams[rng.choice(list(model.streams))]
        target, at = rng.choice(dead[-3:]), rng.randrange(1, len(by) + 1)
        after = rng.choice([by[at - 1], dead[-1]]).members["observed"]
        seen = later(after, rng.choice([0, 1, SECOND, 3600 * SECOND]))
        said: Json = {"audit.recovered.stream": dead[0].members["stream"], "audit.recovered.seq": 1}
        said |= {"audit.recovered.hash": "ab" * 32, "audit.recovered.sealed": 1, "audit.recovered.torn_bytes": 0}
        if rng.random() < 0.2:
            said["audit.recovered.torn_bytes"] = 7
        members = by[at - 1].members | {"event": "audit.stream.recovered", "observed": seen, "time": seen}
        members |= {"actor": dict(SYSTEM), "action": "EXECUTE", "outcome": "success", "context": said}
        members["sig"] = "A" * 86
        by.insert(at, Entry(members, by[0].key, named={"audit.recovered.hash": [target]}))
        renumber(by)


def slack(model: Model, rng: Random) -> None:
    """A crash whose last adopted record is observed at the bound of what a living process would have sealed."""
    dead = model.streams[rng.choice(list(model.streams))]
    by = rng.choice([one for one in model.streams.values() if one is not dead])
    signed = rng.choice([at for at, one in enumerate(dead) if at == 0 or one.members["event"] == "audit.seal"])
    del dead[signed + 1 :]
    plain = rng.choice([one for one in model.entries() if one.members["event"] not in LIFECYCLE])
    interval = members_of(dead[0])["audit.seal.interval_ms"] * 10**6
    for step in (0, interval + 5 * SECOND + rng.choice([-1, 0, 1])):
        members = {name: copy.deepcopy(one) for name, one in plain.members.items() if name != "sig"}
        seen = later(dead[signed].members["observed"], step)
        dead.append(Entry(members | {"stream": dead[0].key, "observed": seen, "time": seen}, dead[0].key))
    renumber(dead)
    seen, at = dead[-1].members["observed"], rng.randrange(1, len(by) + 1)
    said: Json = {"audit.recovered.stream": dead[0].key, "audit.recovered.seq": 1, "audit.recovered.torn_bytes": 0}
    said |= {"audit.recovered.hash": "ab" * 32, "audit.recovered.sealed": signed + 1}
    recovery = by[0].members | {"event": "audit.stream.recovered", "observed": seen, "time": seen, "context": said}
    by.insert(at, Entry(recovery, by[0].key, named={"audit.recovered.hash": [dead[-1]]}))
    renumber(by)
