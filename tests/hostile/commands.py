"""Commands in processes of their own, before a terminal or none."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 600.0
"""For a command that would take a second: one that hangs is found, and a busy machine is not."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    status: int
    out: bytes
    err: bytes


class Commands:
    """A server of commands, see `command_server`."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("command_server.py")), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=Path(__file__).parents[2],
            )
        self._connection = ours

    def close(self) -> None:
        self._connection.close()
        self._server.wait(60)

    def run(
        self,
        arguments: Sequence[str | Path],
        environ: Mapping[str, str],
        directory: Path,
        *,
        terminal: bool = False,
        is_bound: bool = False,
        interrupt_after: bytes | None = None,
    ) -> Ran:
        """Run one; with *interrupt_after*, SIGINT follows once it has said that."""
        request = {
            "arguments": [str(argument) for argument in arguments],
            "environ": {
                "PATH": os.environ["PATH"],
                "LANG": "C.UTF-8",
                **({"TERM": "xterm-256color"} if terminal else {}),
                **environ,
            },
            "directory": str(directory),
            "is_bound": is_bound,
        }
        (out, out_end), (err, err_end) = (_channel(terminal=terminal) for _ in range(2))
        nothing = os.open(os.devnull, os.O_RDONLY)
        socket.send_fds(self._connection, [json.dumps(request).encode()], [nothing, out_end, err_end])
        for descriptor in (nothing, out_end, err_end):
            os.close(descriptor)
        answers = self._connection.makefile("r")
        child = int(answers.readline())
        late = threading.Timer(PATIENCE_S, os.killpg, (child, signal.SIGKILL))
        late.start()
        try:
            said = _drain([out, err], child, interrupt_after)
            status = os.waitstatus_to_exitcode(int(answers.readline()))
        finally:
            late.cancel()
        return Ran(status, said[out], said[err])


def _channel(*, terminal: bool) -> tuple[int, int]:
    if not terminal:
        return os.pipe()
    ours, theirs = pty.openpty()
    modes = termios.tcgetattr(theirs)
    modes[1] &= ~termios.OPOST  # a line feed stays one
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    termios.tcsetwinsize(theirs, (50, 130))
    return ours, theirs


def _drain(descriptors: Sequence[int], child: int, interrupt_after: bytes | None) -> dict[int, bytes]:
    said = dict.fromkeys(descriptors, b"")
    left = list(descriptors)
    while left:
        for descriptor in select.select(left, [], [])[0]:
            data = b""
            with contextlib.suppress(OSError):  # EIO: the terminal's other side is closed
                data = os.read(descriptor, 1 << 16)
            said[descriptor] += data
            if not data:
                left.remove(descriptor)
                os.close(descriptor)
        if interrupt_after is not None and any(interrupt_after in one for one in said.values()):
            os.kill(child, signal.SIGINT)
            interrupt_after = None
    return said
