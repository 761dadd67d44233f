"""The largest resource, chain, predecessors and policy that are let in stand in records that are valid together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otel_audit.capture.policy import MAX_TEXT_BYTES
from otel_audit.configure import read_policy
from otel_audit.errors import InvalidSetting
from otel_audit.evidence.canonical import MAX_RECORD_BYTES, decode
from otel_audit.evidence.identity import MAX_CHAIN_BYTES
from otel_audit.evidence.record import problem
from otel_audit.evidence.stream import Declaration, Draft, Stream
from otel_audit.settings import Settings

NOW = 1_767_225_600_000_000_000
KEY = Ed25519PrivateKey.generate()


def is_valid(draft: Draft) -> bool:
    members = decode(draft.body)
    return members is not None and problem(members) is None


def largest(character: str) -> dict[str, str]:
    """The longest attribute of that character that the settings let in."""
    low, high = 1, 9000
    while low < high:
        middle = (low + high + 1) // 2
        try:
            Settings.from_environ({"OTEL_RESOURCE_ATTRIBUTES": f"a={character * middle}"})
            low = middle
        except InvalidSetting:
            high = middle - 1
    return dict(Settings.from_environ({"OTEL_RESOURCE_ATTRIBUTES": f"a={character * low}"}).resource)


@pytest.mark.parametrize("character", ["a", "%00", "%22", "é", "😀", "%7F"])
def test_the_largest_resource_beside_the_longest_chain_and_every_predecessor_fits_the_open(character: str) -> None:
    resource = largest(character)
    stream = Stream(
        "ab" * 16, KEY, Declaration("x" * 64, {**resource, "host.name": "h" * 64, "process.pid": 2**22}, "")
    )
    references = [f"{at:032x}:{2**53 - 1}:{'ab' * 32}" for at in range(200)]

    draft = stream.draft_open(NOW, [b"\xff" * 2048, b"\xff" * MAX_CHAIN_BYTES], references)

    assert len(json.dumps(resource)) > 7000
    assert len(draft.body) <= MAX_RECORD_BYTES
    assert is_valid(draft)


@pytest.mark.parametrize("character", ["a", "é", "😀", "\x85", "\\", '"', "\t"])
def test_the_largest_policy_that_is_allowed_fits_its_record(character: str, tmp_path: Path) -> None:
    """Characters that JSON escapes take two bytes, and the text is then refused before it would not fit."""
    path = tmp_path / "policy.yaml"
    length = (MAX_TEXT_BYTES - 12) // len(character.encode())
    settings = Settings.from_environ({"OTEL_AUDIT_POLICY": str(path)})
    text = ""
    while not text:
        path.write_text(f"rules: []\n#{character * length}", encoding="utf-8")
        try:
            text = read_policy(settings).text
        except InvalidSetting:
            length -= 500
    stream = Stream("ab" * 16, KEY, Declaration("shop", {"service.name": "shop"}, text))
    stream.advance(stream.draft_open(NOW, [], []))

    draft = stream.draft_policy(NOW)

    assert len(draft.body) in range(48_000, MAX_RECORD_BYTES + 1)
    assert is_valid(draft)
