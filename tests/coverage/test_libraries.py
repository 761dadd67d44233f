"""What is installed and not hooked is told with why; what is used that way is uncovered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.coverage.conftest import install

if TYPE_CHECKING:
    from tests.coverage.conftest import Coverage, Ran

FLASK = "from flask import Flask\napp = Flask(__name__, static_folder=None)\napp.add_url_rule('/', 'home', print)\n"


def why(ran: Ran, library: str) -> tuple[bool, bool, str]:
    (found,) = (row for row in ran.found["libraries"] if row["library"] == library)
    return found["loaded"], found["hooked"], found["why"]


def test_a_driver_without_an_instrumentation_counts_once_the_application_loads_it(
    folder: Path, coverage: Coverage
) -> None:
    install(folder, "redis", "5.0")
    (folder / "redis.py").write_text("")
    (folder / "idle.py").write_text(FLASK)
    (folder / "shop.py").write_text(f"import redis\n{FLASK}")

    idle = coverage("idle:app", "--json", "--fail-on=uncovered")
    used = coverage("shop:app", "--json", "--fail-on=uncovered")

    assert (idle.status, why(idle, "redis")[:2]) == (0, (False, False))
    assert (used.status, used.found["uncovered"]) == (
        1,
        ["redis 5.0: what goes through it leaves no event of its own"],
    )


def test_what_is_accepted_as_unaudited_fails_nothing_and_is_still_said(folder: Path, coverage: Coverage) -> None:
    install(folder, "redis", "5.0")
    (folder / "redis.py").write_text("")
    (folder / "shop.py").write_text(f"import redis\n{FLASK}")
    (folder / "own.py").write_text(f"import redis\nfrom _sqlite3 import connect as unaudited\n{FLASK}")

    shop = coverage("shop:app", "--json", "--fail-on=uncovered", "--accept=redis", "--accept=celery")
    own = coverage("own:app", "--json", "--fail-on=uncovered", "--accept=redis")

    assert (shop.status, len(shop.found["uncovered"])) == (0, 1)
    assert (own.status, len(own.found["uncovered"])) == (1, 2)


def test_a_framework_outside_of_the_supported_range_is_uncovered(folder: Path, coverage: Coverage) -> None:
    install(folder, "flask", "2.2.5")
    (folder / "shop.py").write_text(FLASK)

    ran = coverage("shop:app", "--json", "--fail-on=uncovered")

    assert (ran.status, ran.routes("recorded")) == (1, [("no",)])
    assert why(ran, "flask") == (True, False, "it is outside of the supported range, flask >= 3.0")


def test_a_function_of_sqlite3_that_was_taken_by_name_is_found(folder: Path, coverage: Coverage) -> None:
    (folder / "shop.py").write_text(f"from _sqlite3 import connect as unaudited\n{FLASK}")

    ran = coverage("shop:app", "--json", "--fail-on=uncovered")

    assert (ran.status, why(ran, "sqlite3")) == (
        1,
        (True, False, "taken by name before it was audited: shop.unaudited"),
    )


def test_drivers_functions_that_were_replaced_are_found(folder: Path, coverage: Coverage) -> None:
    (folder / "shop.py").write_text(
        "import psycopg, sqlite3\n"
        "sqlite3.connect = lambda name: None\n"
        "psycopg.Cursor.execute = lambda self, query: self\n" + FLASK
    )

    ran = coverage("shop:app", "--json")

    assert why(ran, "sqlite3") == (True, False, "the application has replaced sqlite3.connect")
    assert why(ran, "psycopg") == (True, False, "the application has replaced psycopg.Cursor.execute")


def test_an_application_that_nothing_hooked_serves_is_uncovered(folder: Path, coverage: Coverage) -> None:
    (folder / "shop.py").write_text("def application(environ, start_response): ...\n")

    ran = coverage("shop", "--json", "--fail-on=uncovered")

    assert (ran.status, ran.found["uncovered"]) == (
        1,
        ["application shop (builtins.function): nothing that is hooked serves it"],
    )


def test_with_auditing_off_nothing_is_covered(folder: Path, coverage: Coverage) -> None:
    (folder / "shop.py").write_text(FLASK)

    ran = coverage("shop:app", "--json", "--fail-on=uncovered", OTEL_AUDIT_ENABLED="false")

    assert (ran.status, ran.routes("recorded")) == (1, [("no",)])
