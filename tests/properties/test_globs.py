"""A policy's globs mean what they say, however they are matched, and no path that a client sends takes long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_audit.capture.policy_file import glob_pattern


def as_it_says(glob: str, separator: str) -> str:
    """Word by word, without a thought of what it costs."""
    pieces = re.findall(r"/\*\*$|\*\*+|\*|[^*]" if separator else r"\*+|[^*]", glob)
    one = "[^/]" if separator else "."
    return "".join(
        "(?:/.*)?"
        if piece == "/**" and separator
        else ".*"
        if piece.startswith("**") or (piece == "*" and not separator)
        else f"{one}*"
        if piece == "*"
        else one
        if piece == "?"
        else re.escape(piece)
        for piece in pieces
    )


@settings(max_examples=1_500)
@given(st.text("ab/*?", max_size=9), st.lists(st.text("ab/", max_size=9), max_size=6), st.sampled_from(["", "/"]))
def test_a_glob_matches_what_it_says(glob: str, texts: list[str], separator: str) -> None:
    quick, slow = glob_pattern(glob, separator=separator), re.compile(as_it_says(glob, separator), re.DOTALL)

    for text in texts:
        assert (quick.fullmatch(text) is None) == (slow.fullmatch(text) is None), text


@pytest.mark.parametrize("glob", ["/**a*b*c*d", "/**/x/**/y/**/z", "/*a*b*c*d*e", "/**a**b**c**d", "/**?*?*?*x"])
@pytest.mark.parametrize("text", ["/" + "abc" * 680, "/x/y" * 510, "/" + "a" * 2_000])
def test_no_path_takes_long_to_match(glob: str, text: str) -> None:
    """Of 1,801 characters the first of them took more than a minute; any client may send such a path."""
    began = time.process_time()

    glob_pattern(glob, separator="/").fullmatch(text)

    assert time.process_time() - began < 1
