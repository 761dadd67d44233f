"""Which rules of a policy can apply to the requests of one route, known before any of them is made.

Capture stage, for `otel-audit coverage`. A rule about status or actor may or may not apply; a rule about paths
applies to all requests of a route, to some, or to none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

from otel_audit.capture.policy import Policy, Rule
from otel_audit.capture.policy_file import glob_pattern

EVENT = "http.server.request"
Reach: TypeAlias = Literal["all", "some", "none"]

ONE, ANY = "\ue000", "\ue001"
"""In a route: a parameter within one segment, and one that may cross `/`. Private use, so in no real path."""
_STRANGE = "\ue002"
_LENGTHS = (1, 2, 37)
"""Of the parameters on trial: a glob that takes all of them takes any, because only wildcards take such text."""


class Fate(NamedTuple):
    """What may become of a request's event, by whose word."""

    recorded: Literal["full", "core", "skip"]
    rule: str
    """File, line and number; empty where no rule says so."""


def fates(policy: Policy, route: str, method: str | None) -> tuple[Fate, ...]:
    """What may become of requests of *route* by *method* (None: any), the last one where no other rule matched.

    *route* begins with `/`, its parameters written as `ONE` and `ANY`. One fate: it is certain.
    """
    found: list[Fate] = []
    for rule in policy.rules:
        reach = _reach(rule, route, method)
        if reach != "none":
            decision = rule.decision
            found.append(Fate(decision.detail if decision.is_recorded else "skip", rule.where))
        if reach == "all":
            return tuple(found)
    return (*found, Fate("full", ""))


def _reach(rule: Rule, route: str, method: str | None) -> Reach:
    reaches: list[Reach] = []
    for member, values in rule.members.items():
        if member == "event":
            reaches.append("all" if any(glob_pattern(value).fullmatch(EVENT) for value in values) else "none")
        elif member == "method":
            reaches.append("some" if method is None else "all" if method in values else "none")
        elif member == "path":
            reaches.append(path_reach(values, route))
        else:
            reaches.append("some")
    return "none" if "none" in reaches else "some" if "some" in reaches else "all"


def path_reach(globs: Sequence[str], route: str) -> Reach:
    """How many of the paths of *route* the *globs* match."""
    patterns = [glob_pattern(glob, separator="/") for glob in globs]
    if all(any(pattern.fullmatch(path) for pattern in patterns) for path in _samples(route)):
        return "all"
    return "some" if any(may_match(glob, route) for glob in globs) else "none"


def _samples(route: str) -> Iterable[str]:
    for length in _LENGTHS:
        one = _STRANGE * length
        for any_ in (one, "/", f"/{one}", f"{one}/", f"{one}/{one}/{one}") if ANY in route else (one,):
            yield route.replace(ONE, one).replace(ANY, any_)


def may_match(glob: str, route: str) -> bool:
    """Whether any path of *route* matches *glob*; a parameter is never empty."""

    @cache
    def ways(at: int, on: int) -> bool:
        """Whether what is left of the glob and of the route have a path in common."""
        rest, path = glob[at:], route[on:]
        if rest == "/**" and not path:
            return True
        if not rest:
            return not path
        if rest[0] == "*":
            wild = 2 if rest.startswith("**") else 1
            takes = bool(path) and (wild == 2 or path[0] != "/")
            # where it ends inside a parameter, what is left of that is a parameter again
            return ways(at + wild, on) or (takes and ways(at, on + 1))
        if not path:
            return False
        if path[0] in (ONE, ANY):
            # the parameter's next character is this one, and it may end or go on
            fits = path[0] == ANY or rest[0] != "/"
            return fits and (ways(at + 1, on + 1) or ways(at + 1, on))
        return (rest[0] == path[0] or (rest[0] == "?" and path[0] != "/")) and ways(at + 1, on + 1)

    return ways(0, 0)
