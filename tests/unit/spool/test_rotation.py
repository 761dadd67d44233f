"""Rotation while the issuer is far away: a key service that takes its time, or does not answer."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_audit.errors import IdentityError
from otel_audit.event import Actor, AuditEvent
from otel_audit.evidence.identity import Identity, StreamKey, self_identity
from otel_audit.pipeline import AuditPipeline
from otel_audit.spool.layout import make_directory
from otel_audit.testing import FixedClock

from .conftest import Process, records

EVENT = AuditEvent("item.read", "READ", "success", Actor("alice", "user", "session"))
PATIENCE_S = 60.0


class FarAway:
    """An issuer that answers when it is let to, or refuses."""

    def __init__(self, issuer: Identity) -> None:
        self._issuer = issuer
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.is_asked = threading.Event()
        self.is_refusing = False
        self.asked = 0

    def certify(self, key: StreamKey) -> Sequence[bytes]:
        self.asked += 1
        self.is_asked.set()
        if not self.may_answer.wait(PATIENCE_S) or self.is_refusing:
            raise IdentityError("the key service cannot be reached")
        return self._issuer.certify(key)


@pytest.fixture
def identity(spool: Path) -> FarAway:
    make_directory(spool)
    return FarAway(self_identity(spool))


@contextmanager
def certifying(pipeline: AuditPipeline, issuer: FarAway) -> Generator[None]:
    """While the keeper waits for the certificate of the next stream."""
    issuer.may_answer.clear()
    issuer.is_asked.clear()
    keeper = threading.Thread(target=pipeline.keeper.tick)
    keeper.start()
    try:
        assert issuer.is_asked.wait(PATIENCE_S)
        yield
    finally:
        issuer.may_answer.set()
        keeper.join(PATIENCE_S)


def begin(process: Process, clock: FixedClock) -> tuple[AuditPipeline, str]:
    """A process whose stream will be too old in twenty seconds."""
    pipeline = process(OTEL_AUDIT_STREAM_MAX_AGE="1h")
    stream = pipeline.record(EVENT).stream
    live = pipeline.writer.live
    assert live is not None
    clock.advance((live.rotate_at_unix_nano - clock.time_unix_nano) / 1e9 - 20)
    return pipeline, stream


def end_of(spool: Path, stream: str) -> tuple[str, str | None]:
    """Reason of its close, and the successor that this names."""
    close = records(spool, stream)[-1]
    assert close["event"] == "audit.stream.close"
    return close["context"]["audit.reason"], close["context"].get("audit.successor")


def test_no_event_waits_while_the_next_stream_is_certified(
    process: Process, spool: Path, clock: FixedClock, identity: FarAway
) -> None:
    pipeline, old = begin(process, clock)

    with certifying(pipeline, identity):
        meanwhile = pipeline.record(EVENT)

    assert (meanwhile.recorded, meanwhile.stream) == (True, old)
    new = pipeline.record(EVENT).stream
    assert end_of(spool, old) == ("rotation", new)


def test_a_stream_that_was_not_certified_is_asked_for_again_half_a_minute_later(
    process: Process, spool: Path, clock: FixedClock, identity: FarAway
) -> None:
    pipeline, old = begin(process, clock)
    identity.is_refusing = True
    pipeline.keeper.tick()
    asked = identity.asked

    clock.advance(25)
    pipeline.keeper.tick()
    assert pipeline.record(EVENT).stream == old
    assert identity.asked == asked

    identity.is_refusing = False
    clock.advance(6)
    pipeline.keeper.tick()
    assert end_of(spool, old) == ("rotation", pipeline.record(EVENT).stream)


def test_the_end_of_the_process_closes_the_stream_that_was_just_being_certified(
    process: Process, spool: Path, clock: FixedClock, identity: FarAway
) -> None:
    pipeline, old = begin(process, clock)

    with certifying(pipeline, identity):
        pipeline.writer.shut()
    pipeline.keeper.finish()

    streams = [path.name for path in (spool / "shop").iterdir() if path.is_dir()]
    assert len(streams) == 2
    assert [end_of(spool, stream) for stream in streams] == [("shutdown", None)] * 2
    assert old in streams


def test_an_event_past_the_rotation_does_not_wait_for_the_keepers_certificate(
    process: Process, spool: Path, clock: FixedClock, identity: FarAway
) -> None:
    """It asks for one of its own: nothing but the close may follow in the old stream. The keeper's is not used."""
    pipeline, old = begin(process, clock)

    with certifying(pipeline, identity):
        clock.advance(21)
        event = threading.Thread(target=pipeline.record, args=(EVENT,))
        identity.is_asked.clear()
        event.start()
        assert identity.is_asked.wait(PATIENCE_S)
        identity.may_answer.set()
        event.join(PATIENCE_S)
    pipeline.keeper.tick()

    new = pipeline.record(EVENT).stream
    (unused,) = {path.name for path in (spool / "shop").iterdir() if path.is_dir()} - {old, new}
    assert end_of(spool, old) == ("rotation", new)
    assert end_of(spool, unused) == ("shutdown", None)
