"""The console script: runs a command, turns what went wrong into one line and an exit status.

Commands return their exit status and raise `AuditError`; only this module prints errors and ends the
process. 0 yes, 1 no, 2 usage or unreadable, 3 cannot be shown, 4 nothing found; 130 after Ctrl-C and 141
after a closed pipe, as the shell would report the signals.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TextIO

from otel_audit.cli.printed import printable
from otel_audit.errors import AuditError

USAGE = 2
INTERRUPTED = 130
PIPE_CLOSED = 141


def main() -> None:
    """Run `otel-audit` on the process's arguments and exit."""
    _replace_closed_streams()
    logging.lastResort = _Alarms(sys.stderr)
    sys.exit(run(sys.argv[1:]))


class _Alarms(logging.StreamHandler[TextIO]):
    """Prints alarms, which name directories and services, on standard error; Python's own would print them raw."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.setLevel(logging.WARNING)

    def format(self, record: logging.LogRecord) -> str:
        """The message on one line, escaped."""
        return printable(super().format(record))


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit status. Errors are one line on standard error, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # LANG=C: a user's name outside of ASCII is printed escaped rather than refused
            stream.reconfigure(errors="backslashreplace")
    if find_spec("typer") is None or find_spec("rich") is None:
        return _complain('the command line is not installed: pip install "otel-audit[cli]"')
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        return _pipe_closed()
    except KeyboardInterrupt:
        return INTERRUPTED
    except AuditError as error:
        return _complain(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        now = "; run this as the user that it belongs to" if isinstance(error, PermissionError) else ""
        return _complain(f"{where}{error.strerror or error}{now}")
    return status


def _replace_closed_streams() -> None:
    """What was started with `>&-` prints nowhere, and not into the next file that it opens; its status counts."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        continue
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # docs.python.org, library/sys: where the descriptor was closed at the start
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the process's life


def _dispatch(arguments: Sequence[str]) -> int:
    import typer

    from otel_audit.cli.commands import app

    if not arguments:
        _dispatch(["--help"])
        return USAGE
    group = typer.main.get_command(app)
    try:
        status = group.main(list(arguments), prog_name="otel-audit", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        # typer 0.29: an option without its value does not say of which command
        verb = [argument for argument in arguments[:1] if argument in getattr(group, "commands", ())]
        command = " ".join(["otel-audit", *verb]) if context is None else context.command_path
        return _complain(f"{error.format_message().rstrip('.')}; {command} --help says what is accepted")
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):
            # typer 0.29: _main turns EPIPE into exit(1), which here would mean "tampered"
            raise stop.__context__ from None
        raise
    return status if isinstance(status, int) else 0


def _complain(message: str) -> int:
    try:
        print(f"otel-audit: {printable(message)}", file=sys.stderr)  # noqa: T201 - the command line's own voice
    except BrokenPipeError:
        return _pipe_closed()
    except OSError:
        # standard error on a full disk: what is left to say it with is the status
        _drop_unwritten()
    return USAGE


def _pipe_closed() -> int:
    _drop_unwritten()
    return PIPE_CLOSED


def _drop_unwritten() -> None:
    # What is still buffered would raise again when the interpreter flushes at exit (docs.python.org,
    # library/signal: "Note on SIGPIPE")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
