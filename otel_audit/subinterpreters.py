"""Sub-interpreters (mod_wsgi's default, `concurrent.interpreters`): nothing can be audited there, and that is said.

Neither `cryptography` (PyO3/pyo3#576) nor, isolated, a thread can be had in one; and all of a process share one
lock of each file, one fork, one set of signal handlers. Of use until PyO3 allows it.
"""

from __future__ import annotations

import _thread
import importlib

from otel_audit.errors import NotConfigured


def refuse_subinterpreter() -> None:
    """Raise where this is no main interpreter.

    Raises:
        NotConfigured: nothing was set up.
    """
    if not _is_main():
        raise NotConfigured(
            "a sub-interpreter cannot be audited (cryptography cannot be loaded there): run the application in the "
            "main interpreter, under mod_wsgi by `WSGIApplicationGroup %{GLOBAL}`"
        )


def _is_main() -> bool:
    is_main = getattr(_thread, "_is_main_interpreter", None)  # since Python 3.12
    if is_main is not None:
        return bool(is_main())
    try:
        interpreters = importlib.import_module("_xxsubinterpreters")
    except ImportError:  # built without them
        return True
    return bool(interpreters.get_current() == interpreters.get_main())
