"""For each command, what it can print planted with escapes: where and with what it runs, which plants must show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import otel_audit
from otel_audit.event import AuditEvent, Source
from otel_audit.evidence.identity import create_issuer
from otel_audit.settings import Settings
from tests.hostile.answering import answering
from tests.hostile.escapes import ESCAPES, NOT_UTF8, SHORT, planted

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SERVICE = "service" + SHORT
HTTP = b"HTTP/1.1 %s\r\ncontent-type: text/plain"


@dataclass(frozen=True)
class Planted:
    """A command to run."""

    arguments: Sequence[str | Path]
    environ: dict[str, str]
    shown: Sequence[str]
    """Tags of plants that stand in what is printed for people, escaped."""
    in_json: Sequence[str] = ()
    """The same of `--json`."""
    interrupt_after: bytes | None = None
    directory: Path = field(default_factory=Path.cwd)


Plant: TypeAlias = Callable[[Path], "Generator[Planted]"]
CASES: dict[str, tuple[tuple[str, ...], Plant]] = {}
"""By name: the command, and what plants its surroundings in a directory."""


def case(*command: str) -> Callable[[Plant], Plant]:
    """Register what plants for *command*."""

    def register(plant: Plant) -> Plant:
        CASES[plant.__name__.strip("_")] = (command, plant)
        return plant

    return register


def _state(place: Path) -> tuple[Path, dict[str, str]]:
    directory = place / (planted("state") + NOT_UTF8)
    return directory, {"OTEL_AUDIT_DIR": str(directory), "OTEL_SERVICE_NAME": SERVICE, "HOME": str(place)}


def _log(directory: Path, *, identity: str = "self") -> None:
    """A closed stream in which every string is planted."""
    otel_audit.configure(Settings(directory=directory, service_name=SERVICE, identity=identity))
    audit = otel_audit.get_audit_logger("test")
    who = otel_audit.Actor(planted("actor"), "user", "session", name=planted("name"))
    context = {
        name: planted(tag)
        for tag, name in (
            ("method", "http.request.method"), ("summary", "db.query.summary"), ("reason", "audit.reason"),
            ("error", "error.type"), ("role", "user.roles"), ("other", "planted"),
        )
    }  # fmt: skip
    for event in (planted("event"), "http.server.request", "db.query"):
        audit.emit_event(
            AuditEvent(
                event, planted("ACTION").upper(), "failure", who, otel_audit.Target(planted("target"), "file"),
                Source(planted("source"), "hostname"), None, TRACE, "00f067aa0ba902b7", dict(context),
            )
        )  # fmt: skip
    otel_audit.shutdown()


def _crash(environ: dict[str, str]) -> None:
    code = (
        "import os, otel_audit; otel_audit.configure(); "
        "otel_audit.get_audit_logger('t').emit('a.b', action='READ'); os._exit(9)"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    subprocess.run([sys.executable, "-c", code], env=kept | environ, check=False)


def _issuer(place: Path) -> tuple[Path, str]:
    """A certificate whose name acts, in a file whose name does; and the setting that names it."""
    directory = place / planted("issuers")
    directory.mkdir()
    certificate, key = directory / "issuer.pem", directory / "key.pem"
    create_issuer(certificate, key, name="issuer" + SHORT)
    return certificate, f"file:{certificate},{key}"


@case("verify")
def _verify_an_altered_log(place: Path) -> Generator[Planted]:
    directory, environ = _state(place)
    certificate, identity = _issuer(place)
    _log(directory, identity=identity)
    (segment,) = directory.glob("*/*/*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:2] + lines[3:]))
    yield Planted(
        ["verify", directory, "--trust", certificate],
        environ,
        ["service", "issuer"],
        ["service", "issuer"],
    )


@case("verify")
def _verify_with_a_witness_that_refuses(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    with answering(HTTP % ("500 " + planted("reason").replace("\n", "").replace("\r", "")).encode()) as address:
        yield Planted(["verify", "--witness", f"{address}/{planted('path')}"], environ, ["path"], ["path"])


@case("verify")
def _verify_with_a_witness_that_points_elsewhere(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    elsewhere = planted("elsewhere").replace("\n", "").replace("\r", "").encode()
    with answering(HTTP % b"302 Found" + b"\r\nlocation: " + elsewhere) as address:
        yield Planted(["verify", "--witness", address], environ, ["elsewhere"], ["elsewhere"])


@case("verify")
def _verify_with_a_witness_that_is_none(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    witness = place / planted("file")
    witness.write_text(planted("line"))
    yield Planted(["verify", "--witness", witness], environ, ["file", "line"], ["file", "line"])


@case("verify")
def _verify_what_is_packed_badly(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    packed = place / f"{planted('packed')}.jsonl.zst"
    packed.write_bytes(ESCAPES.encode())
    yield Planted(["verify", packed], environ, ["packed"], ["packed"])


@case("verify")
def _verify_what_is_not_there(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    yield Planted(["verify", planted("missing") + NOT_UTF8], environ, ["missing"], ["missing"])


@case("show")
def _show_everything(place: Path) -> Generator[Planted]:
    directory, environ = _state(place)
    _log(directory)
    tags = ["actor", "name", "ACTION", "target", "source", "event", "summary", "error"]
    yield Planted(["show"], environ | {"COLUMNS": "900"}, tags, [*tags, "reason", "other"])


@case("show")
def _show_a_trace(place: Path) -> Generator[Planted]:
    directory, environ = _state(place)
    _log(directory)
    yield Planted(
        ["show", "--trace", TRACE], environ | {"COLUMNS": "900"}, ["actor", "target", "summary"], ["actor"]
    )


@case("show")
def _show_and_follow(place: Path) -> Generator[Planted]:
    directory, environ = _state(place)
    _log(directory)
    yield Planted(["show", "--follow"], environ, ["actor"], ["actor"], interrupt_after=b"target")


@case("recover")
def _recover_what_a_sink_refuses(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    _crash(environ)
    with answering(HTTP % b"400 Bad", planted("refusal").encode()) as address:
        sink = {"OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": f"{address}/{planted('sink')}"}
        yield Planted(["recover", "--timeout", "1s"], environ | sink, ["service", "state", "sink"], ["service"])


@case("recover")
def _recover_with_a_sink_that_is_away(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    _crash(environ)
    with answering(HTTP % b"503 Busy", planted("busy").encode()) as address:
        sink = {"OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": address}
        yield Planted(
            ["recover", "--timeout", "1s"], environ | sink, ["service", "state", "busy"], ["service", "busy"]
        )


@case("ship")
def _ship_to_a_sink_that_is_busy(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    _crash(environ)
    with answering(HTTP % b"503 Busy", planted("busy").encode()) as address:
        sink = {"OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": f"{address}/{planted('sink')}"}
        yield Planted(["ship"], environ | sink, ["busy", "sink"], ["busy", "sink"], interrupt_after=b"busy")


@case("keys", "init")
def _keys_init(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    for name in ("first", "second"):
        (place / planted(name)).mkdir()
    secret = place / planted("passphrase")
    secret.write_text(planted(""))
    yield Planted(
        ["keys", "init", place / planted("first"), "--passphrase-file", secret],
        environ,
        ["first", "passphrase"],
        ["first"],
    )


@case("keys", "init")
def _keys_init_with_a_name_that_acts(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    yield Planted(["keys", "init", place, "--name", "name" + SHORT], environ, ["name"], ["name"])


@case("keys", "show")
def _keys_show(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    yield Planted(["keys", "show"], environ | {"OTEL_AUDIT_IDENTITY": _issuer(place)[1]}, ["issuer"], ["issuer"])


@case("keys", "export")
def _keys_export(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    yield Planted(["keys", "export"], environ | {"OTEL_AUDIT_IDENTITY": _issuer(place)[1]}, [], ["issuer"])


APPLICATION = """
from flask import Flask
app = Flask(__name__, static_folder=None)
app.add_url_rule({route!r}, {endpoint!r}, print)
"""


def _application(place: Path, code: str) -> tuple[Path, dict[str, str]]:
    _, environ = _state(place)
    (place / "planted_app.py").write_text(code)
    policy = place / planted("policy")
    policy.write_text(f"rules:\n  - path: {json.dumps('/' + ESCAPES)}\n    action: skip\n")
    root = str(Path(otel_audit.__file__).parents[1])
    return policy, environ | {"PYTHONPATH": f"{place}{os.pathsep}{root}", "PYTHONUTF8": "1"}


@case("coverage")
def _coverage_of_routes(place: Path) -> Generator[Planted]:
    code = APPLICATION.format(route="/" + planted("route"), endpoint=planted("endpoint").replace(".", ""))
    policy, environ = _application(place, code)
    kept = place / planted("kept")
    kept.write_text(
        json.dumps(
            {"application": planted("was"), "schema": "otel-audit-coverage/1"},
            ensure_ascii=False,
            separators=(",", ":"),
        )
    )
    yield Planted(
        ["coverage", "planted_app:app", "--check", kept],
        environ | {"OTEL_AUDIT_POLICY": str(policy), "COLUMNS": "900"},
        ["route", "endpoint", "was"], ["route", "endpoint", "was"], directory=place,
    )  # fmt: skip


@case("coverage")
def _coverage_of_what_cannot_be_imported(place: Path) -> Generator[Planted]:
    _, environ = _application(place, f"raise ValueError({planted('raised')!r})")
    yield Planted(["coverage", "planted_app:app"], environ, ["raised"], ["raised"], directory=place)


@case("coverage")
def _coverage_with_a_policy_that_is_none(place: Path) -> Generator[Planted]:
    policy, environ = _application(place, "")
    policy.write_text("rules:\n  - " + json.dumps(planted("rule")) + ": 1\n")
    yield Planted(
        ["coverage"], environ | {"OTEL_AUDIT_POLICY": str(policy)}, ["policy", "rule"], ["policy", "rule"]
    )


@case("doctor")
def _doctor_of_everything(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    _crash(environ)
    policy = place / planted("policy")
    policy.write_text("")
    with answering(HTTP % b"403 Forbidden", planted("answer").encode()) as address:
        settings = {
            "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": address, "OTEL_AUDIT_POLICY": str(policy),
            "OTEL_AUDIT_IDENTITY": _issuer(place)[1], "OTEL_AUDIT_EXCLUDED_PATHS": planted("/excluded"),
            "OTEL_AUDIT_UNKNOWN" + SHORT: planted("value"),
            "OTEL_RESOURCE_ATTRIBUTES": f"a={planted('attribute')}",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": planted("disabled"),
            "OTEL_TRACES_EXPORTER": planted("exporter"),
        }  # fmt: skip
        yield Planted(
            ["doctor"], environ | settings | {"COLUMNS": "900"},
            ["service", "state", "policy", "issuers", "excluded", "UNKNOWN", "exporter"],
            ["service", "state", "policy", "issuers", "excluded", "UNKNOWN", "exporter"],
        )  # fmt: skip


@case("doctor")
def _doctor_of_what_is_wrong(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    yield Planted(
        ["doctor"],
        environ
        | {"OTEL_AUDIT_SEAL_INTERVAL": planted("interval"), "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": planted("sink")},
        ["interval", "sink"], ["interval", "sink"],
    )  # fmt: skip


@case("demo")
def _demo_in_a_folder_that_acts(place: Path) -> Generator[Planted]:
    _, environ = _state(place)
    folder = place / planted("folder")
    folder.mkdir()
    yield Planted(["demo", "--keep"], environ | {"TMPDIR": str(folder)}, ["folder"], ["folder"], directory=place)
