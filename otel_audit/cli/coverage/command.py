"""`otel-audit coverage`: what is audited, and what is not?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, cast

import orjson
import typer

from otel_audit.capture.coverage import MOST_MANIFEST_BYTES, is_manifest, manifest_bytes
from otel_audit.cli import terminal
from otel_audit.cli.arguments import duration
from otel_audit.cli.coverage.comparison import differences, is_comparable
from otel_audit.cli.coverage.process import surveyed
from otel_audit.cli.coverage.table import print_coverage
from otel_audit.cli.options import Json
from otel_audit.configure import read_policy
from otel_audit.errors import InvalidSetting, SourceError
from otel_audit.settings import Settings
from otel_audit.small_files import read_small

NOTHING = 4
_PATIENCE = timedelta(seconds=60)
_FAILURES = ("uncovered", "skipped", "nobody")


def coverage(
    application: Annotated[
        str,
        typer.Argument(
            metavar="APP",
            help="module:attribute, as for gunicorn; module:factory() is called. Default: Django's, of "
            "DJANGO_SETTINGS_MODULE.",
            show_default=False,
        ),
    ] = "",
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            metavar="WHAT",
            help="Status 1 when something is uncovered, a route is skipped by policy, or nobody can be known on "
            "one; repeatable.",
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="LIBRARY",
            help="A library that is known not to be audited, which --fail-on uncovered passes over; repeatable.",
        ),
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Keep what was found, for OTEL_AUDIT_COVERAGE.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="FILE", help="Say what differs from what was kept; status 1 when it does."),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="D", help="How long the import may take. Default: 60s.")
    ] = None,
    json: Json = False,
) -> int:
    """Which routes, models and drivers are audited, and which are not?

    Imports the application in a process of its own, as opentelemetry-instrument
    would start it, with records in memory only, and looks: at each route, the
    policy's rule for it, and whether it can be known who asks; at Django's models;
    at the frameworks and drivers that are installed. Run it with the service's
    environment; what the import prints goes to standard error.

    \b
    Examples:
      otel-audit coverage shop:app
      DJANGO_SETTINGS_MODULE=shop.settings otel-audit coverage --fail-on uncovered
      otel-audit coverage shop:app --fail-on uncovered --accept celery
      otel-audit coverage shop:app --write coverage.json
      otel-audit coverage shop:app --check coverage.json --json

    \b
    Exit status: 0 shown, 1 what --fail-on or --check asks about, 2 usage or the
    import failed, 4 no route and no model was found.
    """
    asked = _asked(fail_on)
    settings = Settings.from_environ(os.environ)
    read_policy(settings)  # a mistake there is told in one line, before anything is started
    kept = None if check is None else _kept(check)
    patience = duration("--timeout", timeout) or _PATIENCE
    found = surveyed(application, patience)
    manifest = manifest_bytes(found)
    digest = hashlib.sha256(manifest).hexdigest()
    if write is not None:
        write.write_bytes(manifest)
    differing = [] if kept is None else list(differences(kept, cast("dict[str, Any]", orjson.loads(manifest))))
    if json:
        terminal.write_json({**found, "sha256": digest} | ({} if kept is None else {"differences": differing}))
    else:
        print_coverage(found, digest, None if kept is None else differing)
    if differing or any(_fails(what, found, accept or ()) for what in asked):
        return 1
    return 0 if found["routes"] or found["models"] or found["strangers"] else NOTHING


def _asked(fail_on: list[str] | None) -> list[str]:
    for what in fail_on or ():
        if what not in _FAILURES:
            raise InvalidSetting(f"--fail-on '{what}': expected one of {', '.join(_FAILURES)}")
    return fail_on or []


def _fails(what: str, found: Mapping[str, Any], accepted: Collection[str]) -> bool:
    if what == "uncovered":
        libraries = {
            f"{row['library']} {row['version']}: {row['why']}": row["library"] for row in found["libraries"]
        }
        return any(libraries.get(line) not in accepted for line in found["uncovered"])
    member, value = ("recorded", "skip") if what == "skipped" else ("identity", "nobody")
    return any(route[member] == value for route in found["routes"])


def _kept(path: Path) -> dict[str, Any]:
    try:
        text = read_small(path, MOST_MANIFEST_BYTES)
    except OSError as error:
        raise SourceError(f"--check '{path}': cannot be read ({error.strerror})") from error
    kept = cast("dict[str, Any]", orjson.loads(text)) if is_manifest(text) else {}
    if not kept or not is_comparable(kept):
        raise SourceError(f"--check '{path}': expected a file that otel-audit coverage --write has made")
    return kept
