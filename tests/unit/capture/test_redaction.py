"""Segments of a path that look like secrets leave as keyed hashes; record ids and words stay."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import secrets
import uuid
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.capture.redaction import (
    MAX_PATH,
    configure_hash_key,
    keyed_hash,
    looks_secret,
    mask_path,
    names_a_secret,
)


@pytest.fixture(autouse=True)
def key() -> Iterator[None]:
    configure_hash_key(b"k" * 32)
    yield
    configure_hash_key(secrets.token_bytes(32))


def test_a_hash_is_hmac_sha_256_under_the_key() -> None:
    expected = hmac.new(b"k" * 32, "Zoë".encode(), hashlib.sha256).hexdigest()

    assert keyed_hash("Zoë") == f"hash:{expected}"


def test_a_lone_surrogate_is_hashed_all_the_same() -> None:
    assert keyed_hash("\ud800") == keyed_hash("?")


@pytest.mark.parametrize(
    "segment",
    [
        "42",
        "customers",
        "PROJ-1234",
        "4111111111111111111111111",
        "the-quick-brown-fox-jumps-over-the-lazy-dog-2024",
        "InternationalizationSettingsController",
        "report_2026-11-23_final_version",
        "0af76519-16cd-43dd-8448-eb211c80319c",
        "507f1f77bcf86cd799439011",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "cus_9s6XKzkNRiz8i3",
        "not@mail",
    ],
)
def test_what_the_log_is_for_stays(segment: str) -> None:
    assert mask_path(f"/a/{segment}/b") == f"/a/{segment}/b"


@pytest.mark.parametrize(
    "segment",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
        "alice@example.org",
        "Zk3TqW9xLr8mVb2NcY7pHs5d",
        hashlib.sha256(b"a").hexdigest(),
        hashlib.sha1(b"a").hexdigest(),
        "prefix-Zk3TqW9xLr8mVb2NcY7pHs5d",
    ],
)
def test_what_looks_like_a_secret_leaves_as_its_hash(segment: str) -> None:
    assert mask_path(f"/a/{segment}/b") == f"/a/{keyed_hash(segment)}/b"


def test_segments_that_the_route_spells_out_stay() -> None:
    own = "Zk3TqW9xLr8mVb2NcY7pHs5d"

    assert mask_path(f"/{own}/x", {own}) == f"/{own}/x"


def test_a_long_path_is_cut_between_segments() -> None:
    """A piece of a secret might no longer look like one."""
    secret = "Zk3TqW9xLr8mVb2NcY7pHs5d"
    path = "/" + "a" * (MAX_PATH - 12) + "/" + secret

    assert mask_path(path) == "/" + "a" * (MAX_PATH - 12) + "/…"
    assert mask_path("/" + "a" * 50_000) == "/…"
    assert len(mask_path("/a" * 40_000)) <= MAX_PATH


@pytest.mark.parametrize("hostile", ["a", "ey", "a@", "@", "a1", "ey.", "a.", "0" * 31 + "g", "-", "ey-"])
def test_a_hostile_segment_costs_no_more_than_its_length(hostile: str) -> None:
    """No deadline, but with a look-ahead that scans to the end from each position it takes minutes."""
    looks_secret(hostile * (200_000 // len(hostile)))


def test_random_tokens_are_recognised_but_for_a_few() -> None:
    """A known limit, pinned: a token without a telling name is told by its looks alone."""
    generator = random.Random(2026)
    tokens = [base64.urlsafe_b64encode(generator.randbytes(16)).decode().rstrip("=") for _ in range(2000)]
    long_tokens = [base64.urlsafe_b64encode(generator.randbytes(32)).decode().rstrip("=") for _ in range(1000)]

    assert sum(not looks_secret(token) for token in tokens) < 20
    assert all(looks_secret(token) for token in long_tokens)
    assert all(looks_secret(generator.randbytes(16).hex()) for _ in range(1000))


@given(st.uuids())
def test_uuids_are_record_ids(value: uuid.UUID) -> None:
    assert not looks_secret(str(value))


@given(st.text(max_size=300))
def test_any_path_is_masked_without_a_fault(path: str) -> None:
    assert len(mask_path(path).replace("hash:", "")) <= 64 * (len(path) + 1)


@pytest.mark.parametrize("name", ["token", "reset_token", "password", "apiKey", "api_key", "email", "otp", "jwt"])
def test_parameters_that_are_named_as_secrets_are(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize("name", ["id", "customer_id", "code", "key", "filename", "footprint", "slug"])
def test_parameters_that_are_not_are_not(name: str) -> None:
    assert not names_a_secret(name)
