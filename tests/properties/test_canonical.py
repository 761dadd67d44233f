"""On the record's profile, sorted orjson output is RFC 8785, as another implementation writes it."""

from __future__ import annotations

from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.evidence.canonical import decode, encode

names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
integers = st.integers(-(2**53) + 1, 2**53 - 1)
values = st.recursive(
    strings | integers | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(names, values, max_size=8))
def test_encoding_is_rfc_8785(members: dict[str, Any]) -> None:
    body = encode(members)

    assert body == rfc8785.dumps(members)
    assert decode(body) == members
