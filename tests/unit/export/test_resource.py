"""The resource that OpenTelemetry's detectors find, as the open record carries it."""

from __future__ import annotations

import subprocess
import sys

from otel_audit.export.resource import detected_resource
from otel_audit.testing import recording

PROGRAM = """
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from otel_audit.export.resource import detected_resource
attributes = {"k8s.pod.name": "shop-1", "a.float": 1.5, "some": ("x", "y"), "is": True, "audit.x": "no"}
attributes["long"] = "x" * 5000
trace.set_tracer_provider(TracerProvider(resource=Resource(attributes)))
print(detected_resource(has_detectors=False))
"""


def test_the_applications_own_resource_is_taken_as_far_as_a_record_can_carry_it() -> None:
    """In a process of its own, because a provider can be set only once."""
    printed = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "{'k8s.pod.name': 'shop-1', 'a.float': '1.5', 'some': 'x,y', 'is': True}"


def test_detectors_are_run_only_where_the_environment_names_some() -> None:
    assert detected_resource(has_detectors=False) == {}
    assert detected_resource(has_detectors=True)["telemetry.sdk.language"] == "python"


def test_what_was_detected_stands_in_the_open_record() -> None:
    with recording(OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="otel") as log:
        from otel_audit import Target, get_audit_logger

        get_audit_logger("test").emit("item.read", action="READ", target=Target("1", "item"))

        assert b'"telemetry.sdk.language":"python"' in log.bodies[0]
