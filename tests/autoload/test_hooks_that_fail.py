"""A library that cannot be hooked: the application goes on, which is said, or in fail mode `closed` does not start.

The libraries here are of a shape that no instrumentation knows, as a later version may be.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.autoload.servers import Program, Spool, Start, instrumented
from tests.autoload.test_settings import OTHERS, assert_audited

LIBRARIES = {
    "psycopg": {"psycopg/__init__.py": "__version__ = '99.0'"},
    "flask": {"flask/__init__.py": "", "flask/app.py": ""},
    "django": {
        "django/__init__.py": "",
        "django/core/__init__.py": "",
        "django/core/handlers/__init__.py": "",
        "django/core/handlers/base.py": "",
    },
}
IMPORTS = {
    "psycopg": "import psycopg",
    "flask": "import flask",
    "django": "import django.core.handlers.base",
}
STATUS = {"psycopg": 3, "flask": 1, "django": 3}
"""Python itself ends with 1 where it is still starting; only Flask's instrumentation imports its library then."""


@pytest.fixture
def instrument(start: Start) -> Start:
    """Contrib's own instrumentations left out: some import their library while Python starts."""

    def run(*command: str, **environment: str | None) -> Program:
        return instrumented(start)(*command, **{"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": OTHERS, **environment})

    return run


@pytest.fixture
def folder(start: Start, tmp_path: Path) -> Path:
    """Where programs are started, and import from."""
    del start
    return tmp_path / "folder"


def _strange(folder: Path, library: str) -> None:
    for name, text in LIBRARIES[library].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize("library", LIBRARIES)
def test_in_closed_mode_it_does_not_start(library: str, folder: Path, instrument: Start) -> None:
    _strange(folder, library)

    program = instrument("python", "-c", f"{IMPORTS[library]}; print('started')", OTEL_AUDIT_FAIL_MODE="closed")

    assert program.wait() == STATUS[library]
    assert "refusing to start (OTEL_AUDIT_FAIL_MODE=closed)" in program.log
    assert f"{library} is not audited" in program.log.replace("otel_audit_", "").replace(".core.handlers.base", "")
    assert "started" not in program.log


@pytest.mark.parametrize("library", LIBRARIES)
def test_in_open_mode_it_is_said_and_the_application_goes_on(library: str, folder: Path, instrument: Start) -> None:
    _strange(folder, library)

    program = instrument("python", "-c", f"{IMPORTS[library]}; print('started')")

    assert program.wait() == 0
    assert "is not audited" in program.log
    assert "refusing" not in program.log
    assert "started" in program.log


def test_an_application_that_does_without_the_library_where_it_is_not_there_does_not_do_without_its_audit(
    folder: Path, instrument: Start
) -> None:
    _strange(folder, "psycopg")

    program = instrument(
        "python",
        "-c",
        "try:\n    import psycopg\nexcept Exception:\n    pass\nprint('started')",
        OTEL_AUDIT_FAIL_MODE="closed",
    )

    assert program.wait() == 3
    assert "started" not in program.log


LATE = """
import threading

def use():
    import psycopg
    print("used", psycopg)

for _ in range(2):
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
print("alive")
"""


def test_a_second_import_after_a_thread_has_died_of_the_first_is_refused_too(
    folder: Path, instrument: Start
) -> None:
    _strange(folder, "psycopg")

    program = instrument("python", "-c", LATE, OTEL_AUDIT_FAIL_MODE="closed")

    assert program.wait() == 0
    assert program.log.count("refusing to start") == 2
    assert "alive" in program.log
    assert "used" not in program.log


def test_gunicorn_stops_as_a_whole(folder: Path, instrument: Start) -> None:
    """It starts a worker anew for ever that ends with any other status."""
    _strange(folder, "psycopg")
    (folder / "shop.py").write_text("import psycopg\n")

    program = instrument("gunicorn", "--bind", "127.0.0.1:0", "shop:app", OTEL_AUDIT_FAIL_MODE="closed")

    assert program.wait() == 3
    assert program.log.count("refusing to start") == 1


def test_an_instrumentation_that_is_left_out_by_name_stops_nothing(folder: Path, instrument: Start) -> None:
    _strange(folder, "flask")

    program = instrument(
        "python",
        "-c",
        "print('started')",
        OTEL_AUDIT_FAIL_MODE="closed",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=f"{OTHERS},otel_audit_flask",
    )

    assert program.wait() == 0
    assert "started" in program.log


def test_switched_off_it_stops_nothing(folder: Path, instrument: Start) -> None:
    _strange(folder, "psycopg")

    program = instrument(
        "python",
        "-c",
        "import psycopg; print('started')",
        OTEL_AUDIT_FAIL_MODE="closed",
        OTEL_AUDIT_ENABLED="false",
    )

    assert program.wait() == 0
    assert "started" in program.log


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_anothers_instrumentation_that_fails_takes_none_of_ours_along(
    mode: str, folder: Path, instrument: Start, spool: Spool
) -> None:
    """opentelemetry-instrumentation 0.66 loads nothing more after one that raised."""
    information = folder / "anothers-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: anothers\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[opentelemetry_instrumentor]\nanothers = anothers:Instrumentor\n"
    )
    (folder / "anothers.py").write_text("class Instrumentor:\n    def instrument(self, **_): 1 / 0\n")

    program = instrument("python", "app.py", OTEL_AUDIT_FAIL_MODE=mode)

    assert_audited(program, spool)
    assert "Instrumenting of anothers failed" in program.log
    assert "Attempting to instrument while already instrumented" not in program.log


@pytest.mark.parametrize("library", LIBRARIES)
def test_doctor_names_it(library: str, folder: Path, start: Start) -> None:
    _strange(folder, library)

    program = start(sys.executable, "-m", "otel_audit.cli", "doctor", "--json", PYTHONPATH=str(folder))

    assert program.wait() == 1
    looks = json.loads(program.log)["looks"]
    wrong = [look for look in looks if look["area"] == "hooks" and look["grade"] == "wrong"]
    assert [look["what"].partition(" ")[0] for look in wrong] == [library]
    assert "cannot be " in wrong[0]["message"]
    assert wrong[0]["do"]
