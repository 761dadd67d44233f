"""How an instrumentation gets hold of a library, and what happens where it cannot.

Capture stage. What is to be replaced in a library is replaced when the application imports it, which most processes
under `opentelemetry-instrument` never do. A mistake there is a library that nobody audits: in fail mode `open` that
is said, and the application goes on; in `closed` it does not start.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

_log = logging.getLogger("otel_audit")

_EXIT_STATUS = 3
"""gunicorn 20 to 23 stops as a whole when a worker's start ends with it, and else starts worker after worker."""


class _Hooks:
    """The process's own, as the modules are."""

    def __init__(self) -> None:
        self.is_refusing = False
        self.awaited: list[str] = []
        self.failures: dict[str, str] = {}

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """As a finder of `sys.meta_path`: a module that could not be hooked is not imported by a second try either.

        The first one may have been made in a thread, whose end by `SystemExit` nobody notices.
        """
        if self.is_refusing and name in self.failures:
            _refuse(name)
        return None


_hooks = _Hooks()


def configure_hooking(*, is_refusing: bool) -> None:
    """Install for the whole process what is done where a library cannot be hooked; fail mode `closed` refuses."""
    _hooks.is_refusing = is_refusing


def hook_when_imported(name: str, put: Callable[[ModuleType], None]) -> None:
    """Have *put* replace what it must in the module *name*, when it is imported, or now if it has been.

    Raises:
        SystemExit: it has been, *put* has failed, and the fail mode is `closed`. Otherwise `import` raises that.
    """

    def hook(module: ModuleType) -> None:
        try:
            put(module)
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not become the application's import error
            hooking_failed(name, error)

    import wrapt  # a process without instrumentations does without it

    _hooks.awaited.append(name)
    wrapt.register_post_import_hook(hook, name)


def hooking_failed(name: str, error: Exception) -> None:
    """Say that the module or the instrumentor *name* could not be put in place.

    Raises:
        SystemExit: in fail mode `closed`: it is the one exception that nobody takes for a missing library.
    """
    _log.critical("otel-audit: %s is not audited: %s", name, error, exc_info=error)
    _hooks.failures[name] = f"{type(error).__name__}: {error}"
    if _hooks.is_refusing:
        if _hooks not in sys.meta_path:
            sys.meta_path.insert(0, _hooks)
        _refuse(name)


def _refuse(name: str) -> NoReturn:
    print(  # noqa: T201 - no log may be set up yet
        f"otel-audit: refusing to start (OTEL_AUDIT_FAIL_MODE=closed): {name} cannot be audited "
        f"({_hooks.failures[name]}); `otel-audit doctor` says more",
        file=sys.stderr,
    )
    raise SystemExit(_EXIT_STATUS)


def awaited_modules() -> tuple[str, ...]:
    """Modules that are hooked when they are imported."""
    return tuple(dict.fromkeys(_hooks.awaited))


def failed_hooks() -> dict[str, str]:
    """Modules and instrumentors that could not be put in place, and why; empty where all is well."""
    return dict(_hooks.failures)
