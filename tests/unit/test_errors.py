"""The error tree: drawn in its docstring, exported whole, and caught by what users already catch."""

from __future__ import annotations

import re

import pytest

import otel_audit
from otel_audit import errors


def classes() -> dict[str, type[Exception]]:
    return {name: value for name, value in vars(errors).items() if isinstance(value, type)}


def test_the_tree_in_the_docstring_is_the_tree_of_the_code() -> None:
    drawn = re.findall(r"^ {4}(.*?)(\w+)(?: {2,}.*)?$", (errors.__doc__ or "").partition("\n\n")[2], re.MULTILINE)
    parents: dict[str, str] = {}
    path: list[str] = []
    for branch, name in drawn:
        depth = len(branch) // 4
        path = [*path[:depth], name]
        parents[name] = path[depth - 1] if depth else "Exception"

    assert parents == {name: one.__mro__[1].__name__ for name, one in classes().items()}


def test_every_error_is_a_public_name() -> None:
    assert set(classes()) <= set(otel_audit.__all__)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [("InvalidSetting", ValueError), ("InvalidEvent", ValueError), ("NotConfigured", RuntimeError)],
)
def test_an_error_is_also_what_python_would_have_raised(error: str, builtin: type[Exception]) -> None:
    assert issubclass(classes()[error], builtin)


def test_every_public_name_exists_and_is_listed_in_order() -> None:
    assert [name for name in otel_audit.__all__ if not hasattr(otel_audit, name)] == []
    assert len(set(otel_audit.__all__)) == len(otel_audit.__all__)
