"""Whatever an application emits, the log that it leaves verifies: the real pipeline, the real verifier."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_audit import Actor, InvalidEvent, Target, get_audit_logger
from otel_audit.logger import installed
from otel_audit.testing import FixedClock, recording
from otel_audit.verify import verify
from tests.memory_source import MemorySource

AUDIT = get_audit_logger("test")
START = datetime(2026, 1, 1, tzinfo=UTC)

texts = st.text(st.characters(), max_size=20)
names = st.from_regex(r"[a-z]{1,8}(\.[a-z_]{1,8})?", fullmatch=True)
values: st.SearchStrategy[Any] = texts | st.integers() | st.floats() | st.booleans() | st.binary(max_size=2)
contexts = st.dictionaries(names, values | st.lists(values, max_size=3), max_size=4)
emissions = st.fixed_dictionaries(
    {
        "action": st.just("READ") | texts,
        "actor": st.none() | st.builds(Actor, texts),
        "target": st.none() | st.builds(Target, texts, texts),
        "time_unix_nano": st.none() | st.integers(),
        "context": contexts | st.just({"huge": "\x00" * 20_000 + "a" * 60_000}),
    }
)
Step = Callable[[FixedClock], None]


def emit(arguments: dict[str, Any]) -> Step:
    def step(clock: FixedClock) -> None:
        clock.advance(0.5)
        with contextlib.suppress(InvalidEvent):
            AUDIT.emit("a.b", **arguments)

    return step


def wait(seconds: int) -> Step:
    """Time passes as it does with a keeper at work: seals fall due, and streams rotate."""

    def step(clock: FixedClock) -> None:
        pipeline: Any = installed()
        for _ in range(0, seconds, 4):
            clock.advance(4)
            pipeline.writer.seal_if_due()
            pipeline.writer.rotate_if_due()

    return step


steps = st.lists(emissions.map(emit) | st.integers(1, 200).map(wait), max_size=12)


@settings(max_examples=25, deadline=None)
@given(steps, st.sampled_from(["seal", "record"]))
def test_a_log_of_anything_verifies(steps: list[Step], sign: str) -> None:
    with recording(OTEL_AUDIT_SIGN=sign, OTEL_AUDIT_STREAM_MAX_AGE="100s") as log:
        pipeline: Any = installed()
        pipeline.writer.on_work = lambda: None
        for step in steps:
            step(log.clock)
    now = datetime.fromtimestamp(log.clock.time_unix_nano / 1e9 + 1, UTC)
    lost = sum(orjson.loads(body)["event"] == "audit.gap" for body in log.bodies)

    verdict = verify([MemorySource(log.bodies)], trust=[pipeline.writer._identity._issuer], now=now)

    kinds = {finding.kind for finding in verdict.findings if finding.severity != "warning"}
    expected = "empty" if not log.bodies else "incomplete" if lost else "verified"
    assert kinds <= ({"declared-gap", "declared-drops"} if lost else set[str]())
    assert verdict.status == expected
