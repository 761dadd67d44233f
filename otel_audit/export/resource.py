"""What OpenTelemetry's resource detectors have found about this process, for the open record of its streams.

Export stage, at its mouth: whoever delivers for a dead process has nothing but its records. The resource is that of
the application's own tracer provider, so nothing is detected twice; where there is none, the detectors are run only
if `OTEL_EXPERIMENTAL_RESOURCE_DETECTORS` names some, because they may ask the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

from opentelemetry import trace

_NAME = re.compile(r"[\x21-\x7e]{1,256}")
_MOST_CHARACTERS = 4096
"""Of names and values together: they stand in one record beside certificates and predecessors."""


def detected_resource(*, has_detectors: bool) -> dict[str, str | int]:
    """Attributes as a record can carry them: floats and sequences as strings, none beyond 4,096 characters.

    *has_detectors*: detectors are named in the environment, and may be run.
    """
    resource = getattr(trace.get_tracer_provider(), "resource", None)
    if resource is None and has_detectors:
        from opentelemetry.sdk.resources import Resource

        resource = Resource.create()
    attributes: Mapping[str, object] = getattr(resource, "attributes", {})
    fitting: dict[str, str | int] = {}
    characters = 0
    for name, value in attributes.items():
        plain = _plain(value)
        characters += len(name) + len(str(plain))
        if characters > _MOST_CHARACTERS:
            break
        if _NAME.fullmatch(name) is not None and not name.startswith("audit.") and plain != "":
            fitting[name] = plain
    return fitting


def _plain(value: object) -> str | int:
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in cast("Sequence[object]", value))
    return ""  # a mapping, bytes, or nothing
