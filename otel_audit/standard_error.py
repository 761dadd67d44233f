"""Alarms that are read even where the application has set up no logging of its own.

Beside `autoload`. Python prints warnings and errors of a program without handlers to standard error; the stock
distro of opentelemetry 0.66 puts an OTLP handler on the root logger, after which a program without handlers
prints nothing, and with `OTEL_LOGS_EXPORTER=none` nobody is told at all.
"""

from __future__ import annotations

import logging


class StandardError(logging.Handler):
    """Prints what the logger `otel_audit` says, while only OpenTelemetry's own handlers listen beside it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message as Python's handler of last resort would, unless somebody else takes it."""
        if logging.lastResort is not None and not _is_taken(record.name):
            logging.lastResort.handle(record)


def print_unheard_alarms() -> None:
    """Put the handler in place; once a process."""
    logger = logging.getLogger("otel_audit")
    if not any(isinstance(handler, StandardError) for handler in logger.handlers):
        logger.addHandler(StandardError())


def _is_taken(name: str) -> bool:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        for handler in logger.handlers:
            if not isinstance(handler, StandardError) and not type(handler).__module__.startswith("opentelemetry."):
                return True
        logger = logger.parent if logger.propagate else None
    return False
