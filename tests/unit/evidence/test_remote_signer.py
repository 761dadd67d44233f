"""A KMS or an HSM as the issuer: a key whose `sign` asks elsewhere, once a stream."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from otel_audit.configure import build, read_policy
from otel_audit.errors import IdentityError
from otel_audit.event import AuditEvent
from otel_audit.evidence.identity import IssuerIdentity, StreamKey
from otel_audit.pipeline import AuditPipeline
from otel_audit.settings import Settings
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.storage import MemoryStorage
from otel_audit.testing import FixedClock
from otel_audit.verify import verify
from tests.memory_source import MemorySource

EVENT = AuditEvent("a.b", "READ", "success")


class UnreachableError(Exception):
    """What a cloud's library raises is no OSError."""


class Elsewhere(EllipticCurvePrivateKey):
    """A handle of a key that this process does not have."""

    def __init__(self, pem: Path) -> None:
        key = serialization.load_pem_private_key(pem.read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        self._key = key
        self.asked = 0
        self.is_down = False

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._key.curve

    @property
    def key_size(self) -> int:
        return self._key.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._key.public_key()

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        self.asked += 1
        if self.is_down:
            raise UnreachableError("503 from the key service")
        return self._key.sign(data, signature_algorithm)

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        raise NotImplementedError

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        raise NotImplementedError

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> bytes:  # noqa: A002 - theirs
        raise NotImplementedError

    def __copy__(self) -> Elsewhere:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Elsewhere:
        return self


class World:
    """A pipeline in memory whose streams are certified elsewhere."""

    def __init__(self, keys: Path, kind: str) -> None:
        self.key = Elsewhere(keys / f"{kind}.pem")
        self.issuer = x509.load_pem_x509_certificate((keys / f"{kind}.crt").read_bytes())
        self.clock = FixedClock(int(datetime.now(UTC).timestamp()) * 1_000_000_000)
        self.storage = MemoryStorage()
        settings = Settings.from_environ({"OTEL_SERVICE_NAME": "shop", "OTEL_AUDIT_DIR": "memory:"})
        self.pipeline: AuditPipeline = build(
            settings,
            read_policy(settings),
            self.storage,
            IssuerIdentity([self.issuer], self.key),
            Alarms(),
            clock=self.clock.clock(),
        )
        self.pipeline.writer.on_work = lambda: None

    def day(self) -> None:
        """Let a day and a second pass, after which a stream rotates."""
        self.clock.advance(86_401)


@pytest.fixture(params=["p256", "p384"])
def world(request: pytest.FixtureRequest, keys: Path) -> World:
    return World(keys, request.param)


def test_the_key_elsewhere_is_asked_exactly_once_a_stream(world: World) -> None:
    for _ in range(3):
        for _ in range(20):
            world.pipeline.record(EVENT)
        world.pipeline.writer.seal_if_due()
        world.day()
    world.pipeline.shutdown(5.0)

    assert (len(world.storage.slots), world.key.asked) == (3, 3)


def test_what_it_certified_verifies(world: World) -> None:
    world.pipeline.record(EVENT)
    world.pipeline.shutdown(5.0)

    certificate = x509.load_der_x509_certificate(_certificate(world.storage.bodies()[0]))
    verdict = verify(
        [MemorySource(world.storage.bodies())],
        trust=[world.issuer],
        now=datetime.fromtimestamp(world.clock.time_unix_nano / 1e9, UTC) + timedelta(seconds=1),
    )

    expected = hashes.SHA384 if world.key.key_size == 384 else hashes.SHA256
    assert isinstance(certificate.signature_hash_algorithm, expected)
    assert (verdict.status, verdict.streams[0].closed) == ("verified", True)


def _certificate(body: bytes) -> bytes:
    return base64.b64decode(orjson.loads(body)["context"]["audit.certificate"][0])


def test_an_unreachable_key_is_an_alarm_and_a_gap_never_an_exception_of_its_library(world: World) -> None:
    world.key.is_down = True
    assert not world.pipeline.record(EVENT).recorded
    assert not world.pipeline.record(EVENT).recorded
    assert world.key.asked == 1  # not at every event

    world.key.is_down = False
    world.clock.advance(2)
    assert world.pipeline.record(EVENT).recorded

    gaps = [m["context"] for m in map(orjson.loads, world.storage.bodies()) if m["event"] == "audit.gap"]
    assert [(gap["audit.gap.count"], gap["audit.reason"]) for gap in gaps] == [(2, "no-identity")]


def test_a_key_that_is_unreachable_at_rotation_leaves_the_old_stream_open(world: World) -> None:
    first = world.pipeline.record(EVENT)
    world.key.is_down = True
    world.day()

    second = world.pipeline.record(EVENT)

    assert second.recorded
    assert second.stream == first.stream


def test_the_refusal_names_the_issuer_and_carries_the_library_s_words(
    world: World, request_of: Callable[[], StreamKey]
) -> None:
    world.key.is_down = True
    identity = IssuerIdentity([world.issuer], world.key)

    with pytest.raises(IdentityError, match=r"issuer CN=p\d+ did not certify the stream's key: 503 from the key"):
        identity.certify(request_of())
