"""What an attacker does with the key of one stream, or with the issuer's for a day."""

from __future__ import annotations

import copy
from random import Random

from tests.issuers import der64
from tests.second_verifier.model import Entry, Model, certificate_for, key_of, later, members_of, renumber
from tests.second_verifier.verifier import CLOSE, OPEN, RECOVERED, SECOND, SYSTEM, Json


def others_stay(model: Model, mine: list[Entry]) -> None:
    """What other streams say of this one is not made again: their keys are not the attacker's."""
    model.build()
    for entry in model.entries():
        entry.fixed |= {"named"} if entry not in mine else set()


def lifecycle(entry: Entry, event: str, said: Json) -> Entry:
    """A signed record in the place and at the time of *entry*."""
    members = entry.members | {"event": event, "actor": dict(SYSTEM), "action": "EXECUTE", "outcome": "success"}
    return Entry(members | {"context": said, "sig": "A" * 86}, entry.key)


def rewrite(model: Model, rng: Random) -> None:
    """One stream, from some record on: an actor changed, a record left out or two exchanged, all signed again."""
    mine = rng.choice(list(model.streams.values()))
    others_stay(model, mine)
    at, roll = rng.randrange(1, len(mine)), rng.random()
    if roll < 0.4:
        mine[at].members["trace_id"] = "cd" * 16
    elif roll < 0.7:
        del mine[at]
    else:
        mine.insert(rng.randrange(1, len(mine)), mine.pop(at))
    renumber(mine)


def close_early(model: Model, rng: Random) -> None:
    """One stream ends with a close of the attacker's at some record, as if it had been shut down there."""
    mine = rng.choice(list(model.streams.values()))
    others_stay(model, mine)
    at = rng.randrange(1, len(mine))
    said: Json = {"audit.seal.size": 0, "audit.seal.root": "00" * 32, "audit.seal.dropped": 0}
    said |= {"audit.seal.skipped": 0, "audit.reason": "shutdown"}
    mine[at:] = [lifecycle(mine[at], CLOSE, said)]
    if rng.random() < 0.3:  # behind it, another one that nobody would look for there
        mine.append(copy.deepcopy(mine[-1]))
    renumber(mine)


def invent(model: Model, rng: Random) -> None:
    """A stream that never was, under a certificate of the issuer's, explains why another ends early or is gone."""
    model.build()
    name, victim = f"{rng.getrandbits(128):032x}", rng.choice(list(model.streams))
    gone, dead = model.streams[victim], copy.deepcopy(rng.choice(list(model.streams.values()))[0])
    dead.members |= {"stream": name, "seq": 1}
    dead.key, seen = name, gone[-1].members["observed"]
    dead.named = {"audit.predecessors": [rng.choice(gone)]}
    said = members_of(dead)
    said["audit.predecessors"] = [f"{victim}:1:{'ab' * 32}"] if rng.random() < 0.6 else []
    wait = rng.choice([0, SECOND, 3600 * SECOND])
    dead.members["observed"] = dead.members["time"] = later(seen, wait)
    said["audit.seal.next_by"] = later(seen, wait + 60 * SECOND)
    said["audit.certificate"] = der64([certificate_for(dead.members)])
    if rng.random() < 0.5:
        del gone[rng.randrange(1, len(gone) + 1) :]
        target = rng.choice(gone[-2:])
        ended: Json = {
            "audit.recovered.stream": victim,
            "audit.recovered.seq": 1,
            "audit.recovered.hash": "ab" * 32,
        }
        claim = lifecycle(dead, RECOVERED, ended | {"audit.recovered.sealed": 1, "audit.recovered.torn_bytes": 0})
        claim.named = {"audit.recovered.hash": [target]}
    else:
        del model.streams[victim]
        retired: Json = {"audit.retired.place": rng.choice("PQ"), "audit.retired.streams": [victim]}
        retired |= {
            "audit.retired.records": len(gone),
            "audit.retired.ended": seen,
            "audit.retired.delivered": True,
        }
        claim = lifecycle(dead, "audit.retired", retired | {"audit.policy.digest": "00" * 32})
    model.streams[name] = [dead, claim]
    renumber(model.streams[name])


def again(model: Model, rng: Random) -> None:
    """A whole stream once more, under another id, or under its own key in a certificate for another id."""
    old = rng.choice(list(model.streams.values()))
    name, mine = f"{rng.getrandbits(128):032x}", [copy.copy(one) for one in old]
    for entry in mine:
        entry.members = copy.deepcopy(entry.members) | {"stream": name}
        entry.key, entry.fixed = (name if rng.random() < 0.95 else old[0].key), set(entry.fixed)
    if mine[0].members["event"] == OPEN:
        members_of(mine[0])["audit.certificate"] = der64([certificate_for(mine[0].members)])
    model.streams[name] = mine


def share_key(model: Model, rng: Random) -> None:
    """Two streams under the key of one: the page does not forbid it, a signature holds the stream's name."""
    one, two = rng.choice(list(model.streams.values())), rng.choice(list(model.streams.values()))
    for entry in two:
        entry.key = one[0].key
    if two[0].members["event"] == OPEN and rng.random() < 0.7:
        members_of(two[0])["audit.certificate"] = der64([certificate_for(two[0].members, key=key_of(one[0].key))])
