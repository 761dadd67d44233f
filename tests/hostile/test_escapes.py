"""Nothing that any command prints acts on a terminal, whoever wrote what it prints; and JSON is JSON."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from otel_audit.cli.commands import app
from otel_audit.variables import VARIABLES
from tests.hostile.escapes import ESCAPES, NOT_UTF8, acting, planted
from tests.hostile.planting import CASES, Planted

if TYPE_CHECKING:
    from tests.hostile.commands import Commands, Ran


def _verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the program that does something, as the program itself lists them."""
    below: dict[str, Any] = getattr(command, "commands", {})
    if not below:
        yield path, command
    for name, one in below.items():
        yield from _verbs(one, (*path, name))


VERBS = dict(_verbs(typer.main.get_command(app)))


def test_every_command_has_a_case() -> None:
    """One that is new says here what it can print, and of whom."""
    assert VERBS.keys() == {command for command, _ in CASES.values()}


@contextmanager
def _planted(name: str, place: Path) -> Generator[Planted]:
    plant = contextmanager(CASES[name][1])
    with plant(place) as made:
        yield made


def _run(commands: Commands, made: Planted, *options: str, terminal: bool) -> Ran:
    ran = commands.run(
        [*made.arguments, *options], made.environ, made.directory,
        terminal=terminal, interrupt_after=made.interrupt_after,
    )  # fmt: skip
    assert b"Traceback" not in ran.err
    assert ran.status in ((0, 130) if made.interrupt_after else (0, 1, 2, 3, 4))
    assert acting(ran.out, terminal=terminal) == []
    assert acting(ran.err, terminal=terminal, is_error=True) == []
    return ran


# the demonstration takes as long as all others: a terminal is where it is for
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("demo")])
def test_what_people_read_acts_on_nothing(commands: Commands, name: str, tmp_path: Path) -> None:
    with _planted(name, tmp_path) as made:
        ran = _run(commands, made, terminal=False)

    printed = "".join((ran.out + ran.err).decode().split())
    assert [tag for tag in made.shown if f"{tag}\\" not in printed and f"{tag}[2J" not in printed] == []


@pytest.mark.parametrize("name", CASES)
def test_what_a_terminal_shows_acts_on_nothing(commands: Commands, name: str, tmp_path: Path) -> None:
    with _planted(name, tmp_path) as made:
        _run(commands, made, terminal=True)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("demo")])
def test_what_machines_read_is_json_and_acts_on_nothing(commands: Commands, name: str, tmp_path: Path) -> None:
    with _planted(name, tmp_path) as made:
        ran = _run(commands, made, "--json", terminal=False)

    for line in ran.out.splitlines():
        json.loads(line)
    printed = (ran.out + ran.err).decode()
    assert [tag for tag in made.in_json if f"{tag}\\" not in printed and f"{tag} [2J" not in printed] == []


@pytest.mark.parametrize("command", VERBS, ids=" ".join)
def test_a_usage_error_acts_on_nothing(commands: Commands, command: tuple[str, ...], tmp_path: Path) -> None:
    """Each option with a value, each that takes none, one that is not known, one argument too many."""
    value = planted("value") + NOT_UTF8
    mistakes = [["--" + value], [value, value]]
    for parameter in VERBS[command].params:
        if parameter.param_type_name == "option":
            option = parameter.opts[0]
            mistakes.append([f"{option}={value}"] if parameter.is_flag else [option, value])

    for mistake in mistakes:
        made = Planted([*command, *mistake], {"OTEL_AUDIT_DIR": str(tmp_path / "state")}, [], directory=tmp_path)
        ran = _run(commands, made, terminal=False)
        assert ran.err.count(b"\n") == 1 or ran.status != 2


NAMES = sorted({name for variable in VARIABLES for name in (variable.name, *variable.fallbacks)})


@pytest.mark.parametrize(
    "value",
    [planted("value") + NOT_UTF8, f"file:{ESCAPES},{ESCAPES}", f"http://{ESCAPES}/"],
    ids=["text", "files", "address"],
)
def test_no_value_of_a_setting_acts(commands: Commands, value: str, tmp_path: Path) -> None:
    for name in NAMES:
        made = Planted(["keys", "show"], {"HOME": str(tmp_path), name: value}, [], directory=tmp_path)
        ran = _run(commands, made, terminal=False)
        assert ran.status in (2, 4), name
