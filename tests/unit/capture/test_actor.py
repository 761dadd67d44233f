"""An identity is what somebody has verified; what a header claims is hashed."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.capture.actor import (
    actor_of,
    auth_of_scheme,
    certificate_actor,
    claimed_identity,
    proxy_actor,
)
from otel_audit.capture.redaction import keyed_hash
from otel_audit.event import UNKNOWN, Actor


class _Row:
    """An ORM's instance: `id` is a property that would query, unless it has been loaded."""

    @property
    def id(self) -> int:
        raise AssertionError("a query")


def _loaded(**members: object) -> _Row:
    row = _Row()
    row.__dict__.update(members)
    return row


def _jwt(claims: object) -> str:
    payload = base64.urlsafe_b64encode(orjson.dumps(claims)).rstrip(b"=").decode()
    return f"eyJhbGciOiJIUzI1NiJ9.{payload}.c2ln"


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("alice", Actor("alice", "user", "session")),
        (42, Actor("42", "user", "session")),
        ({"sub": "alice"}, Actor("alice", "user", "session")),
        ({"id": "", "username": "alice"}, Actor("alice", "user", "session")),
        (_loaded(id=42), Actor("42", "user", "session")),
        (_loaded(username="alice"), Actor("alice", "user", "session")),
        (_Row(), UNKNOWN),
        (True, UNKNOWN),
        (None, UNKNOWN),
        ("", UNKNOWN),
        ({"id": None}, UNKNOWN),
        (object(), UNKNOWN),
    ],
)
def test_an_identity_is_read_and_never_loaded(identity: object, expected: Actor) -> None:
    assert actor_of(identity, "session") == expected


def test_an_endless_identity_is_cut() -> None:
    assert len(actor_of("a" * 100_000, None).id) == 256


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_S_DN": "CN=alice,O=Example"},
            Actor("CN=alice,O=Example", "user", "mtls", "alice"),
        ),
        (
            {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_S_DN": "/C=DE/O=Example/CN=alice"},
            Actor("/C=DE/O=Example/CN=alice", "user", "mtls", "alice"),
        ),
        (
            {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_S_DN": "O=x", "SSL_CLIENT_S_DN_CN": "al"},
            Actor("O=x", "user", "mtls", "al"),
        ),
        ({"SSL_CLIENT_VERIFY": "SUCCESS"}, UNKNOWN),
        ({"SSL_CLIENT_VERIFY": "NONE", "SSL_CLIENT_S_DN": "CN=alice"}, None),
        ({"SSL_CLIENT_VERIFY": "FAILED", "SSL_CLIENT_S_DN": "CN=alice"}, None),
        ({"SSL_CLIENT_S_DN": "CN=alice"}, None),
        ({}, None),
    ],
)
def test_a_certificate_counts_when_the_server_has_verified_it(
    environ: dict[str, object], expected: Actor | None
) -> None:
    assert certificate_actor(environ) == expected


class _TlsSocket:
    """What `ssl.SSLSocket.getpeercert` answers: nothing for a certificate that was not validated."""

    def __init__(self, certificate: dict[str, Any] | None) -> None:
        self._certificate = certificate

    def getpeercert(self) -> dict[str, Any] | None:
        return self._certificate


def test_gunicorns_tls_socket_is_asked() -> None:
    subject = ((("organizationName", "Example, Inc."),), (("commonName", "alice"),))

    actor = certificate_actor({"gunicorn.socket": _TlsSocket({"subject": subject})})

    assert actor == Actor(r"CN=alice,O=Example\, Inc.", "user", "mtls", "alice")


@pytest.mark.parametrize("certificate", [None, {}])
def test_a_certificate_that_gunicorn_did_not_validate_names_nobody(certificate: dict[str, Any] | None) -> None:
    assert certificate_actor({"gunicorn.socket": _TlsSocket(certificate)}) is None


def test_a_header_that_came_twice_names_nobody() -> None:
    assert proxy_actor(" alice ") == Actor("alice", "user", "proxy-header")
    assert proxy_actor("mallory, alice") is UNKNOWN
    assert proxy_actor(" ") is None
    assert proxy_actor(None) is None


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Basic " + base64.b64encode(b"alice:s3:cret").decode(), "alice"),
        ("basic " + base64.b64encode("Zoë:x".encode()).decode(), "Zoë"),
        ('Digest realm="a", username="alice", nonce="x"', "alice"),
        (f"Bearer {_jwt({'sub': 'alice'})}", "alice"),
        (f"Bearer {_jwt({'sub': 7})}", "7"),
        (f"Bearer {_jwt({'sub': ['a']})}", None),
        (f"Bearer {_jwt([1])}", None),
        ("Bearer opaque-token", None),
        ("Bearer a.!!.c", None),
        ("Basic !!!", None),
        ("Basic", None),
        ("alice", None),
        ("Negotiate abc", None),
        ("Basic " + "A" * 100_000, None),
        ("", None),
        (None, None),
    ],
)
def test_a_claim_is_the_hash_of_a_name_and_nothing_else(header: str | None, name: str | None) -> None:
    assert claimed_identity(header) == (None if name is None else keyed_hash(name))


@given(st.text(max_size=200) | st.from_regex(r"\A(Basic|Bearer|Digest) .{0,100}\Z"))
def test_any_header_is_read_without_a_fault(header: str) -> None:
    claimed = claimed_identity(header)

    assert claimed is None or claimed.startswith("hash:")


def test_the_scheme_says_how_an_identity_was_verified() -> None:
    assert [auth_of_scheme(text) for text in ("Basic x", "bearer x", "Token x", "Digest x", None)] == [
        "basic",
        "bearer",
        "bearer",
        None,
        None,
    ]
