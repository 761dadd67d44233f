"""What a setting names may be a pipe that nobody writes to, a device without end, a directory: no hang."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from otel_audit.cli.entry import run
from tests.privileges import bound_by_permissions

SETTINGS = ("OTEL_AUDIT_POLICY", "OTEL_AUDIT_COVERAGE", "OTEL_AUDIT_IDENTITY")


def _make(kind: str, path: Path) -> Path:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "endless device":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "not one's own":
        path.write_text("rules: []\n")
        path.chmod(0)
    elif kind == "binary":
        path.write_bytes(b"\xff\x00\x1b[2J" * 100)
    return path


KINDS = ("pipe", "endless device", "directory", "loop", "not one's own", "binary", "absent")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OTEL_AUDIT_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    return tmp_path / "state"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_setting_names_cannot_be_read(
    kind: str, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in SETTINGS:
        path = _make(kind, state.with_name(name))
        monkeypatch.setenv(name, f"file:{path},{path}" if name.endswith("IDENTITY") else str(path))

    with bound_by_permissions():
        status = run(["doctor", "--json"])

    found = json.loads(capsys.readouterr().out)
    wrong = [look["message"] for look in found["looks"] if look["grade"] == "wrong"]
    # an empty policy is one: what a pipe without a writer holds
    expected = [name for name in SETTINGS if (name, kind) != ("OTEL_AUDIT_POLICY", "pipe")]
    assert status == 1
    assert [any(str(state.with_name(name)) in message for message in wrong) for name in expected] == [
        True for _ in expected
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_cannot_be_read(
    kind: str, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _make(kind, state.with_name("key"))
    monkeypatch.setenv("OTEL_AUDIT_HASH_KEY_FILE", str(path))

    with bound_by_permissions():
        status = run(["verify"])

    printed = capsys.readouterr()
    assert (status, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert printed.err.startswith(f"otel-audit: OTEL_AUDIT_HASH_KEY_FILE='{path}': ")


@pytest.mark.parametrize("kind", ["pipe", "endless device", "directory", "loop", "not one's own", "binary"])
@pytest.mark.parametrize("command", [["verify"], ["keys", "show"], ["keys", "export"]])
def test_the_issuer_of_a_state_directory_cannot_be_read(
    command: list[str], kind: str, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy of a spool may come from anybody."""
    (state / "identity").mkdir(parents=True)
    path = _make(kind, state / "identity" / "issuer.pem")

    with bound_by_permissions():
        status = run(command)

    printed = capsys.readouterr()
    assert (status, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert printed.err.startswith(f"otel-audit: {path}: ")
