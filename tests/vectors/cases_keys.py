""" "Keys": every rule of the path, broken alone; and paths that are unusual and good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from tests.vectors import x509
from tests.vectors.openssl import P256, P384, Ecdsa, Ed25519, Key, Rsa
from tests.vectors.stream import ROOT, SECOND, T0, Stream, root_der
from tests.vectors.vector import Vector

PAST = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC))
FUTURE = (datetime(2026, 3, 2, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC))
HOUR = 3600 * SECOND


def vectors() -> Iterator[Vector]:
    yield from _leaves()
    yield from _paths()
    yield from _issuers()
    yield from _anchors()
    yield from _lifetimes()


def _finish(stream: Stream) -> Stream:
    return stream.begin().events(2).seal().events(1).close()


def _good(name: str, why: str, path: Sequence[bytes], trust: Sequence[bytes] | None = None) -> Vector:
    return Vector(f"certificate-ok-{name}", why, [_finish(Stream().certify(path))], trust=trust)


def _bad(
    name: str,
    why: str,
    path: Sequence[bytes],
    trust: Sequence[bytes] | None = None,
    kind: str = "wrong-certificate",
) -> Vector:
    stream = _finish(Stream().certify(path))
    return Vector(f"certificate-{name}", why, [stream], {stream.id: (kind, 1)}, trust=trust)


def _leaves() -> Iterator[Vector]:
    """Element 0: exactly one CN, the stream id; exactly one O, the service; CA:FALSE; Ed25519."""
    a = Stream()
    cn, o = (x509.CN, a.id), (x509.O, a.service)
    other = (x509.CN, Stream("b").id)
    for name, subject in (
        ("cn-of-another-stream", [other, o]),
        ("no-cn", [o]),
        ("two-cns", [cn, other, o]),
        ("two-cns-alike", [cn, cn, o]),
        ("cn-upper-case", [(x509.CN, a.id.upper()), o]),
        ("o-of-another-service", [cn, (x509.O, "billing")]),
        ("no-o", [cn]),
        ("two-os", [cn, o, (x509.O, "billing")]),
        ("cn-and-o-swapped", [(x509.CN, a.service), (x509.O, a.id)]),
    ):
        why = "Element 0 has exactly one CN, the stream id, and exactly one O, the service's name."
        yield _bad(name, why, a.issue(ROOT, subject=subject))
    yield _good("subject-order", "No order of CN and O is asked for.", a.issue(ROOT, subject=[o, cn]))
    yield _bad("leaf-is-a-ca", "Element 0 has CA:FALSE.", a.issue(ROOT, extensions=x509.AUTHORITY))
    critical = x509.extension(x509.UNKNOWN, b"\x05\x00", critical=True)
    harmless = x509.extension(x509.UNKNOWN, b"\x05\x00")
    yield _bad("unknown-critical-extension", "No unknown critical extension.",
               a.issue(ROOT, extensions=[*x509.LEAF, critical]))  # fmt: skip
    yield _good("unknown-extension", "An unknown extension that is not critical is nothing.",
                a.issue(ROOT, extensions=[*x509.LEAF, harmless]))  # fmt: skip
    stranger: Key = Ecdsa(P256, "leaf")
    weak = Stream(key=stranger)
    der = weak.issue(ROOT)
    weak.key = Ed25519("stream a")
    stream = _finish(weak.certify(der))
    yield Vector("certificate-p256-leaf", "A stream's key is Ed25519; no signature can verify by another.",
                 [stream], {stream.id: ("wrong-certificate", 1)}, unclear_kind=True)  # fmt: skip
    other_key = Stream(key=Ed25519("somebody else")).issue(ROOT)
    yield _bad("of-another-key", "The certificate holds another key than the one that signs.",
               other_key, kind="bad-signature")  # fmt: skip


def _paths() -> Iterator[Vector]:
    """Each next element issued the one before; at most eight."""
    a = Stream()
    middle = x509.intermediate("Middle", Ed25519("middle"), ROOT)
    yield _good("intermediate", "A path of two, the second issued by the anchor.", a.issue(middle))
    lower = x509.intermediate("Lower", Ed25519("lower"), middle)
    yield _good("two-intermediates", "A path of three.", a.issue(lower))
    unrelated = x509.intermediate("Unrelated", Ed25519("middle"), ROOT)
    yield _bad("names-unequal", "Element 1 issued element 0: the names are equal.",
               [a.issue(middle)[0], *unrelated.path])  # fmt: skip
    impostor = x509.intermediate("Middle", Ed25519("impostor"), ROOT)
    yield _bad("issuer-signature", "Element 1 issued element 0: the signature is good.",
               [a.issue(middle)[0], *impostor.path])  # fmt: skip
    leafy = x509.intermediate("Middle", Ed25519("middle"), ROOT, extensions=x509.LEAF)
    yield _bad("issuer-not-a-ca", "An issuer has CA:TRUE.", a.issue(leafy))
    unable = (x509.basic_constraints(ca=True), x509.key_usage(x509.DIGITAL_SIGNATURE))
    useless = x509.intermediate("Middle", Ed25519("middle"), ROOT, extensions=unable)
    yield _bad("issuer-without-key-cert-sign", "An issuer has keyCertSign.", a.issue(useless))
    critical = (*x509.AUTHORITY, x509.extension(x509.UNKNOWN, b"\x05\x00", critical=True))
    odd = x509.intermediate("Middle", Ed25519("middle"), ROOT, extensions=critical)
    yield _bad("issuer-unknown-critical-extension", "No unknown critical extension.", a.issue(odd))
    zero = (x509.basic_constraints(ca=True, path_length=0), x509.key_usage(x509.KEY_CERT_SIGN))
    short = x509.intermediate("Short", Ed25519("short"), ROOT, extensions=zero)
    yield _good("path-length-zero", "Path length 0 allows a stream's certificate.", a.issue(short))
    below = x509.intermediate("Below", Ed25519("below"), short)
    yield _bad("path-length", "Path length 0 allows no further issuer.", a.issue(below))
    eight, nine = _chain(7), _chain(8)
    yield _good("eight-elements", "At most 8 elements; these are 8.", a.issue(eight))
    yield _bad("nine-elements", "At most 8 elements; these are 9.", a.issue(nine))
    b = _finish(Stream("b"))
    stolen = x509.Issuer([(x509.CN, b.id), (x509.O, b.service)], b.key, (b.issue(ROOT)[0],))
    yield _bad("stream-as-issuer", "A stream's certificate is no issuer's.", a.issue(stolen))


def _chain(length: int) -> x509.Issuer:
    issuer = ROOT
    for level in range(length):
        issuer = x509.intermediate(f"Level {level}", Ed25519(f"level {level}"), issuer)
    return issuer


def _issuers() -> Iterator[Vector]:
    """Issuer keys: Ed25519, ECDSA P-256 or P-384, RSA ≥ 2048 with SHA-256 or better."""
    keys: tuple[tuple[str, Key, bool], ...] = (
        ("p256", Ecdsa(P256, "issuer"), True),
        ("p384", Ecdsa(P384, "issuer"), True),
        ("rsa-2048", Rsa("rsa2048"), True),
        ("rsa-1024", Rsa("rsa1024"), False),
        ("rsa-sha1", Rsa("rsa2048", "sha1"), False),
    )
    why = "Issuer keys are Ed25519, ECDSA P-256 or P-384, or RSA ≥ 2048 with SHA-256 or better."
    for name, key, good in keys:
        anchor, der = x509.root(f"Issuer {name}", key)
        build = _good if good else _bad
        yield build(f"anchor-{name}", why, Stream().issue(anchor), [der])
        middle = x509.intermediate(f"Middle {name}", key, ROOT)
        yield build(f"issuer-{name}", why, Stream().issue(middle))


def _anchors() -> Iterator[Vector]:
    """Whom the verifier trusts, and what of it counts."""
    a = Stream()
    stranger, stranger_der = x509.root("Stranger", Ed25519("stranger root"))
    untrusted = "untrusted-key"
    yield _bad("untrusted", "Nobody trusted issued it.", a.issue(stranger), kind=untrusted)
    yield _bad("untrusted-brought-along", "An issuer that a record brings is not trusted for it.",
               [*a.issue(stranger), stranger_der], kind=untrusted)  # fmt: skip
    impostor, impostor_der = x509.root("Vector Issuer", Ed25519("impostor root"))
    yield _bad("untrusted-same-name", "The anchor's name, and another key.", a.issue(impostor), kind=untrusted)
    yield _bad("untrusted-same-name-brought-along", "The anchor's name, and another key.",
               [*a.issue(impostor), impostor_der], kind=untrusted)  # fmt: skip
    renamed = x509.Issuer([(x509.CN, "Another Issuer")], ROOT.key)
    yield _bad("untrusted-other-name", "The anchor's key, and another name.", a.issue(renamed), kind=untrusted)
    own = x509.Issuer([(x509.CN, a.id), (x509.O, a.service)], a.key)
    yield _bad("untrusted-self-signed", "A stream that issues itself.", a.issue(own), kind=untrusted)
    yield _good("one-of-two-anchors", "Any of the trusted issuers will do.", a.issue(ROOT),
                [stranger_der, root_der()])  # fmt: skip
    yield _good("anchor-brought-along", "An element that is the anchor ends the path.",
                [*a.issue(ROOT), root_der()])  # fmt: skip
    old, old_der = x509.root("Old Issuer", Ed25519("old root"), valid=PAST)
    yield _good("anchor-expired", "An anchor counts as name and key alone.", a.issue(old), [old_der])
    yield _good("anchor-expired-brought-along", "Also where the path brings it, for there it ends.",
                [*a.issue(old), old_der], [old_der])  # fmt: skip
    plain, plain_der = x509.root("Plain Issuer", Ed25519("plain root"), ca=False)
    yield _good("anchor-no-ca", "An anchor's extensions are unread.", a.issue(plain), [plain_der])
    middle = x509.intermediate("Middle", Ed25519("middle"), ROOT)
    yield _good("anchor-in-the-middle", "An intermediate that is trusted is an anchor.",
                [a.issue(middle)[0]], [middle.path[0]])  # fmt: skip


def _lifetimes() -> Iterator[Vector]:
    a = Stream()
    yield _bad("expired", "All elements are valid at the open's observed.",
               a.issue(ROOT, valid=(T0 - 48 * HOUR, T0 - 24 * HOUR)))  # fmt: skip
    yield _bad("not-yet-valid", "All elements are valid at the open's observed.",
               a.issue(ROOT, valid=(T0 + HOUR, T0 + 48 * HOUR)))  # fmt: skip
    for name, valid in (("issuer-expired", PAST), ("issuer-not-yet-valid", FUTURE)):
        middle = x509.intermediate("Middle", Ed25519("middle"), ROOT, valid=valid)
        yield _bad(name, "All elements are valid at the open's observed.", a.issue(middle))
    brief = a.issue(ROOT, valid=(T0 - HOUR, T0 + 10 * SECOND))
    late = Stream().certify(brief).begin().events(2).seal().wait(20).events(2).seal().close()
    yield Vector("clock-outside-certificate", "Record 6 and those after it are outside the certificate.",
                 [late], {late.id: ("clock-outside-certificate", 6)})  # fmt: skip
    closed = Stream().certify(brief).begin().events(2).seal().wait(20).close()
    yield Vector("clock-outside-certificate-close", "The close may be outside.", [closed])
    early = a.issue(ROOT, valid=(T0 - HOUR, T0 + HOUR))
    back = Stream().certify(early).begin().events(2).seal().wait(-2 * 3600).events(1)
    back.wait(2 * 3600).close()
    yield Vector("clock-before-certificate", "Record 6 is before the certificate.", [back],
                 {back.id: ("clock-outside-certificate", 6)})  # fmt: skip
