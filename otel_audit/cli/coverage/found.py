"""What a survey finds: one row a route, a model, a library; as the manifest has it and the table shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

Recorded: TypeAlias = Literal["full", "core", "depends", "skip", "no"]
"""`no`: nothing is hooked that would see it; `depends`: on status, actor or path, as rules of the policy say."""
Identity: TypeAlias = Literal["required", "possible", "nobody"]


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A route with the methods that have the same fate."""

    framework: str
    route: str
    methods: tuple[str, ...]
    """None: whatever the view answers."""
    endpoint: str
    recorded: Recorded
    rules: tuple[str, ...]
    """Of the policy, which say so or may."""
    identity: Identity
    by: tuple[str, ...]
    """What makes the identity known."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A Django model."""

    model: str
    database: str
    """Alias of the database that is written to."""
    driver: str
    statements: bool
    """Whether statements leave an event: the driver is hooked."""
    rows: Literal["policy", "account", "no"]
    """Whether changes of its rows leave events of their own, and by whose word."""
    admin: bool


@dataclass(frozen=True, slots=True)
class LibraryRow:
    """An installed framework or driver."""

    library: str
    version: str
    loaded: bool
    """The application has imported it."""
    hooked: bool
    why: str
    """Why not; empty where it is."""


@dataclass(slots=True)
class Found:
    """Everything."""

    application: str
    policy: str
    """SHA-256 of its text."""
    routes: list[RouteRow] = field(default_factory=list[RouteRow])
    models: list[ModelRow] = field(default_factory=list[ModelRow])
    libraries: list[LibraryRow] = field(default_factory=list[LibraryRow])
    strangers: list[str] = field(default_factory=list[str])
    """Applications in which nothing that is hooked was found."""

    @property
    def uncovered(self) -> list[str]:
        """What is used and leaves no event, one line each."""
        return list(self._uncovered())

    def _uncovered(self) -> Iterator[str]:
        for name in self.strangers:
            yield f"application {name}: nothing that is hooked serves it"
        for row in self.libraries:
            if row.loaded and not row.hooked:
                yield f"{row.library} {row.version}: {row.why}"
        for route in self.routes:
            if route.recorded == "no":
                yield f"route {route.route}: {route.framework} is not hooked"
        for model in self.models:
            if not model.statements:
                yield f"model {model.model}: {model.driver} is not hooked"

    def document(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "application": self.application,
            "libraries": [asdict(row) for row in self.libraries],
            "models": [asdict(row) for row in self.models],
            "policy": self.policy,
            "routes": [asdict(row) for row in self.routes],
            "strangers": list(self.strangers),
            "uncovered": self.uncovered,
        }
