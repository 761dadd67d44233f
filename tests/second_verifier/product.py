"""Archives that the product has written just now: real processes, crashes, forks, rotation, a gap, retention."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EMIT = """
import os, sys
import otel_audit
from otel_audit import Actor, Target
otel_audit.configure()
audit = otel_audit.get_audit_logger("test")
def emit(count, **more):
    for at in range(count):
        audit.emit("item.update", action="UPDATE", target=Target(str(at), "item"), **more)
"""
CRASH = EMIT + "emit(7)\nos._exit(1)\n"
CLOSE = EMIT + "emit(14, actor=Actor('alice', 'user', 'session'))\notel_audit.shutdown()\n"
TOO_LARGE = (
    EMIT + "emit(2)\nemit(1, context={f'n{at}': 'x' * 40 for at in range(4000)})\nemit(2)\notel_audit.shutdown()\n"
)
FORKS = (
    EMIT
    + """
emit(2)
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        emit(3)
        otel_audit.shutdown()
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
emit(1)
otel_audit.shutdown()
"""
)
RETIRE = (
    EMIT
    + """
from datetime import timedelta
from pathlib import Path
from otel_audit.logger import installed
from otel_audit.spool.retention import Retention, retire
from otel_audit.spool.layout import place_name
emit(1)
spool = Path(os.environ["OTEL_AUDIT_DIR"])
retire(spool / "shop", installed().writer, Retention(timedelta(0), place_name(spool)))
otel_audit.shutdown()
"""
)
MEMORY = (
    EMIT
    + """
from otel_audit.logger import installed
emit(3)
bodies = installed().writer.storage.bodies
otel_audit.shutdown()
sys.stdout.buffer.write(b"".join(one + b"\\n" for one in bodies()))
"""
)


def write(spool: Path) -> list[list[bytes]]:
    """Write into *spool*; returns archives: what lies there before and after retention, and one from memory."""
    few = {"OTEL_AUDIT_SEAL_RECORDS": "3"}
    run(spool, CRASH, **few)
    run(spool, CRASH, OTEL_AUDIT_SIGN="record")
    run(spool, CLOSE, OTEL_AUDIT_STREAM_MAX_RECORDS="10", **few)
    run(spool, TOO_LARGE)
    run(spool, FORKS)
    run(spool, CRASH)
    before = lines(spool)
    run(spool, RETIRE)
    memory = run(spool, MEMORY, OTEL_AUDIT_DIR="memory:").splitlines()
    return [before, lines(spool), memory]


def lines(spool: Path) -> list[bytes]:
    return [line for path in sorted(spool.rglob("*.jsonl")) for line in path.read_bytes().split(b"\n")[:-1]]


def run(spool: Path, program: str, **variables: str) -> bytes:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    settings = {"OTEL_AUDIT_DIR": str(spool), "OTEL_SERVICE_NAME": "shop", **variables}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env={**inherited, **settings}, capture_output=True, check=False)
    assert done.returncode == (1 if program is CRASH else 0), done.stderr.decode()
    return done.stdout
