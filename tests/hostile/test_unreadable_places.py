"""What a command is to read or write and may not, or cannot: status 2, what and which in one line, and no hang."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from otel_audit.cli.entry import run
from tests.privileges import bound_by_permissions

FILES = ("locked", "in a locked directory", "pipe", "socket", "device", "loop", "dangling", "directory")


def _make(kind: str, path: Path) -> Path:
    if kind == "locked":
        path.write_text("{}\n")
        path.chmod(0)
    elif kind == "in a locked directory":
        path.parent.joinpath("locked").mkdir()
        path.parent.joinpath("locked").chmod(0)
        return path.parent / "locked" / path.name
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "dangling":
        path.symlink_to("gone")
    elif kind == "directory":
        path.mkdir()
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a short name: that of a socket may have 107 bytes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_AUDIT_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    return Path()


READERS = (
    (["verify"], "x.jsonl"),
    (["verify"], "x.jsonl.gz"),
    (["show"], "x.otlp.json"),
    (["verify", "--trust"], "x.pem"),
    (["verify", "--witness"], "heads"),
    (["keys", "init", "--passphrase-file"], "secret"),
    (["coverage", "--check"], "kept"),
)


@pytest.mark.parametrize(
    ("command", "name", "kind"),
    [
        pytest.param(command, name, kind, id=f"{' '.join(command)} {name} {kind}")
        for command, name in READERS
        for kind in FILES
        if kind != "directory" or not name.startswith("x.") or name == "x.pem"  # as a source it is one
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    command: list[str], name: str, kind: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _make(kind, place / name)

    with bound_by_permissions():
        status = run([*command, str(path)])

    printed = capsys.readouterr()
    assert (status, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert printed.err.startswith("otel-audit: ")
    assert name in printed.err


@pytest.mark.parametrize("kind", ["locked", "in a locked directory", "pipe", "socket", "device"])
@pytest.mark.parametrize("command", [["verify"], ["show"], ["recover"], ["ship", "--once"], ["keys", "show"]])
def test_a_state_directory_that_cannot_be_read_is_named(
    command: list[str], kind: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_AUDIT_DIR", str(_make(kind, place / "state").absolute()))

    with bound_by_permissions():
        status = run(command)

    printed = capsys.readouterr()
    assert (status, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert "state" in printed.err


def test_a_file_below_a_source_that_may_not_be_read_is_named(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is not a whole log: no verdict is given on it."""
    (place / "log").mkdir()
    (place / "log" / "good.jsonl").write_text("")
    _make("locked", place / "log" / "bad.jsonl")

    with bound_by_permissions():
        status = run(["verify", "log"])

    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert "bad.jsonl: cannot be read: Permission denied" in printed.err


def test_a_directory_below_a_source_that_may_not_be_listed_is_named(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "log" / "shop").mkdir(parents=True)
    (place / "log" / "shop").chmod(0)

    with bound_by_permissions():
        status = run(["verify", "log"])

    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert "shop: cannot be listed: Permission denied" in printed.err
