"""What every test relies on: the signals of a job in the foreground.

A shell has its background jobs ignore SIGINT and SIGQUIT, and `nohup` SIGHUP; what tests start inherits that.
"""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    for number, handler in (
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
