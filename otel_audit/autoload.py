"""What `opentelemetry-instrument` calls in every Python process, before the application is imported.

Entry point `opentelemetry_pre_instrument`: it runs beside any distro or none, with the SDK disabled, and with
every instrumentation disabled. It must cost nothing in the many processes that never see an event.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import entry_points

from otel_audit.capture.hooking import hooking_failed
from otel_audit.configure import configure
from otel_audit.errors import AuditError
from otel_audit.standard_error import print_unheard_alarms

_log = logging.getLogger("otel_audit")
_OURS = "otel_audit_"


def pre_instrument() -> None:
    """Configure auditing from the environment; in fail mode `closed` a mistake there stops the start.

    Raises:
        SystemExit: fail mode `closed`, and auditing cannot begin. opentelemetry-instrumentation 0.66 swallows
            every other exception here, and the application would run unaudited.
    """
    print_unheard_alarms()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        _log.warning(
            "otel-audit: OTEL_SDK_DISABLED=true does not disable auditing, which goes on; "
            "OTEL_AUDIT_ENABLED=false would"
        )
    try:
        configure()
    except Exception as error:
        _log.critical("otel-audit: NOTHING IS AUDITED in this process: %s", error)
        # whoever sets it does so for `closed`, however it is spelt
        if os.environ.get("OTEL_AUDIT_FAIL_MODE", "").strip() not in ("", "open"):
            print(f"otel-audit: refusing to start (OTEL_AUDIT_FAIL_MODE=closed): {error}", file=sys.stderr)  # noqa: T201 - no log may be set up yet
            raise SystemExit(1) from error
        if not isinstance(error, (AuditError, OSError)):
            raise  # a mistake of ours; upstream logs it with its traceback
        return
    _instrument_ours()


def _disabled() -> list[str]:
    return [name.strip() for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")]


def _instrument_ours() -> None:
    """Put ours in place before upstream's loader comes, which ends at the first other one that fails.

    It also skips all of them with `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=*`, which is for traces: to leave one of
    ours out, name it there.

    Raises:
        SystemExit: fail mode `closed`, and one of ours cannot be put in place though its library is installed.
    """
    for entry_point in entry_points(group="opentelemetry_instrumentor"):
        if entry_point.name.startswith(_OURS) and entry_point.name not in _disabled():
            try:
                entry_point.load()().instrument(skip_dep_check=True)
            except Exception as error:  # noqa: BLE001 - upstream's loader swallows it too, and lets the rest be
                library = entry_point.name.removeprefix(_OURS)
                if isinstance(error, ModuleNotFoundError) and (error.name or "").lstrip("_") == library:
                    _log.debug("otel-audit: %s is left out: %s", entry_point.name, error)
                else:
                    hooking_failed(entry_point.name, error)
