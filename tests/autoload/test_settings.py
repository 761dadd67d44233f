"""`opentelemetry-instrument python app.py`, however OpenTelemetry itself is set up: the requests are recorded."""

from __future__ import annotations

import signal
import sys
import sysconfig
import venv
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.autoload.servers import Program, Spool, Start

OTHERS = ",".join(
    sorted(
        entry_point.name
        for entry_point in entry_points(group="opentelemetry_instrumentor")
        if not entry_point.name.startswith("otel_audit_")
    )
)

SETTINGS: dict[str, dict[str, str | None]] = {
    "as it comes": {},
    "every trace left out": {"OTEL_TRACES_SAMPLER": "always_off"},
    "every other instrumentation disabled by name": {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": OTHERS},
    "all instrumentations disabled": {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"},
    "the SDK disabled": {"OTEL_SDK_DISABLED": "true"},
    "every record signed": {"OTEL_AUDIT_SIGN": "record"},
    "every record synced": {"OTEL_AUDIT_FSYNC": "always"},
    "fail mode closed": {"OTEL_AUDIT_FAIL_MODE": "closed"},
}


def assert_audited(program: Program, spool: Spool) -> None:
    """One request, recorded with its query under one trace; the stream closed when the process is told to stop."""
    assert program.get("/items/7") == str(program.pid)
    assert program.stop() == -signal.SIGTERM

    (records,) = spool.streams().values()
    events = [record for record in records if not record["event"].startswith("audit.")]
    assert [record["event"] for record in events] == ["db.query", "http.server.request"]
    assert events[1]["target"]["id"] == "/items/7"
    assert len({record["trace_id"] for record in events}) == 1
    assert spool.ends() == ["shutdown"]
    spool.assert_verified()


@pytest.mark.parametrize("setting", SETTINGS)
def test_requests_are_recorded_with(setting: str, instrument: Start, spool: Spool) -> None:
    program = instrument("python", "app.py", **SETTINGS[setting])
    assert_audited(program, spool)


DECLARATIVE = """
file_format: "1.0"
tracer_provider:
  processors: [{simple: {exporter: {console: {}}}}]
  sampler: {always_off: {}}
# without it every Flask request fails, audited or not: opentelemetry-sdk 1.45.1 then extracts no context at all
propagator:
  composite: [{tracecontext: {}}, {baggage: {}}]
"""


def test_requests_are_recorded_with_a_declarative_configuration(
    instrument: Start, spool: Spool, tmp_path: Path
) -> None:
    config = tmp_path / "otel.yaml"
    config.write_text(DECLARATIVE)
    program = instrument("python", "app.py", OTEL_CONFIG_FILE=str(config))
    assert_audited(program, spool)
    assert "Failed to auto initialize" not in program.log


def test_where_opentelemetry_itself_cannot_start_nothing_is_loaded_after_it(
    instrument: Start, spool: Spool
) -> None:
    """A known limit: opentelemetry-instrumentation 0.66 calls no hook once a configurator has failed.

    The application then runs without auditing even in fail mode closed, unless it calls `configure()` itself.
    """
    program = instrument("python", "app.py", OTEL_TRACES_EXPORTER="no-such-exporter", OTEL_AUDIT_FAIL_MODE="closed")
    program.get("/items/7")
    program.stop()
    assert "Failed to auto initialize OpenTelemetry" in program.log
    assert spool.streams() == {}


@pytest.fixture(scope="module")
def python_without_distro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with everything that is installed here but the metadata of the stock distro."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, symlinks=True)
    (packages,) = directory.glob("lib/python*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith("opentelemetry_distro-") and not (packages / entry.name).exists():
            (packages / entry.name).symlink_to(entry)
    return directory / "bin" / "python"


def test_requests_are_recorded_with_no_distro_at_all(
    start: Start, spool: Spool, python_without_distro: Path
) -> None:
    shown = start(
        str(python_without_distro),
        "-c",
        "from importlib.metadata import entry_points; print(*entry_points(group='opentelemetry_distro'))",
    )
    assert shown.wait() == 0
    assert shown.log.strip() == ""

    run = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
    program = start(str(python_without_distro), "-c", run, str(python_without_distro), "app.py")
    assert_audited(program, spool)


def test_a_disabled_sdk_is_said_not_to_disable_auditing(instrument: Start) -> None:
    program = instrument("python", "-c", "pass", OTEL_SDK_DISABLED="true")
    assert program.wait() == 0
    assert "OTEL_SDK_DISABLED=true does not disable auditing" in program.log


def test_disabling_everything_and_one_of_ours_leaves_that_out(instrument: Start, spool: Spool) -> None:
    program = instrument("python", "app.py", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*,otel_audit_sqlite3")
    program.get("/items/7")
    program.stop()
    assert [record["event"] for record in spool.records()] == ["http.server.request"]


def test_settings_are_flags_of_the_command_too(instrument: Start, spool: Spool, tmp_path: Path) -> None:
    elsewhere = Spool(tmp_path / "elsewhere")
    program = instrument(
        "--audit_dir",
        str(elsewhere.directory),
        "--audit_excluded_paths",
        "/nothing*",
        "python",
        "app.py",
        OTEL_AUDIT_DIR=None,
    )
    program.get("/nothing")
    assert_audited(program, elsewhere)


def test_switched_off_it_says_so_and_records_nothing(instrument: Start, spool: Spool) -> None:
    program = instrument("python", "app.py", OTEL_AUDIT_ENABLED="false")
    assert program.get("/items/7") == str(program.pid)
    assert program.stop() == -signal.SIGTERM
    assert "auditing is OFF (OTEL_AUDIT_ENABLED=false)" in program.log
    assert not spool.directory.exists()


@pytest.mark.parametrize("mode", [None, "open"])
def test_an_invalid_setting_in_open_mode_lets_the_application_run_and_says_that_nothing_is_audited(
    mode: str | None, instrument: Start, spool: Spool
) -> None:
    program = instrument("python", "app.py", OTEL_AUDIT_SEAL_INTERVAL="soon", OTEL_AUDIT_FAIL_MODE=mode)
    assert program.get("/items/7") == str(program.pid)
    assert program.stop() == -signal.SIGTERM
    assert "NOTHING IS AUDITED in this process: OTEL_AUDIT_SEAL_INTERVAL='soon'" in program.log
    assert spool.streams() == {}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_AUDIT_SEAL_INTERVAL": "soon"}, "OTEL_AUDIT_SEAL_INTERVAL='soon': expected a duration"),
        ({"OTEL_AUDIT_DIR": "/proc/nothing/state"}, "/proc/nothing"),
        ({"OTEL_AUDIT_POLICY": "/nowhere.yaml"}, "/nowhere.yaml"),
        ({"OTEL_AUDIT_IDENTITY": "file:/no.pem,/no.key"}, "/no.pem"),
        ({"OTEL_AUDIT_FAIL_MODE": "Closed"}, "OTEL_AUDIT_FAIL_MODE='Closed': expected one of open, closed"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_in_closed_mode_what_cannot_be_audited_does_not_start(
    variables: dict[str, str], said: str, instrument: Start
) -> None:
    program = instrument("python", "-c", "print('started')", **{"OTEL_AUDIT_FAIL_MODE": "closed", **variables})
    assert program.wait() == 1
    assert "otel-audit: refusing to start" in program.log
    assert said in program.log
    assert "started" not in program.log


PROGRAMMATIC = """
import otel_audit
from app import app
from otel_audit_flask import FlaskAuditInstrumentor

otel_audit.configure()
FlaskAuditInstrumentor().instrument_app(app)
app.run(port=0)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_two_lines_in_the_application_do_without_the_command(
    number: signal.Signals, start: Start, spool: Spool
) -> None:
    program = start(sys.executable, "-c", PROGRAMMATIC)
    program.get("/items/7")
    # werkzeug's server takes SIGINT for an orderly end
    assert program.stop(number) == (0 if number == signal.SIGINT else -number)
    assert spool.paths() == ["/items/7"]
    assert spool.ends() == ["shutdown"]
    spool.assert_verified()
