"""What every command does alike: usage errors, a missing extra, closed pipes, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Cli

COMMAND = [sys.executable, "-m", "otel_audit.cli"]
VERBS = ("demo", "verify", "show", "recover", "keys", "doctor")
ANY_ARGUMENT = st.text(st.characters(exclude_characters="\0"), max_size=40)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["keys"],
        ["keys", "nope"],
        ["verify", "--nope"],
        ["verify", "--trust"],
        ["verify", "--since", "yesterday"],
        ["verify", "--keep", "-1d"],
        ["verify", "/does/not/exist"],
        ["verify", "loki+https://alice:secret@host/?query={}"],
        ["verify", "gopher://host"],
        ["verify", "--trust", "/does/not/exist"],
        ["verify", "--trust", os.devnull],
        ["verify", "--witness", "/does/not/exist"],
        ["show", "--limit", "0"],
        ["show", "--limit", "many"],
        ["show", "--trace", "../../etc"],
        ["show", "--outcome", "good"],
        ["show", "--until", "9999999999d"],
        ["keys", "init", "/does/not/exist"],
    ],
)
def test_bad_usage_is_one_line_and_status_2(cli: Cli, arguments: list[str]) -> None:
    ran = cli(*arguments)

    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("otel-audit: ")
    assert ran.err.count("\n") == 1
    assert "secret" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["keys", "init", "missing"],
            "missing: no such directory to make an issuer in; make it first, or name another",
        ),
        (["keys", "init", "file"], "file: no such directory to make an issuer in; make it first, or name another"),
        (["verify", "--since"], "otel-audit verify --help says what is accepted"),
        (["show", "--limit", "x"], "--limit 'x': expected a number, 1 or more"),
        (["verify", "--witness", "missing"], "expected one <stream>:<seq>:<hash> a line"),
        (["keys", "init", "--passphrase-file", "missing"], "expected a file with the passphrase"),
    ],
)
def test_a_newcomer_s_mistake_is_answered_with_what_to_do(
    cli: Cli, tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "file").write_text("")

    assert told in cli(*arguments).err


@pytest.mark.parametrize("command", [["keys", "show"], ["recover"], ["ship", "--once"]])
def test_a_state_directory_that_is_a_file_is_not_an_empty_one(
    cli: Cli, state: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Once `recover` said that nothing was left open there."""
    state.write_text("")
    monkeypatch.setenv("OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")

    ran = cli(*command)

    assert (ran.status, ran.out) == (2, "")
    assert ran.err == f"otel-audit: OTEL_AUDIT_DIR='{state}': expected a directory, and it is none\n"


@pytest.mark.parametrize("command", [["recover"], ["ship", "--once"]])
def test_a_state_directory_that_does_not_exist_is_remarked_upon(
    cli: Cli, state: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Before the first start that is well; a misspelt one in a cron job is not."""
    monkeypatch.setenv("OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")

    ran = cli(*command)

    assert ran.status == 0
    assert f"{state} does not exist (yet)" in " ".join(ran.err.split())


def test_an_error_message_obeys_no_terminal_sequence(cli: Cli) -> None:
    assert cli("verify", "\x1b[2J\u202e").err.startswith(r"otel-audit: \x1b[2J\u202e: no such file")


def test_a_bad_setting_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AUDIT_SEAL_INTERVAL", "soon")

    ran = cli("verify")

    assert (ran.status, ran.err.partition(":")[0]) == (2, "otel-audit")
    assert "OTEL_AUDIT_SEAL_INTERVAL='soon': expected a duration" in ran.err


def test_memory_keeps_nothing_that_could_be_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AUDIT_DIR", "memory:")

    assert (cli("verify").status, cli("show").status, cli("recover").status) == (2, 2, 2)


def test_without_a_verb_the_verbs_are_listed(cli: Cli) -> None:
    ran = cli()

    assert ran.status == 2
    assert all(f"\n  {verb} " in ran.out for verb in VERBS)


@given(
    option=st.sampled_from(
        ["--since", "--until", "--now", "--grace", "--keep", "--place", "--witness", "--service"]
    ),
    value=ANY_ARGUMENT,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_no_option_of_verify_makes_a_traceback(cli: Cli, option: str, value: str) -> None:
    assert cli("verify", option, value).status in (0, 2, 3, 4)


@given(
    option=st.sampled_from(
        ["--since", "--until", "--limit", "--trace", "--actor", "--target", "--event", "--outcome"]
    ),
    value=ANY_ARGUMENT,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_no_option_of_show_makes_a_traceback(cli: Cli, option: str, value: str) -> None:
    assert cli("show", option, value).status in (0, 2, 4)


@given(source=ANY_ARGUMENT)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_no_source_makes_a_traceback(cli: Cli, source: str) -> None:
    assert cli("verify", "--", source).status in (2, 3, 4)


@given(content=st.binary(max_size=400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_no_content_of_a_file_makes_a_traceback(cli: Cli, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)

    assert cli("verify", path, "--witness", path, "--trust", path).status == 2
    assert cli("verify", path).status in (1, 3, 4)
    assert cli("show", path).status in (1, 4)


def test_without_the_extra_one_line_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; from otel_audit.cli import main; main()"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == 'otel-audit: the command line is not installed: pip install "otel-audit[cli]"\n'


@pytest.mark.parametrize("arguments", [["show"], ["verify"], ["keys", "export"], ["--help"]])
def test_a_closed_pipe_ends_quietly(log: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """What is still in Python's buffers must not complain either, when the interpreter ends."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as closed:
        ran = subprocess.run([*COMMAND, *arguments], stdout=closed, stderr=subprocess.PIPE, text=True, check=False)

    assert ran.returncode == 141
    assert "Traceback" not in ran.stderr
    assert "BrokenPipe" not in ran.stderr


def test_ctrl_c_ends_quietly(log: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "show", "--follow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        following.stdout.readline()
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=60)

    assert following.returncode == 130
    assert "Traceback" not in err


def test_a_name_that_the_locale_cannot_print_is_escaped(log: Path) -> None:
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "OTEL_SERVICE_NAME": "Zoë"}

    ran = subprocess.run([*COMMAND, "doctor"], env=environ, capture_output=True, text=True, check=False)

    assert "Zo\\xeb" in ran.stdout
