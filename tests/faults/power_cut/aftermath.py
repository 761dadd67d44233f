"""When power is back: the product starts on what the disk holds, writes one event, and everything is verified.

Called in processes of their own, thousands of times each.
"""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

import otel_audit
from otel_audit.configure import configure
from otel_audit.evidence.identity import local_issuers
from otel_audit.logger import installed
from otel_audit.pipeline import AuditPipeline
from otel_audit.settings import Settings
from otel_audit.sources import read_directory
from otel_audit.verify import verify
from tests.faults.power_cut.disk import Tree

_LONG_AGO_S = 3600.0
"""Age of everything that a power cut left: the machine took its time to start."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What must be found after one power cut."""

    tree: Tree
    kept: frozenset[bytes] = frozenset()
    """Lines that stand in the spool, whatever was lost."""
    left: tuple[bytes, ...] = ()
    """Records that had left the machine."""
    settings: tuple[tuple[str, str], ...] = ()
    what: str = ""
    """How to make this state again."""


class _Said(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def broken(promise: Promise) -> str:
    """Empty, or what of the promise was not kept."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        promise.tree.write(Path(folder))
        for path in Path(folder).rglob("*"):
            then_s = path.stat().st_mtime - _LONG_AGO_S
            os.utime(path, (then_s, then_s))
        wrong = _undelivered(promise, Path(folder) / "state") or _broken(promise, Path(folder) / "state")
        return f"{promise.what}: {wrong}" if wrong else ""


def _undelivered(promise: Promise, state: Path) -> str:
    """What a cursor calls delivered, and is neither at the sink nor in quarantine."""
    settled = {*promise.left, *(path.read_bytes() for path in state.glob("quarantine/*.record"))}
    for path in state.glob("*/*/delivered"):
        cursor = orjson.loads(path.read_bytes())
        with (path.parent / cursor["segment"]).open("rb") as segment:
            missing = [line for line in segment.read(cursor["offset"]).split(b"\n")[:-1] if line not in settled]
        if missing:
            return f"{len(missing)} records are said to be delivered up to {cursor['seq']}, and are not"
    return ""


def _broken(promise: Promise, state: Path) -> str:
    said = _Said()
    logger = logging.getLogger("otel_audit")
    logger.addHandler(said)
    logger.propagate = False
    held = _state(state)
    try:
        for start in ("first", "second"):
            is_recorded = _start(promise, state)
            wrong = f"recorded={is_recorded}, said {said.lines}" if said.lines or not is_recorded else ""
            wrong = wrong or _unkept(promise, state, held)
            if wrong:
                return f"{start} start: {wrong}"
    finally:
        logger.removeHandler(said)
    return ""


def _start(promise: Promise, state: Path) -> bool:
    given = {"OTEL_SERVICE_NAME": "shop", "OTEL_AUDIT_DIR": str(state), **dict(promise.settings)}
    configure(Settings.from_environ(given))
    receipt = otel_audit.get_audit_logger("test").emit("item.read", action="READ")
    pipeline = installed()
    assert isinstance(pipeline, AuditPipeline)
    pipeline.keeper.tick()
    otel_audit.shutdown(30.0)
    return receipt.recorded


def _state(state: Path) -> dict[str, bytes]:
    """What no record holds and every later one depends on; as far as it came through."""
    names = ("place", "hash.key", "identity/issuer.pem")
    return {name: (state / name).read_bytes() for name in names if (state / name).exists()}


def _records(state: Path) -> set[bytes]:
    """Every record's line; what a recovery left behind the end of its stream is none."""
    lines = {line for path in state.glob("*/*/*.jsonl") for line in path.read_bytes().split(b"\n")[:-1]}
    recoveries = [orjson.loads(line)["context"] for line in lines if b'"event":"audit.stream.recovered"' in line]
    ends = {said["audit.recovered.stream"]: said["audit.recovered.seq"] for said in recoveries}
    return {line for line in lines if (read := _id(line)) and read[1] <= ends.get(read[0], read[1])}


def _id(line: bytes) -> tuple[str, int] | None:
    try:
        members = orjson.loads(line)
        return members["stream"], members["seq"]
    except (orjson.JSONDecodeError, TypeError, KeyError):  # torn by the power cut
        return None


def _unkept(promise: Promise, state: Path, held: dict[str, bytes]) -> str:
    now = datetime.now(UTC) + timedelta(seconds=1)
    verdict = verify([read_directory(state)], trust=local_issuers(state), now=now, keep=timedelta())
    findings = [finding for finding in verdict.findings if finding.severity != "warning"]
    if verdict.status != "verified":
        return f"{verdict.status}: {findings}"
    lost = promise.kept - _records(state)
    if lost:
        return f"{len(lost)} of {len(promise.kept)} records lost: {max(lost)[:120]!r}"
    changed = [name for name, content in held.items() if (state / name).read_bytes() != content]
    if changed:
        return f"{changed} changed"
    if promise.left:
        copy = state.parent / "sink.jsonl"
        copy.write_bytes(b"".join(line + b"\n" for line in promise.left))
        both = verify([read_directory(state), read_directory(copy)], trust=local_issuers(state), now=now)
        if both.status != "verified":
            return f"together with what had left the machine {both.status}: {both.findings}"
    return ""
