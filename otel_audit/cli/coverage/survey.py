"""The process that imports the application and looks at it: `python -m otel_audit.cli.coverage.survey FILE [APP]`.

Started by `process`, under OpenTelemetry's own `sitecustomize`, so that every hook is in place as under
`opentelemetry-instrument`. What was found, or the exception that the import ended in, goes to FILE.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from otel_audit.cli.coverage.found import Found, LibraryRow, ModelRow, RouteRow
from otel_audit.cli.coverage.libraries_survey import survey_libraries
from otel_audit.cli.coverage.surveyor import Surveyor
from otel_audit.configure import read_policy
from otel_audit.settings import Settings


def main(file: str, name: str) -> None:
    """Survey the application *name* (empty: Django's settings alone, if there are any), and end the process.

    It ends without waiting for threads that the application has started, and without its `atexit` functions.
    """
    doing = "import"
    try:
        application = _load(name)
        doing = "survey"
        answer: dict[str, Any] = {"found": _survey(name, application).document()}
    except BaseException as error:  # noqa: BLE001 - whatever the application does, SystemExit included
        answer = {"failed": doing, "why": _last_line(error)}
    Path(file).write_text(json.dumps(answer), encoding="utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _load(name: str) -> object:
    if not name:
        if os.environ.get("DJANGO_SETTINGS_MODULE"):
            import django

            django.setup()
            _load_urls()
        return None
    module_name, _, attribute = name.partition(":")
    is_called = attribute.endswith("()")
    found: Any = import_module(module_name)
    for part in (attribute.removesuffix("()") or "application").split("."):
        found = getattr(found, part)
    application: object = found() if is_called else found
    if _is_django(application):
        _load_urls()
    return application


def _load_urls() -> None:
    """The URLs are the application's too, and are imported with its first request."""
    from django.urls import get_resolver

    _ = get_resolver().url_patterns


def _survey(name: str, application: object) -> Found:
    settings = Settings.from_environ(os.environ)
    policy = read_policy(settings)
    has_django = _is_django(application) or (application is None and bool(os.environ.get("DJANGO_SETTINGS_MODULE")))
    models: list[ModelRow] = []
    routes: list[RouteRow] = []
    libraries = list(survey_libraries())
    surveyor = Surveyor(policy, settings, frozenset(library.name for library, _ in libraries if library.is_hooked))
    if has_django:
        from otel_audit.cli.coverage.django_survey import survey_django_models, survey_django_routes

        routes += list(survey_django_routes(surveyor))
        models += list(survey_django_models(surveyor))
    flasks = 0
    if application is not None and "flask" in sys.modules:
        from otel_audit.cli.coverage.flask_survey import flask_applications, survey_flask

        for prefix, app in flask_applications(application):
            flasks += 1
            routes += list(survey_flask(app, prefix, surveyor))
    found = Found(name, policy.digest)
    found.routes = sorted(routes, key=lambda row: (row.route, row.methods, row.endpoint))
    found.models = sorted(models, key=lambda row: row.model)
    # once more: a driver is loaded with the database that was asked for it
    found.libraries = [
        LibraryRow(library.name, library.version, is_loaded, library.is_hooked, library.detail)
        for library, is_loaded in survey_libraries()
    ]
    if application is not None and not has_django and not flasks:
        kind = type(application)
        found.strangers = [f"{name} ({kind.__module__}.{kind.__qualname__})"]
    return found


def _is_django(application: object) -> bool:
    handlers = sys.modules.get("django.core.handlers.base")
    return handlers is not None and isinstance(application, handlers.BaseHandler)


def _last_line(error: BaseException) -> str:
    """The exception's own last line, and where in the application it was raised."""
    said = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    here = Path.cwd()
    places = [frame for frame in frames if Path(frame.filename).is_relative_to(here) and frame.filename != __file__]
    return f"{said} ({places[-1].filename}, line {places[-1].lineno})" if places else said


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
