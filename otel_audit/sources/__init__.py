"""Reads records back: from spools and files today; each source hands over streams in `seq` order."""

from otel_audit.sources.directory import read_directory
from otel_audit.sources.opening import open_source
from otel_audit.sources.source import Attributes, Batch, Lane, Source

__all__ = ["Attributes", "Batch", "Lane", "Source", "open_source", "read_directory"]
