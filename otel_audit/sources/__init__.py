"""Reads records back: from spools and files today; each source hands over streams in `seq` order."""

from otel_audit.sources.directory import read_directory
from otel_audit.sources.opening import open_source
from otel_audit.sources.source import Attributes, Batch, Lane, LaneGone, Source

__all__ = ["Attributes", "Batch", "Lane", "LaneGone", "Source", "open_source", "read_directory"]
