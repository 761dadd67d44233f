"""Now, grace, promises, pending records, periods; and archives with nothing in them or nobody to trust."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.vectors.stream import SECOND, T0, Stream, crashed, stamp, whole
from tests.vectors.vector import First, Vector


def vectors() -> Iterator[Vector]:
    yield Vector("empty", "No record at all.", [])
    yield Vector("empty-files", "A file of unused space holds no record.", [],
                 files={"shop/" + "0" * 32 + "/000000000001.jsonl": bytes(4096)})  # fmt: skip
    a = whole()
    yield Vector("no-trust", "No issuer was given.", [a], others=["no-trust"], trust=(), silent=[a.id])
    yield from _promises()
    yield from _pending()
    yield from _clocks()
    yield from _periods()


def _one(name: str, why: str, stream: Stream, first: First | None = None, **more: Any) -> Vector:
    return Vector(name, why, [stream], {stream.id: first} if first else {}, **more)


def _promises() -> Iterator[Vector]:
    why = "No close, no recovery, and now is after the last next_by + grace."
    quiet = Stream().begin().events(4).seal()
    due = T0 + 65 * SECOND + 6 * SECOND // 10
    yield _one("overdue-seal", why, quiet, ("overdue-seal", 7))
    yield _one(
        "overdue-seal-within-promise", "The promise of the last seal is still good.", quiet, now=due - SECOND
    )
    yield _one("overdue-seal-just-after", why, quiet, ("overdue-seal", 7), now=due + SECOND)
    grace = {"grace_s": 120}
    yield _one("overdue-seal-within-grace", "Delivery may be late by the grace.", quiet,
               now=due + 100 * SECOND, options=grace)  # fmt: skip
    yield _one("overdue-seal-after-grace", why, quiet, ("overdue-seal", 7), now=due + 130 * SECOND,
               options=grace)  # fmt: skip
    yield _one("overdue-open", "The open promises too.", Stream().begin().events(1), ("overdue-seal", 3))
    tail = crashed(unsealed=3)
    yield _one("overdue-unrecovered-crash", "Reported at the highest seq that is present.", tail,
               ("overdue-seal", 10))  # fmt: skip
    cut = whole()
    del cut.lines[10:]
    yield _one("overdue-close-removed", "Without its close a stream is one that fell silent.", cut,
               ("overdue-seal", 10))  # fmt: skip
    cut = whole()
    del cut.lines[7:]
    yield _one("overdue-tail-removed", "Cut back to a seal, whose promise fell due.", cut, ("overdue-seal", 7))


def _pending() -> Iterator[Vector]:
    live = crashed(unsealed=3)
    now = T0 + 30 * SECOND
    yield _one("live", "A stream being written: records after the last signed one are pending.", live, now=now,
               counts={"pending": 3, "adopted": 0})  # fmt: skip
    live = crashed(unsealed=2)
    live.tail = live.lines[-1][:50] + bytes(1000)
    yield _one("live-torn", "Half a line and unused space after it.", live, now=now,
               counts={"pending": 2})  # fmt: skip
    later = Stream().begin().events(4).seal().wait(30).events(3).close()
    yield _one("observed-after-now", "Records observed after now are pending.", later,
               now=T0 + 10 * SECOND, counts={"pending": 4})  # fmt: skip
    a = whole()
    wrong = [f"{a.id}:11:{'ab' * 32}"]
    b = Stream("b", start=T0 + 20 * SECOND, predecessors=wrong).begin().events(1).close()
    yield Vector("observed-after-now-names-nothing", "A pending record names nothing.", [a, b],
                 now=T0 + 10 * SECOND, silent=[b.id])  # fmt: skip
    forged = crashed(unsealed=2)
    body = forged.lines[7].replace(b'"alice"', b'"mallory"')
    forged.lines[7] = body
    yield _one("live-altered-tail", "The chain is checked in the pending tail too.", forged,
               ("altered", 8), now=now)  # fmt: skip


def _clocks() -> Iterator[Vector]:
    back = Stream().begin().events(2).wait(-300).events(2).seal().close()
    yield _one("clock-step", "observed runs backwards: a warning.", back)
    slept = Stream().begin().events(2).seal().wait(3600).seal().events(1).close()
    yield _one("late-seal", "A seal after the previous next_by: a warning.", slept)
    old = Stream().begin()
    old.event(time=stamp(T0 - 86_400 * SECOND))
    yield _one("seen-late", "It happened a day before it was seen.", old.seal().close())


def _long() -> Stream:
    """Five hours in one stream: seals at 7, 12, 17, 22 and 27, an hour apart, and a close at 28."""
    stream = Stream().begin().events(4).seal()
    for _ in range(4):
        stream.wait(3600).events(4).seal()
    return stream.close()


def _periods() -> Iterator[Vector]:
    """ "Windows": record 1, and the run from the last signed before to the first signed after."""
    third = {"since": stamp(T0 + 7000 * SECOND), "until": stamp(T0 + 7400 * SECOND)}
    yield _one("window", "The third hour of an honest stream.", _long(), options=third)
    outside = _long()
    outside.lines[3] = outside.lines[3].replace(b'"alice"', b'"mallory"')
    yield _one("window-altered-before", "The first hour was changed, and was not asked about.", outside,
               options=third)  # fmt: skip
    outside = _long()
    outside.lines[24] = outside.lines[24].replace(b'"alice"', b'"mallory"')
    yield _one("window-altered-after", "The fifth hour was changed, and was not asked about.", outside,
               options=third)  # fmt: skip
    inside = _long()
    inside.lines[19] = inside.lines[19].replace(b'"alice"', b'"mallory"')
    yield _one("window-altered-in-run", "The run reaches to the first signed record after the period.", inside,
               ("altered", 20), options=third)  # fmt: skip
    inside = _long()
    inside.lines[14] = inside.lines[14].replace(b'"alice"', b'"mallory"')
    yield _one("window-altered", "The third hour was changed.", inside, ("altered", 15), options=third)
    inside = _long()
    del inside.lines[14]
    yield _one("window-missing", "The third hour lacks a record.", inside, ("missing", 15), options=third)
    resealed = Stream().begin().events(4).seal()
    resealed.wait(3600).events(4).seal().wait(3600).events(4).seal({"audit.seal.root": "ab" * 32})
    resealed.wait(3600).events(4).seal()
    yield _one("window-wrong-root", "Roots are not checked for a period.", resealed.close(), options=third)
    silent = Stream().begin().events(4).seal()
    yield _one("window-overdue", "It had not ended before the period, and fell silent.", silent,
               ("overdue-seal", 7), options=third)  # fmt: skip
