"""What a client may put into a request: addresses, trace ids, credentials, paths."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from otel_audit.capture.actor import auth_of_scheme, certificate_actor, claimed_identity, proxy_actor
from otel_audit.capture.client_address import ClientAddresses, server_address
from otel_audit.capture.redaction import looks_secret, mask_path, names_a_secret
from otel_audit.capture.trace_context import parse_traceparent

REGRESSIONS: tuple[bytes, ...] = ()
_ADDRESSES = ClientAddresses((ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::/0")))


def seeds() -> Iterator[bytes]:
    for text in (
        '10.0.0.1\0for=192.0.2.60;proto=http;by=203.0.113.43, for="[2001:db8::1]:4711"\x00192.0.2.1, 10.0.0.2:80',
        "unix:\0for=_hidden, for=unknown\0[::1]:80,fe80::1%eth0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\0shop.example:8080\x001.2.3.4",
        'Basic YWxpY2U6c2VjcmV0\0Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln\0Digest username="alice"',
        "/a/b@c.example/0123456789abcdef0123456789ABCDEF/eyJhbGciOiJI.eyJzdWIi.abc\0/x\0CN=alice,O=Acme\\, Inc",
        "/C=DE/O=Acme/CN=alice/emailAddress=a@b.c\0CN=a+OU=b\0URI:spiffe://a/b",
    ):
        yield text.encode()


def target(data: bytes) -> None:
    parts = data.decode("utf-8", "surrogateescape").split("\0")
    first, second, third = (*parts, "", "", "")[:3]
    _ADDRESSES.of(first, second or None, third or None)
    for text in parts[:4]:
        server_address(text)
        parse_traceparent(text)
        auth_of_scheme(text)
        claimed = claimed_identity(text)
        assert claimed is None or claimed.startswith("hash:")
        proxy_actor(text)
        certificate_actor({"SSL_CLIENT_S_DN": text, "SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_S_DN_CN": second})
        certificate_actor({"SSL_CLIENT_CERT_SUBJECT": text, "gunicorn.socket": None})
        looks_secret(text)
        names_a_secret(text)
        assert "/zq7@b.example" not in mask_path(f"/zq7@b.example/{text}")[:20]
