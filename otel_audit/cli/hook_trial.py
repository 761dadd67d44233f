"""Puts every hook in place, in a process of its own (`python -m otel_audit.cli.hook_trial`), and says which fail.

The hooked modules are imported for it, as an application would; those that need an application's settings, or that
are not installed, are not tried.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points

from otel_audit.capture.hooking import awaited_modules, failed_hooks, hooking_failed

_TIMEOUT_S = 60.0
"""Importing Django, Flask and psycopg takes one or two seconds on a machine that is not busy."""


def failed_hooks_of_a_trial(environ: Mapping[str, str], names: list[str]) -> dict[str, str]:
    """By name of a module, or of one of *names*, the instrumentors tried: why it could not be put in place."""
    kept = {name: value for name, value in environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-m", __name__, *names]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, and what it is told by ourselves
            command, env=kept, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=True
        )
        failures: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return dict.fromkeys(names, f"the trial itself failed: {error}")
    return failures


def main(names: list[str]) -> None:
    """Try the instrumentors of these *names*, and print a JSON object of what failed as the last line."""
    for hook in entry_points(group="opentelemetry_instrumentor"):
        if hook.name in names:
            try:
                hook.load()().instrument(skip_dep_check=True)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
                hooking_failed(hook.name, error)
    for module in awaited_modules():
        try:
            import_module(module)
        except Exception:  # noqa: BLE001, S112 - not installed, or it wants settings: nobody's hook has failed
            continue
    print(json.dumps(failed_hooks()), flush=True)  # noqa: T201 - the answer
    os._exit(0)  # whatever an import has started ends here


if __name__ == "__main__":
    main(sys.argv[1:])
