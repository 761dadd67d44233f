"""What every survey needs to know: the policy, the settings, which frameworks and drivers are hooked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from otel_audit.capture.policy import Policy
from otel_audit.capture.policy_reach import Fate, fates
from otel_audit.cli.coverage.found import Identity, Recorded, RouteRow
from otel_audit.cli.coverage.views import Guard
from otel_audit.settings import Settings


@dataclass(frozen=True, slots=True)
class Surveyor:
    """Judges what a framework's survey has found."""

    policy: Policy
    settings: Settings
    hooked: frozenset[str]
    """Frameworks and drivers that leave events."""

    def routes(
        self,
        framework: str,
        route: str,
        paths: Sequence[str],
        methods: Iterable[str],
        endpoint: str,
        who: tuple[Identity, tuple[str, ...]],
    ) -> list[RouteRow]:
        """The rows of one route: a single one, unless the policy tells its methods apart.

        *route* is what people read, *paths* the forms that its paths have, see `capture.policy_reach`.
        """
        by_fate: dict[tuple[Fate, ...], list[str]] = {}
        names: list[str | None] = [*sorted(set(methods))]
        for method in names or [None]:
            found = dict.fromkeys(fate for path in paths for fate in fates(self.policy, path, method))
            by_fate.setdefault(tuple(found), []).extend([] if method is None else [method])
        return [
            RouteRow(
                framework,
                route,
                tuple(of_fate),
                endpoint,
                self._recorded(framework, fate),
                tuple(dict.fromkeys(self._rule(one.rule) for one in fate if one.rule)),
                *who,
            )
            for fate, of_fate in by_fate.items()
        ]

    def who(self, found: Iterable[Guard], possible: Iterable[str]) -> tuple[Identity, tuple[str, ...]]:
        """Can it be known who asks, with the guards that were found and what the application has *possible*?"""
        found = list(found)
        strict = tuple(dict.fromkeys(guard.extension for guard in found if guard.is_strict))
        if strict:
            return "required", strict
        ways = dict.fromkeys([*(guard.extension for guard in found), *possible])
        if self.settings.actor_header and (self.settings.trusted_proxies or self.settings.trusts_unix_socket):
            ways["proxy header"] = None
        return ("possible" if ways else "nobody"), tuple(ways)

    def _recorded(self, framework: str, found: tuple[Fate, ...]) -> Recorded:
        if framework not in self.hooked or not self.settings.enabled:
            return "no"
        recorded: set[Recorded] = {fate.recorded for fate in found}
        return recorded.pop() if len(recorded) == 1 else "depends"

    def _rule(self, where: str) -> str:
        """Without the policy's folder, which is another on every machine."""
        path = self.settings.policy_path
        return where if path is None else where.replace(str(path), path.name, 1)
