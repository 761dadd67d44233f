"""Is it set up? What is well is said so, what is wrong is named with what to do, and no secret is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import otel_audit
from otel_audit.variables import VARIABLES

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Cli

SECRET = "correct-horse-battery-staple"


def looks(printed: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(look["area"], look["what"]): look for look in json.loads(printed)["looks"]}


def wrong(printed: str) -> list[tuple[str, str]]:
    return [key for key, look in looks(printed).items() if look["grade"] == "wrong"]


def test_a_fresh_installation_is_well(cli: Cli) -> None:
    ran = cli("doctor")

    assert ran.status == 0
    assert ran.out.endswith("All is well.\n")


def test_a_service_that_has_recorded_is_well(cli: Cli, log: Path) -> None:
    ran = cli("doctor", "--json")

    assert (ran.status, json.loads(ran.out)["well"], wrong(ran.out)) == (0, True, [])
    assert looks(ran.out)["identity", "private key"]["grade"] == "note"


def test_every_setting_is_shown_with_its_value_and_where_it_came_from(
    cli: Cli, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_AUDIT_FSYNC", "always")

    settings = {
        row["name"]: (row["value"], row["source"]) for row in json.loads(cli("doctor", "--json").out)["settings"]
    }

    assert settings.keys() >= {variable.name for variable in VARIABLES}
    assert settings["OTEL_AUDIT_DIR"] == (str(state), "OTEL_AUDIT_DIR")
    assert settings["OTEL_AUDIT_FSYNC"] == ("always", "OTEL_AUDIT_FSYNC")
    assert settings["OTEL_AUDIT_SIGN"] == ("seal", "default")


@pytest.mark.parametrize(
    ("variables", "what"),
    [
        ({"OTEL_AUDIT_SEAL_INTERVAL": "soon"}, ("settings", "OTEL_AUDIT_SEAL_INTERVAL")),
        ({"OTEL_AUDIT_ENABLED": "false"}, ("settings", "OTEL_AUDIT_ENABLED")),
        ({"OTEL_AUDIT_POLICY": "/does/not/exist"}, ("settings", "policy")),
        ({"OTEL_AUDIT_COVERAGE": "/does/not/exist"}, ("settings", "coverage")),
        ({"OTEL_AUDIT_DIR": "/dev/null/audit"}, ("spool", "directory")),
        ({"OTEL_AUDIT_SPOOL_RESERVE": "99.9%"}, ("spool", "room")),
        ({"OTEL_AUDIT_IDENTITY": "file:/no/cert.pem,/no/key.pem"}, ("identity", "issuer")),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "otel_audit_flask"}, ("hooks", "flask 3.1.3")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, ("collector", "OTEL_EXPORTER_OTLP_ENDPOINT")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, ("collector", "OTEL_EXPORTER_OTLP_ENDPOINT")),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(
    cli: Cli, log: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], what: tuple[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    ran = cli("doctor", "--json")

    assert (ran.status, [(area, name.partition(" ")[0]) for area, name in wrong(ran.out)]) == (
        1,
        [(what[0], what[1].partition(" ")[0])],
    )
    assert all(look["do"] for look in looks(ran.out).values() if look["grade"] == "wrong")
    assert cli("doctor").status == 1


def test_disabling_every_instrumentation_is_about_traces_alone(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "*, otel_audit_sqlite3")

    hooks = {key[1].partition(" ")[0]: look for key, look in looks(cli("doctor", "--json").out).items()}

    assert (hooks["flask"]["grade"], hooks["psycopg"]["grade"], hooks["sqlite3"]["grade"]) == ("ok", "ok", "wrong")


def test_all_mistakes_are_named_at_once(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AUDIT_SEAL_INTERVAL", "soon")
    monkeypatch.setenv("OTEL_AUDIT_FSYNC", "sometimes")

    assert len(wrong(cli("doctor", "--json").out)) == 2


def test_a_misspelt_setting_is_noticed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AUDIT_FSINK", "always")

    assert looks(cli("doctor", "--json").out)["settings", "OTEL_AUDIT_FSINK"]["grade"] == "note"


@pytest.mark.parametrize("key", [SECRET, "short"])
def test_no_secret_is_ever_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OTEL_AUDIT_HASH_KEY", key)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization={SECRET}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://alice:{SECRET}@127.0.0.1:1")

    printed = [cli("doctor"), cli("doctor", "--json")]

    assert all(
        word not in ran.out + ran.err for ran in printed for word in (SECRET, "short\n", "'short'", '"short"')
    )


CRASHES = """
import os, otel_audit
otel_audit.configure()
otel_audit.get_audit_logger('test').emit('invoice.read', action='READ')
os._exit(9)
"""


def test_what_a_crash_left_open_is_noticed_and_recover_ends_it(cli: Cli, state: Path) -> None:
    subprocess.run([sys.executable, "-c", CRASHES], env=dict(os.environ), check=False)
    assert "otel-audit recover" in looks(cli("doctor", "--json").out)["spool", "crashes"]["do"]

    (ended,) = json.loads(cli("recover", "--json").out)["ended"]

    assert (ended["service"], ended["how"], ended["last_seq"]) == ("shop", "recovered", 3)
    assert looks(cli("doctor", "--json").out)["spool", "crashes"]["grade"] == "ok"
    assert cli("recover").out == (
        "Nothing is left open by a process that is gone.\n"
        "No endpoint is set, so nothing is to be delivered: the records stay on this machine.\n"
    )
    assert cli("verify").status == 0


Edit = Callable[[list[bytes]], list[bytes]]
EDITS: list[tuple[Edit, str]] = [
    (lambda lines: [bytes(len(lines[0])), *lines[1:]], "note"),
    (lambda lines: lines[1:], "wrong"),
    (lambda lines: lines, "ok"),
]


@pytest.mark.parametrize(("edit", "grade"), EDITS, ids=["hole", "altered", "whole"])
def test_what_a_crashed_stream_was_like_is_said(edit: Edit, grade: str, cli: Cli, state: Path) -> None:
    subprocess.run([sys.executable, "-c", CRASHES], env=dict(os.environ), check=False)
    (segment,) = state.glob("shop/*/*.jsonl")
    segment.write_bytes(b"".join(edit(segment.read_bytes().splitlines(keepends=True))))
    cli("recover")

    assert looks(cli("doctor", "--json").out)["spool", "holes"]["grade"] == grade


def test_recover_leaves_the_streams_of_living_processes_alone(cli: Cli, state: Path) -> None:
    otel_audit.configure(otel_audit.Settings(directory=state, service_name="shop"))
    otel_audit.get_audit_logger("test").emit("invoice.read", action="READ")

    ran = cli("recover", "--json")
    otel_audit.shutdown()

    assert (ran.status, json.loads(ran.out)) == (0, {"ended": [], "delivery": None})


def test_a_state_directory_that_is_a_file_is_wrong_and_the_rest_is_looked_at(cli: Cli, state: Path) -> None:
    state.write_text("")

    ran = cli("doctor")

    assert ran.status == 1
    assert f"WRONG directory: {state} is not a directory" in ran.out
    assert "clock" in ran.out
