"""What `kill -9` leaves of a pipeline, without a process of its own."""

from __future__ import annotations

from otel_audit.pipeline import AuditPipeline


def crash(pipeline: AuditPipeline) -> str:
    """End a process as `kill -9` does: descriptors and locks go, nothing is written; returns its stream."""
    live = pipeline.writer.live
    assert live is not None
    live.slot.abandon()
    live.is_broken = True
    pipeline.writer.live = None
    if pipeline.exporter is not None:
        pipeline.exporter.finish(0.0)
    live.slot.release()
    return live.stream.id


def crash_with_threads(pipeline: AuditPipeline) -> str:
    """The same, where its keeper runs."""
    pipeline.keeper.stop(10)
    return crash(pipeline)
