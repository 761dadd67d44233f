"""What each kind of finding means, and what to do about it, in an auditor's words.

Kinds and their order are those of the table "Verdicts" in the evidence format.
"""

from __future__ import annotations

from typing import NamedTuple


class Explanation(NamedTuple):
    """Two sentences for a reader who does not know the format."""

    means: str
    do: str


_COMPARE = "Compare with a second copy (the backend, a backup): the first difference is the change."
_FIND_TRUST = (
    "Get the issuer's certificate from whoever runs the service (there: otel-audit keys export), "
    "and name it: --trust."
)

FINDINGS: dict[str, Explanation] = {
    "malformed": Explanation(
        "A line is not a record: it was edited, cut, or never written by otel-audit.",
        "Look at the line; its place in the stream counts as absent. " + _COMPARE,
    ),
    "forked": Explanation(
        "Two different records claim the same place: at most one of them is what happened.",
        "Find out which source each came from; one of the two was made up or altered.",
    ),
    "missing": Explanation(
        "Records are gone from the middle of a stream.",
        "Look for them in another copy, and for who could remove them.",
    ),
    "altered": Explanation(
        "The record is not the one that was written: what follows it carries the fingerprint of another.", _COMPARE
    ),
    "bad-signature": Explanation(
        "A signature does not fit its record: the record was changed or not signed by this stream's key.", _COMPARE
    ),
    "wrong-root": Explanation(
        "A seal covers other records than those that stand before it.",
        "Records before this seal were exchanged. " + _COMPARE,
    ),
    "untrusted-key": Explanation(
        "The stream was signed in the name of an issuer that you did not say you trust.",
        "If the issuer is yours, name its certificate: --trust. If not, somebody else wrote this stream.",
    ),
    "wrong-certificate": Explanation(
        "The certificate of the stream's key does not entitle it to sign this stream.",
        "Ask whoever runs the issuer for what it issued; a key was used for what it was not made for.",
    ),
    "misplaced": Explanation(
        "A record stands where the format allows none of its kind, or promises what it may not.",
        "Honest writers never do this: find out who wrote it.",
    ),
    "truncated": Explanation(
        "The end of the stream is gone: another record names one that is not there any more.",
        "Look for the missing end in another copy, and for who could cut it off.",
    ),
    "rolled-back": Explanation(
        "A crashed stream was ended at an earlier record than it really reached: an old copy was put back.",
        "Find out who restored the spool, and when.",
    ),
    "index-mismatch": Explanation(
        "The searchable attributes in the backend say something else than the signed record.",
        "Believe the record; find out who changed the index.",
    ),
    "retired-early": Explanation(
        "Streams were removed sooner than they had to be kept.",
        "Compare OTEL_AUDIT_LOCAL_RETENTION with what was ordered (--keep).",
    ),
    "no-trust": Explanation(
        "No issuer is known here, so nobody's word stands behind the signatures: they may be anyone's.", _FIND_TRUST
    ),
    "overdue-seal": Explanation(
        "The stream promised a sign of life that is not there: its process was killed, or its end was cut off.",
        "Where the process crashed: otel-audit recover. Where it did not, the end of this stream was removed.",
    ),
    "unwitnessed-end": Explanation(
        "A crashed stream was ended so late that its end rests on this machine's word alone.",
        "Compare with what was delivered elsewhere (name that source too), or give a --witness.",
    ),
    "missing-stream": Explanation(
        "A stream that others name is nowhere in what was read.",
        "Name the source that holds it as well; where none does, the whole stream was removed.",
    ),
    "declared-gap": Explanation(
        "The log says itself that events could not be recorded.",
        "Its reason says why (disk-full, too-large …); what happened meanwhile must be shown by other means.",
    ),
    "declared-drops": Explanation(
        "The log says itself that events were lost.", "What happened meanwhile must be shown by other means."
    ),
    "clock-outside-certificate": Explanation(
        "A record says that it was made when its stream's certificate was not valid.",
        "Look at the machine's clock (otel-audit doctor); where it was right, the record's time is made up.",
    ),
    "retired": Explanation(
        "Streams were removed by the retention policy, and nobody has said how long they had to be kept.",
        "Say it: --keep 365d. The verdict then tells whether they were kept long enough.",
    ),
    "unsupported": Explanation(
        "Records of a later format are among these; this version cannot judge them.",
        "Verify with a newer otel-audit.",
    ),
}

WARNINGS: dict[str, Explanation] = {
    "adopted": Explanation(
        "After a crash the next process took over records that no seal had covered; they are counted apart.",
        "Nothing to do; until the takeover they were protected by the machine alone.",
    ),
    "clock-step": Explanation(
        "The machine's clock was set back while the stream was written.", "Check its time service."
    ),
    "clock-skew": Explanation(
        "The writer's clock and this machine's disagree.", "Check both machines' time service."
    ),
    "late-seal": Explanation(
        "A seal came later than promised: the machine slept, or was overloaded.",
        "Nothing to do if that is plausible.",
    ),
    "index-cut": Explanation("The backend shortened an attribute; the signed record is whole.", "Nothing to do."),
    "retired": Explanation(
        "Streams were removed by the retention policy after they had been delivered.",
        "Verify them where they were delivered to. Is it here? Then say --place NAME: a file 'place' that makes "
        "this pass for the spool is not believed beside it.",
    ),
    "unpinned": Explanation(
        "Nothing else names the newest ends yet: were they cut off now, only a promise falling due would show it.",
        "Verify again after the next start of the service, or keep a second copy.",
    ),
}
