"""The command line, one module a command. Last stage of the data's path: it reads, and writes no evidence."""

from otel_audit.cli.entry import main

__all__ = ["main"]
