"""The processes of the demonstration: started here, and ended here by their ids, whatever happens in between."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from otel_audit.errors import SourceError

_STOP_TIMEOUT_S = 20.0


def program(name: str) -> str:
    """Path of a console script, of this environment first.

    Raises:
        SourceError: it is not installed.
    """
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise SourceError(f"{name} is not on the path of {sysconfig.get_path('scripts')}: install it anew with pip")
    return found


class Server:
    """gunicorn with the application, on a socket that the demonstration listens on; a context manager.

    Leaving it stops gunicorn as an operator would (SIGTERM, so that workers finish and streams close), and
    kills its process group if it does not stop.
    """

    def __init__(self, listener: socket.socket, directory: Path, environ: Mapping[str, str], log: Path) -> None:
        self._listener = listener
        self._directory = directory
        self._environ = environ
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        settings = f'bind = "fd://{self._listener.fileno()}"\ncontrol_socket_disable = True\n'
        # Read from the working directory by every gunicorn; one that knows no control socket (before 25.1, which
        # puts it into the home directory) ignores the second line
        (self._directory / "gunicorn.conf.py").write_text(settings)
        command = [program("opentelemetry-instrument"), program("gunicorn"), "--workers", "2", "shop:app"]
        # Ctrl-C while the server starts would leave it behind: it is remembered until there is one to stop
        interrupts: list[int] = []
        previous = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                command,
                cwd=self._directory,
                env=dict(self._environ),
                pass_fds=[self._listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: Ctrl-C reaches the demonstration alone, which then stops the server
                start_new_session=True,
            )
        signal.signal(signal.SIGINT, previous)
        if interrupts:
            self.__exit__(None, None, None)
            raise KeyboardInterrupt
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def check(self) -> None:
        """Say so if it is not running (any more).

        Raises:
            SourceError: it ended; the message carries the end of its log.
        """
        if self._process is not None and self._process.poll() is not None:
            last = " / ".join(self._log.read_text(errors="replace").strip().splitlines()[-3:])
            raise SourceError(f"the application did not start (status {self._process.returncode}): {last}")
