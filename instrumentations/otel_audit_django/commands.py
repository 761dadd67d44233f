"""Management commands: who of the operating system ran what, and everything inside on that account."""

from __future__ import annotations

import functools
import os
import pwd
from collections.abc import Callable
from time import time_ns
from typing import Any

from otel_audit.capture.http import error_type
from otel_audit.capture.request import acting
from otel_audit.event import Actor, AuditEvent, ContextValue, Outcome, Target
from otel_audit_django.recording import emit

# they serve requests, which have actors of their own
_SERVERS = frozenset(("runserver", "testserver", "test"))


def operating_system_user() -> Actor:
    """Whose process this is; `sudo` leaves no trace that an environment variable could not forge."""
    user_id = os.getuid()
    try:
        name = pwd.getpwuid(user_id).pw_name
    except KeyError:
        name = None  # a container's user without an entry
    return Actor(name or f"uid-{user_id}", "user", None)


def on_command(run_from_argv: Callable[..., Any]) -> Callable[..., Any]:
    """`BaseCommand.run_from_argv`: a command given to `manage.py` or `django-admin`.

    Its arguments may hold anything, and are not recorded.
    """

    @functools.wraps(run_from_argv)
    def wrapped(self: Any, argv: list[str]) -> Any:
        name = argv[1] if len(argv) > 1 else type(self).__module__.rpartition(".")[2]
        if name in _SERVERS:
            return run_from_argv(self, argv)
        actor = operating_system_user()
        began = time_ns()
        context: dict[str, ContextValue] = {"process.command": name}
        with acting(actor):
            try:
                result = run_from_argv(self, argv)
            except BaseException as error:
                is_exit = isinstance(error, SystemExit) and error.code in (None, 0)
                if isinstance(error, SystemExit):
                    context["process.exit.code"] = error.code if isinstance(error.code, int) else int(not is_exit)
                if not is_exit:
                    context["error.type"] = error_type(error)
                _emit(name, actor, began, context, is_success=is_exit)
                raise
            _emit(name, actor, began, context, is_success=True)
            return result

    return wrapped


def _emit(name: str, actor: Actor, began: int, context: dict[str, ContextValue], *, is_success: bool) -> None:
    outcome: Outcome = "success" if is_success else "failure"
    target = Target(name, "process.command")
    emit(AuditEvent("process.command", "EXECUTE", outcome, actor, target, None, began, context=context))
