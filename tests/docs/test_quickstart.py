"""docs/quickstart.md, tried as a new user would: every block is run as it stands, but for the port."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "quickstart.md"


class Blocks(NamedTuple):
    """What the page has the reader type."""

    application: str
    server: str
    requests: str
    look: str
    verify: str
    tamper: str


@pytest.fixture
def blocks() -> Blocks:
    text = PAGE.read_text()
    (application,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    _install, *commands = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return Blocks(application, *commands)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_the_quick_start_works_word_for_word(blocks: Blocks, port: int, tmp_path: Path) -> None:
    path = os.pathsep.join((sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ["PATH"]))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "GUNICORN_"))}
    environ = {**kept, "PATH": path, "HOME": str(tmp_path / "home"), "PYTHONUSERBASE": "/nonexistent"}
    settings, _ = blocks.look.split("\n", 1)

    def type_in(text: str) -> subprocess.CompletedProcess[str]:
        script = f"set -e\n{settings}\n{text}".replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        return subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )

    (tmp_path / "app.py").write_text(blocks.application)
    command = blocks.server.replace(":8000", f":{port}").replace("\nopentelemetry-", "\nexec opentelemetry-")
    with subprocess.Popen(
        ["bash", "-c", f"set -e\n{command}"],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if "Booting worker" in line:
                break
        used = type_in(blocks.requests)
        looked = type_in(blocks.look)
        server.send_signal(signal.SIGTERM)
        server.stderr.read()
    verified, tampered = type_in(blocks.verify), type_in(blocks.tamper)

    assert used.returncode == 0
    assert (looked.returncode, looked.stderr.count("VERIFIED: ")) == (0, 2)
    assert re.search(r"anonymous +CREATE +/notes/milk +success +POST 201", looked.stdout)
    assert re.search(r"anonymous +READ +/nowhere +failure +GET 404", looked.stdout)
    assert (verified.returncode, verified.stdout.partition(":")[0]) == (0, "VERIFIED")
    assert (tampered.returncode, tampered.stdout.partition(":")[0]) == (1, "TAMPERED")
