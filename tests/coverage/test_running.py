"""The application's import is the application's: what it prints, how it fails, what it leaves running."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_audit.cli.coverage.process import environment

if TYPE_CHECKING:
    from tests.coverage.conftest import Coverage

FLASK = "from flask import Flask\napp = Flask(__name__, static_folder=None)\napp.add_url_rule('/', 'home', print)\n"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import nowhere",
            "shop:app: the import failed: ModuleNotFoundError: No module named 'nowhere' (…, line 1)",
        ),
        ("\nraise ValueError('a\\x1b[2J')", "shop:app: the import failed: ValueError: a\\x1b[2J (…, line 2)"),
        ("import sys; sys.exit(3)", "shop:app: the import failed: SystemExit: 3 (…, line 1)"),
        ("x = 1", "shop:app: the import failed: AttributeError: module 'shop' has no attribute 'app'"),
        (
            "import os; os._exit(7)",
            "shop:app: its process ended before the import was done (exit status 7); see what it printed",
        ),
    ],
)
def test_an_import_that_fails_is_told_in_one_line(folder: Path, coverage: Coverage, code: str, said: str) -> None:
    (folder / "shop.py").write_text(code)

    ran = coverage("shop:app")

    assert (ran.status, ran.out) == (2, "")
    assert ran.err.replace(str(folder / "shop.py"), "…") == f"otel-audit: {said}\n"


def test_an_import_without_end_is_ended_and_so_is_what_it_started(folder: Path, coverage: Coverage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (folder / "shop.py").write_text(
            "import socket, subprocess, sys\n"
            f"code = 'import socket; socket.create_connection((\"127.0.0.1\", {port})).recv(1)'\n"
            "subprocess.run([sys.executable, '-I', '-c', code])\n"
        )

        ran = coverage("shop:app", "--timeout", "15s")
        connection, _ = server.accept()

        assert (ran.status, ran.out) == (2, "")
        assert "shop:app: its import did not end within 15 s" in ran.err
        assert connection.recv(1) == b""
        connection.close()


def test_what_the_application_prints_and_leaves_running_disturbs_nothing(
    folder: Path, coverage: Coverage, tmp_path: Path
) -> None:
    (folder / "shop.py").write_text(
        "import atexit, sqlite3, threading\n"
        "print('hello')\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "sqlite3.connect(':memory:').execute('SELECT 1')\n" + FLASK
    )

    ran = coverage("shop:app", "--json")

    assert (ran.status, ran.routes("route"), ran.err) == (0, [("/",)], "hello\n")
    assert not (tmp_path / "state").exists()


def test_nothing_of_the_surroundings_sends_anything() -> None:
    given = {
        "OTEL_AUDIT_COVERAGE": "c",
        "OTEL_AUDIT_DIR": "/var/lib/otel-audit",
        "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_AUDIT_IDENTITY": "file:c.pem,k.pem",
        "OTEL_AUDIT_POLICY": "policy.yaml",
        "OTEL_CONFIG_FILE": "otel.yaml",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_TRACES_EXPORTER": "otlp",
        "SHOP": "1",
    }

    kept = environment(given)

    assert kept["OTEL_AUDIT_DIR"] == "memory:"
    assert kept["OTEL_TRACES_EXPORTER"] == kept["OTEL_LOGS_EXPORTER"] == kept["OTEL_METRICS_EXPORTER"] == "none"
    assert (kept["OTEL_AUDIT_POLICY"], kept["SHOP"]) == ("policy.yaml", "1")
    assert not kept.keys() & {
        "OTEL_AUDIT_COVERAGE",
        "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT",
        "OTEL_AUDIT_IDENTITY",
        "OTEL_CONFIG_FILE",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    }


def test_hostile_names_are_escaped(folder: Path, coverage: Coverage) -> None:
    (folder / "shop.py").write_text(
        "from flask import Flask\n"
        "app = Flask(__name__, static_folder=None)\n"
        "app.add_url_rule('/\\x1b[2J\\u202e', 'a\\x1b]0;b', print)\n"
    )

    table, document = coverage("shop:app"), coverage("shop:app", "--json", "--write", "kept.json")

    assert "\\x1b[2J\\u202e" in table.out
    assert not any(character in table.out + document.out for character in "\x1b\u202e")
    assert json.loads((folder / "kept.json").read_bytes())["routes"][0]["endpoint"] == "a\x1b]0;b"


def test_a_manifest_is_kept_and_what_differs_from_it_is_told(folder: Path, coverage: Coverage) -> None:
    (folder / "shop.py").write_text(FLASK)
    first = coverage("shop:app", "--json", "--write", "kept.json")
    kept = (folder / "kept.json").read_bytes()
    same = coverage("shop:app", "--json", "--check", "kept.json")
    (folder / "shop.py").write_text(FLASK + "app.add_url_rule('/new', 'new', print)\n")
    more = coverage("shop:app", "--json", "--check", "kept.json")
    (folder / "kept.json").write_text("{}")
    unreadable = coverage("shop:app", "--check", "kept.json")

    assert first.found["sha256"] == hashlib.sha256(kept).hexdigest() == same.found["sha256"]
    assert (same.status, same.found["differences"]) == (0, [])
    assert (more.status, more.found["differences"]) == (1, ["routes: /new new GET, HEAD, OPTIONS is new"])
    assert unreadable.status == 2
    assert unreadable.err == (
        "otel-audit: --check 'kept.json': expected a file that otel-audit coverage --write has made\n"
    )


@pytest.mark.parametrize(
    "rows", ['"routes":5', '"routes":[{}]', '"models":[5]', '"libraries":{}', '"models":[{"a":1}]']
)
def test_a_manifest_of_another_shape_is_none(rows: str, folder: Path, coverage: Coverage) -> None:
    (folder / "kept.json").write_text(f'{{{rows},"schema":"otel-audit-coverage/1"}}')

    ran = coverage("shop:app", "--check", "kept.json")

    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "expected a file that otel-audit coverage --write has made" in ran.err


def test_a_pipe_gets_each_row_in_one_line(folder: Path, coverage: Coverage) -> None:
    (folder / "shop.py").write_text(FLASK + "app.add_url_rule('/' + 'long/' * 30, 'e' * 60, print)\n")

    ran = coverage("shop:app", COLUMNS="")

    (line,) = (line for line in ran.out.splitlines() if "/long" in line)
    assert line.split()[0] == "/" + "long/" * 30
    assert line.split()[-1] == "e" * 60


@pytest.mark.parametrize("columns", [80, 120])
def test_the_tables_fit_the_terminal(folder: Path, coverage: Coverage, columns: int) -> None:
    (folder / "shop.py").write_text(FLASK + "app.add_url_rule('/' + 'long/' * 30, 'e' * 60, print)\n")

    ran = coverage("shop:app", COLUMNS=str(columns))

    assert ran.status == 0
    assert max(map(len, ran.out.splitlines())) <= columns
    assert ("endpoint" in ran.out) is (columns == 120)
    assert "Everything that is used is audited." in ran.out


def test_without_an_application_nothing_is_found(coverage: Coverage) -> None:
    ran = coverage()

    assert ran.status == 4
    assert "No route and no model was found: give APP, or set DJANGO_SETTINGS_MODULE." in " ".join(ran.out.split())


def test_an_unknown_reason_to_fail_is_refused(coverage: Coverage) -> None:
    ran = coverage("shop:app", "--fail-on", "everything")

    assert (ran.status, ran.err) == (
        2,
        "otel-audit: --fail-on 'everything': expected one of uncovered, skipped, nobody\n",
    )
