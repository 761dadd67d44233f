"""What a policy will do to a route's requests, said before there are any, is what it does to each of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.capture.policy import Policy
from otel_audit.capture.policy_file import glob_pattern
from otel_audit.capture.policy_reach import ANY, ONE, Fate, Reach, fates, path_reach


@pytest.mark.parametrize(
    ("glob", "route", "reach"),
    [
        ("/healthz", "/healthz", "all"),
        ("/healthz", "/health", "none"),
        ("/static/**", f"/static/{ANY}", "all"),
        ("/static/*", f"/static/{ANY}", "some"),
        ("/static/*", f"/static/{ONE}", "all"),
        ("/admin/**", "/admin", "all"),
        ("/admin/**", "/administration", "none"),
        ("/customers/7", f"/customers/{ONE}", "some"),
        ("/customers/?", f"/customers/{ONE}", "some"),
        ("/customers/??*", f"/customers/{ONE}", "some"),
        ("/customers/*/orders", f"/customers/{ONE}/orders", "all"),
        ("/customers/*/orders", f"/customers/{ONE}/invoices", "none"),
        ("/customers/*/orders", f"/customers/{ONE}", "none"),
        ("/customers/*/orders", f"/customers/{ANY}", "some"),
        ("**", f"/{ANY}", "all"),
        ("*.css", f"/static/{ANY}", "none"),
        ("/**.css", f"/static/{ANY}", "some"),
    ],
)
def test_a_glob_takes_all_some_or_none_of_a_routes_paths(glob: str, route: str, reach: Reach) -> None:
    assert path_reach([glob], route) == reach


_GLOBS = st.lists(st.sampled_from(["/", "a", "b", "*", "**", "?", "/**"]), max_size=7).map(
    lambda parts: "/" + "".join(parts)
)
_ROUTES = st.lists(st.sampled_from(["/", "a", "b", ONE, ANY]), max_size=6).map(lambda parts: "/" + "".join(parts))
_SEGMENTS = st.text("ab", min_size=1, max_size=3)
_PATHS = st.text("ab/", min_size=1, max_size=4)


@given(_GLOBS, _ROUTES, st.data())
def test_no_path_of_a_route_gives_it_the_lie(glob: str, route: str, data: st.DataObject) -> None:
    path = "".join(
        data.draw(_SEGMENTS) if part == ONE else data.draw(_PATHS) if part == ANY else part for part in route
    )
    matches = glob_pattern(glob, separator="/").fullmatch(path) is not None

    assert path_reach([glob], route) in (("all", "some") if matches else ("some", "none"))


POLICY = """\
rules:
  - event: db.query
    action: skip
  - path: /healthz
    action: skip
  - path: /reports/**
    method: GET
    detail: core
  - path: /reports/**
    status: 404
    action: skip
  - actor: prober
    path: /public
    action: skip
"""


@pytest.mark.parametrize(
    ("route", "method", "expected"),
    [
        ("/healthz", "GET", [("skip", "p, line 4 (rule 2)")]),
        ("/customers", "GET", [("full", "")]),
        (f"/reports/{ONE}", "GET", [("core", "p, line 6 (rule 3)")]),
        (f"/reports/{ONE}", "POST", [("skip", "p, line 9 (rule 4)"), ("full", "")]),
        (
            f"/reports/{ONE}",
            None,
            [("core", "p, line 6 (rule 3)"), ("skip", "p, line 9 (rule 4)"), ("full", "")],
        ),
        ("/public", "GET", [("skip", "p, line 12 (rule 5)"), ("full", "")]),
    ],
)
def test_the_rules_that_may_apply_are_named(
    route: str, method: str | None, expected: list[tuple[str, str]]
) -> None:
    assert fates(Policy.parse(POLICY, name="p"), route, method) == tuple(
        Fate(recorded, rule)  # type: ignore[arg-type]  # the literals of the table
        for recorded, rule in expected
    )


def test_the_built_in_policy_records_everything() -> None:
    assert fates(Policy.parse(), f"/{ANY}", None) == (Fate("full", ""),)
