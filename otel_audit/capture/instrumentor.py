"""What our instrumentors have in common; apart, as a process that has none does without contrib's package.

Capture stage.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined] # mypy: its module is `# type: ignore` as a whole


class AuditInstrumentor(BaseInstrumentor):  # type: ignore[misc] # likewise
    """An instrumentor of ours: `opentelemetry-instrument` may well come to it a second time."""

    def instrument(self, **kwargs: Any) -> Any:
        """Put it in place; a second call changes nothing, and says nothing."""
        return None if self.is_instrumented_by_opentelemetry else super().instrument(**kwargs)
