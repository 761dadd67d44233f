"""SQLite's own temporary database, for what memory should not hold; it stops when the user says so.

Below what sorts and what selects. A statement over a million records is one call into C, which looks at no signal
until it is done: Ctrl-C would wait for minutes. So SQLite asks now and then, and whatever a signal's handler
raises there ends the statement.
"""

from __future__ import annotations

import sqlite3

from otel_audit.errors import SourceError

_STEPS = 10_000
"""Of SQLite's virtual machine between two looks: about a millisecond."""
_HANDLER_RAISED = "user-defined function raised exception"


def open_temporary_database(*, is_shared: bool = False) -> sqlite3.Connection:
    """Return an empty database without a name: on disk once it outgrows its cache, unlinked by SQLite.

    *is_shared*: whether threads may use it in turn. Errors of its statements are to be raised through `as_ours`.
    """
    database = sqlite3.connect("", isolation_level=None, check_same_thread=not is_shared)
    database.set_progress_handler(_go_on, _STEPS)
    return database


def as_ours(error: sqlite3.Error, what: str) -> BaseException:
    """What to raise for *error*: the user's interruption, or that *what*, the temporary database, has failed."""
    # Python drops what was raised while SQLite asked; nothing but a signal's handler raises there.
    if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT or str(error) == _HANDLER_RAISED:
        return KeyboardInterrupt()
    return SourceError(f"{what}: {error}; is there room in TMPDIR?")


def _go_on() -> int:
    return 0
