"""What streams say of each other: predecessors, successors, recoveries, retirement; and what witnesses say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.vectors import x509
from tests.vectors.openssl import Ed25519
from tests.vectors.stream import PLACE, SECOND, T0, Stream, crashed, stamp, stream_id, whole
from tests.vectors.vector import Vector

DAY = 86_400
OTHER_PLACE = "00112233445566778899aabbccddeeff"
STRANGER = x509.Issuer([(x509.CN, "Stranger")], Ed25519("stranger root"))


def vectors() -> Iterator[Vector]:
    yield from _predecessors()
    yield from _successors()
    yield from _recoveries()
    yield from _false_recoveries()
    yield from _retirement()
    yield from _witnesses()


def after(older: Stream, *references: str, label: str = "b", **options: Any) -> Stream:
    """A stream that opens 20 s after *older* did, and names it by *references* (its newest record by default)."""
    named = references or (older.reference(),)
    return Stream(label, start=T0 + 20 * SECOND, predecessors=named, **options).begin().events(1)


def _predecessors() -> Iterator[Vector]:
    a = whole()
    yield Vector("predecessor", "A stream names the last record of the one before.", [a, after(a).close()])
    live = crashed(unsealed=3)
    b = after(live, live.reference(7)).close()
    live.wait(30).close()
    yield Vector("predecessor-live", "Of a live stream it names the last signed record.", [live, b])
    linking = Stream("b", start=T0 + 20 * SECOND).begin()
    linking.lifecycle("audit.stream.linked", {"audit.predecessors": [a.reference()]})
    yield Vector("linked", "More predecessors go into linked records.", [a, linking.close()])

    changed = f"{a.id}:11:{'ab' * 32}"
    yield Vector("predecessor-other-hash", "A reference names another hash at 11.",
                 [a, after(a, changed).close()], {a.id: ("altered", 11)})  # fmt: skip
    linking = Stream("b", start=T0 + 20 * SECOND).begin()
    linking.lifecycle("audit.stream.linked", {"audit.predecessors": [changed]})
    yield Vector("linked-other-hash", "A reference names another hash at 11.", [a, linking.close()],
                 {a.id: ("altered", 11)})  # fmt: skip
    beyond = f"{a.id}:12:{'ab' * 32}"
    yield Vector("predecessor-beyond", "A reference names a record above the highest present.",
                 [a, after(a, beyond).close()], {a.id: ("truncated", 12)})  # fmt: skip
    b = after(a).close()
    cut = whole()
    del cut.lines[7:]
    yield Vector(
        "tail-removed-and-named", "Cut back to a seal: its promise has long fallen due, and b names the close.",
        [cut, b], {a.id: ("overdue-seal", 7)}, verdicts={a.id: "tampered"},
    )  # fmt: skip
    cut = whole()
    del cut.lines[7:]
    yield Vector(
        "tail-removed-before-due", "Cut back to a seal whose promise is still good; b names the close.",
        [cut, b], {a.id: ("truncated", 11)}, now=T0 + 25 * SECOND,
    )  # fmt: skip
    yield Vector("stream-removed-and-named", "Nobody holds the predecessor, nobody says it was retired.", [b],
                 others=["missing-stream"], silent=[b.id])  # fmt: skip
    c = Stream("c", start=T0 + 40 * SECOND, predecessors=[b.reference()]).begin().events(1).close()
    yield Vector("middle-stream-removed", "Of three, the second is gone, and the third names it.", [a, c],
                 others=["missing-stream"], silent=[c.id])  # fmt: skip
    yield Vector("newest-stream-removed", "What nobody names can be taken away unseen: a known limit.", [a])
    yield Vector(
        "newest-stream-removed-witnessed", "Unless somebody else holds its head.",
        [a], others=["missing-stream"], options={"witness": [b.reference()]},
    )  # fmt: skip
    billing = whole("billing", service="billing")
    yield Vector("predecessor-of-another-service", "A reference to another service's stream.",
                 [billing, after(billing).close()], {stream_id("b"): ("misplaced", 1)})  # fmt: skip
    yield Vector("two-services", "Each has its own streams.", [a, billing, after(a).close()])
    liar = after(a, changed, trust=STRANGER).close()
    yield Vector("predecessor-by-untrusted", "What streams without a good path say is ignored.", [a, liar],
                 {liar.id: ("untrusted-key", 1)})  # fmt: skip
    forged = Stream("b", start=T0 + 20 * SECOND).begin()
    forged.lifecycle("audit.stream.linked", {"audit.predecessors": [changed]}, sig="A" * 86)
    forged.seal().close()
    yield Vector("linked-badly-signed", "What badly signed records say is ignored.", [a, forged],
                 {forged.id: ("bad-signature", 3)})  # fmt: skip


def _successors() -> Iterator[Vector]:
    a = Stream("a").begin().events(4).seal()
    b = Stream("b", start=a.at, predecessors=[a.reference()]).begin().events(1).close()
    a.close({"audit.reason": "rotation", "audit.successor": b.id})
    yield Vector("rotation", "The successor's open is written before the close.", [a, b])
    yield Vector("successor-removed", "Nobody holds the successor.", [a], others=["missing-stream"],
                 silent=[a.id])  # fmt: skip


def _recoveries() -> Iterator[Vector]:
    a = crashed()
    b = after(a, a.reference(7)).recover(a, sealed=7).events(1).close()
    yield Vector("recovered", "A crash, and a restart that ends the stream: two records adopted.", [a, b],
                 counts={"adopted": 2})  # fmt: skip
    torn = crashed()
    torn.tail = torn.lines[-1][:100]
    b = after(torn, torn.reference(7)).recover(torn, sealed=7, changes={"audit.recovered.torn_bytes": 100})
    yield Vector("recovered-torn", "Bytes after the last line feed are torn, and no record.",
                 [torn, b.close()], counts={"adopted": 2})  # fmt: skip
    spare = crashed()
    spare.tail = bytes(500)
    b = after(spare, spare.reference(7)).recover(spare, sealed=7).close()
    yield Vector("recovered-unused-space", "Zero bytes after the last line feed are unused space.",
                 [spare, b], counts={"adopted": 2})  # fmt: skip
    early = crashed(unsealed=4)
    b = after(early, early.reference(7)).recover(early, seq=9, sealed=7).close()
    yield Vector("recovered-then-torn-lines", "Unsigned lines after the recovered record are torn too.",
                 [early, b], counts={"adopted": 2})  # fmt: skip
    signed = crashed(unsealed=0)
    b = after(signed).recover(signed).close()
    yield Vector("recovered-at-a-seal", "A crash just after a seal: nothing to adopt.", [signed, b],
                 counts={"adopted": 0})  # fmt: skip

    late = T0 + 2 * DAY * SECOND
    b = Stream("b", start=T0 + DAY * SECOND, predecessors=[a.reference(7)]).begin().recover(a, sealed=7).close()
    yield Vector("recovered-late", "Recovered later than the last next_by kept.", [a, b],
                 {a.id: ("unwitnessed-end", 7)}, now=late, counts={"adopted": 2})  # fmt: skip
    seal = crashed(unsealed=0)
    b = Stream("b", start=T0 + DAY * SECOND, predecessors=[seal.reference()]).begin().recover(seal).close()
    yield Vector("recovered-late-at-a-seal", "Recovered later than the last next_by kept.", [seal, b],
                 {seal.id: ("unwitnessed-end", 7)}, now=late)  # fmt: skip
    yield Vector("recovered-late-witnessed", "A witness has the same last record.", [seal, b], now=late,
                 options={"witness": [seal.reference()]})  # fmt: skip
    slow = crashed(unsealed=1).wait(12).events(1)
    b = after(slow, slow.reference(7)).recover(slow, sealed=7).close()
    yield Vector(
        "adopted-late", "A record 12 s after the first adopted one: a living process would have sealed before.",
        [slow, b], {slow.id: ("unwitnessed-end", 7)}, counts={"adopted": 2},
    )  # fmt: skip
    b = after(a, a.reference(7)).recover(a, sealed=7).close()
    c = after(a, a.reference(7), label="c").recover(a, sealed=7).close()
    yield Vector("recovered-twice-alike", "Two recoveries that say the same.", [a, b, c],
                 counts={"adopted": 2})  # fmt: skip
    twice = after(a, a.reference(7)).recover(a, sealed=7)
    twice.recover(a, seq=8, sealed=7).close()
    yield Vector("recovered-twice-otherwise", "Two recoveries of one stream differ; the page leaves open at which.",
                 [a, twice], silent=[a.id, twice.id], verdict="tampered")  # fmt: skip


def _false_recoveries() -> Iterator[Vector]:
    a = crashed()
    b = after(a, a.reference(7)).recover(a, sealed=7, changes={"audit.recovered.hash": "ab" * 32}).close()
    yield Vector("recovery-other-hash", "The recovery names another hash at 9.", [a, b],
                 {a.id: ("altered", 9)})  # fmt: skip
    b = after(a, a.reference(7)).recover(a, sealed=7, changes={"audit.recovered.seq": 12}).close()
    yield Vector("recovery-beyond", "The recovery names a record above the highest present.", [a, b],
                 {a.id: ("truncated", 12)})  # fmt: skip
    adopted = crashed()
    b = after(adopted, adopted.reference(7)).recover(adopted, sealed=7).close()
    del adopted.lines[8:]
    yield Vector("adopted-record-removed", "The recovery names the record that is gone.", [adopted, b],
                 {a.id: ("truncated", 9)})  # fmt: skip
    rolled = Stream().begin().events(4).seal().wait(6).seal()
    b = after(rolled, rolled.reference(7)).recover(rolled, seq=7).close()
    yield Vector("rolled-back", "A well-signed record above the one at which the recovery ended the stream.",
                 [rolled, b], {rolled.id: ("rolled-back", 8)})  # fmt: skip
    closed = whole()
    b = after(closed).recover(closed).close()
    yield Vector("recovery-of-closed", "A recovery of a stream that has a close.", [closed, b],
                 {b.id: ("misplaced", 4)}, silent=[closed.id])  # fmt: skip
    b = after(a, a.reference(7)).recover(a, sealed=7)
    b.recover(b)
    yield Vector("recovery-of-itself", "A recovery of itself.", [a, b.close()], {b.id: ("misplaced", 5)},
                 counts={"adopted": 2})  # fmt: skip
    b = after(a, a.reference(7), trust=STRANGER).recover(a, sealed=7).close()
    yield Vector("recovery-by-untrusted", "Ignored: the crashed stream is overdue, as if nobody had spoken.",
                 [a, b], {a.id: ("overdue-seal", 9), b.id: ("untrusted-key", 1)})  # fmt: skip
    gone = crashed("gone")
    b = Stream("b").begin().recover(gone, sealed=7).close()
    yield Vector("recovered-stream-removed", "Nobody holds the stream that was recovered.", [b],
                 others=["missing-stream"], silent=[b.id])  # fmt: skip


def _retirement() -> Iterator[Vector]:
    a = whole()
    own: dict[str, bytes] = {"place": PLACE.encode()}
    hour = T0 + 3600 * SECOND

    def b(**changes: Any) -> Stream:
        named = {f"audit.retired.{name}": value for name, value in changes.items()}
        stream = Stream("b", start=hour, predecessors=[a.reference()]).begin()
        return stream.retire([a.id], changes=named).close()

    yield Vector("retired-delivered", "Retired in the place being read, delivered before.", [b()], files=own)
    yield Vector("retired-by-name", "An archive has the name that the verifier was given.", [b()],
                 options={"place": PLACE})  # fmt: skip
    elsewhere = b(place=OTHER_PLACE)
    yield Vector("retired-elsewhere", "What was retired in one place excuses nothing in another.",
                 [elsewhere], files=own, others=["missing-stream"], silent=[elsewhere.id])  # fmt: skip
    yield Vector("retired-no-place", "A source without a name is no place.", [b()], others=["missing-stream"],
                 silent=[stream_id("b")])  # fmt: skip
    unlisted = Stream("b", start=hour, predecessors=[a.reference()]).begin()
    unlisted.retire([stream_id("someone else")]).close()
    yield Vector("retired-another", "Another stream was retired, not the one that is missing.", [unlisted],
                 files=own, others=["missing-stream"], silent=[unlisted.id])  # fmt: skip
    undelivered = b(delivered=False)
    yield Vector("retired-undelivered", "Undelivered, and nobody says how long it had to be kept.",
                 [undelivered], {undelivered.id: ("retired", 3)}, files=own)  # fmt: skip
    yield Vector("retired-kept-long-enough", "Undelivered, and kept as long as was asked.", [undelivered],
                 files=own, options={"keep_s": 1800})  # fmt: skip
    early = b(delivered=False)
    yield Vector("retired-early", "Retired an hour after its end, though it had to be kept for two.", [early],
                 {early.id: ("retired-early", 3)}, files=own, options={"keep_s": 7200})  # fmt: skip
    future = b(ended=stamp(hour + 60 * SECOND))
    yield Vector("retired-ended-later", ".ended lies after observed.", [future], {future.id: ("misplaced", 3)},
                 files=own)  # fmt: skip
    liar = Stream("c", start=hour, trust=STRANGER).begin().retire([a.id]).close()
    naming = Stream("b", start=hour, predecessors=[a.reference()]).begin().close()
    yield Vector("retired-by-untrusted", "What streams without a good path say is ignored.", [naming, liar],
                 {liar.id: ("untrusted-key", 1)}, files=own, others=["missing-stream"],
                 silent=[naming.id])  # fmt: skip


def _witnesses() -> Iterator[Vector]:
    a = whole()
    yield Vector("witness-same", "The witness has the same last record.", [a],
                 options={"witness": [a.reference()]})  # fmt: skip
    yield Vector("witness-earlier", "The witness has an earlier seal.", [a],
                 options={"witness": [a.reference(7)]})  # fmt: skip
    yield Vector("witness-other-hash", "The witness has another hash at 7.", [a], {a.id: ("altered", 7)},
                 options={"witness": [f"{a.id}:7:{'ab' * 32}"]})  # fmt: skip
    yield Vector("witness-of-an-event", "A receipt is a witness too.", [a],
                 options={"witness": [a.reference(4), a.reference(9)]})  # fmt: skip
    yield Vector("witness-other-hash-of-an-event", "The witness has another hash at 5.", [a],
                 {a.id: ("altered", 5)}, options={"witness": [f"{a.id}:5:{'ab' * 32}"]})  # fmt: skip
    yield Vector("witness-more", "The witness has a record above the highest present.", [a],
                 {a.id: ("truncated", 12)}, options={"witness": [f"{a.id}:12:{'ab' * 32}"]})  # fmt: skip
    yield Vector("witness-stream-unknown", "A witnessed stream that no source holds.", [a],
                 others=["missing-stream"],
                 options={"witness": [f"{stream_id('gone')}:11:{'ab' * 32}"]})  # fmt: skip
    yesterday = whole()
    del yesterday.lines[7:]
    yield Vector(
        "restored-copy", "Yesterday's copy put back: the seal's promise fell due, and nobody wrote on.",
        [yesterday], {a.id: ("overdue-seal", 7)},
    )  # fmt: skip
    b = after(a, a.reference(7)).recover(a, seq=7).close()
    yield Vector(
        "restored-copy-recovered", "Put back and recovered as if after a crash; the witness has the close.",
        [yesterday, b], {a.id: ("truncated", 11)}, options={"witness": [a.reference()]},
    )  # fmt: skip
    yield Vector(
        "restored-copy-recovered-unseen", "Without a witness a host can roll its own log back: a known limit.",
        [yesterday, b],
    )  # fmt: skip
