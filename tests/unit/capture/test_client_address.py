"""The client's address comes through trusted proxies only, right to left, and garbage ends the walk."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.capture.client_address import ClientAddresses, parse_address, server_address

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32"))
BEHIND = ClientAddresses(PROXIES)

# peer, Forwarded, X-Forwarded-For, source
TABLE: list[tuple[str, str | None, str | None, str | None]] = [
    ("192.0.2.1", None, None, "192.0.2.1"),
    # nobody who is not trusted is believed
    ("192.0.2.1", None, "198.51.100.7", "192.0.2.1"),
    ("192.0.2.1", "for=198.51.100.7", None, "192.0.2.1"),
    # one proxy, two proxies, and what the client has put before them
    ("10.0.0.1", None, "198.51.100.7", "198.51.100.7"),
    ("10.0.0.1", None, "198.51.100.7, 10.0.0.2", "198.51.100.7"),
    ("10.0.0.1", None, "203.0.113.66, 198.51.100.7", "198.51.100.7"),
    ("10.0.0.1", None, "10.0.0.9, 198.51.100.7", "198.51.100.7"),
    ("10.0.0.1", None, "10.0.0.3, 10.0.0.2", "10.0.0.3"),
    # IPv6, ports, brackets, zones, IPv4 within IPv6
    ("2001:db8::1", None, "2606:4700::1", "2606:4700::1"),
    ("10.0.0.1", None, "[2606:4700::1]:443", "2606:4700::1"),
    ("10.0.0.1", None, "198.51.100.7:51234", "198.51.100.7"),
    ("10.0.0.1", None, "::ffff:198.51.100.7", "198.51.100.7"),
    ("::ffff:10.0.0.1", None, "198.51.100.7", "198.51.100.7"),
    ("fe80::1%eth0", None, None, "fe80::1"),
    ("10.0.0.1", 'for="[2606:4700::1]:4711"', None, "2606:4700::1"),
    ("10.0.0.1", "for=198.51.100.7;proto=https;by=10.0.0.1", None, "198.51.100.7"),
    ("10.0.0.1", "For=198.51.100.7", None, "198.51.100.7"),
    ("10.0.0.1", "for=203.0.113.66, for=198.51.100.7", None, "198.51.100.7"),
    # garbage and obfuscation end the walk at the one who wrote them
    ("10.0.0.1", None, "unknown", "10.0.0.1"),
    ("10.0.0.1", None, "198.51.100.7, unknown", "10.0.0.1"),
    ("10.0.0.1", None, "198.51.100.7, unknown, 10.0.0.2", "10.0.0.2"),
    ("10.0.0.1", "for=_hidden", None, "10.0.0.1"),
    ("10.0.0.1", "proto=https", None, "10.0.0.1"),
    ("10.0.0.1", "for=198.51.100.7;for=203.0.113.66", None, "10.0.0.1"),
    ("10.0.0.1", "for=203.0.113.66;\x00", None, "10.0.0.1"),
    ("10.0.0.1", None, "", "10.0.0.1"),
    ("10.0.0.1", None, ",", "10.0.0.1"),
    ("10.0.0.1", None, "198.51.100.7,", "10.0.0.1"),
    ("10.0.0.1", None, "1" * 10_000, "10.0.0.1"),
    # a quote that the client leaves open swallows nothing that the proxy appends
    ("10.0.0.1", 'for="203.0.113.66, for=198.51.100.7', None, "198.51.100.7"),
    # two headers that disagree: one was forged through a proxy that manages only the other
    ("10.0.0.1", "for=203.0.113.66", "198.51.100.7", "10.0.0.1"),
    ("10.0.0.1", "for=198.51.100.7", "198.51.100.7", "198.51.100.7"),
    # peers without an address
    ("", None, "198.51.100.7", None),
    ("unix:", None, None, None),
    ("localhost", None, "198.51.100.7", "localhost"),
    ("not a name", None, None, None),
]


@pytest.mark.parametrize(("peer", "forwarded", "x_forwarded_for", "expected"), TABLE)
def test_the_source_of_a_request(
    peer: str, forwarded: str | None, x_forwarded_for: str | None, expected: str | None
) -> None:
    for _ in range(2):  # derived, then from the cache
        source, _ = BEHIND.of(peer, forwarded, x_forwarded_for)
        assert (source.id if source else None) == expected


def test_the_type_of_an_address_is_said() -> None:
    sources = [BEHIND.of(peer)[0] for peer in ("192.0.2.1", "2606:4700::1", "localhost")]

    assert [source.type for source in sources if source] == ["ipv4", "ipv6", "hostname"]


def test_a_unix_socket_is_believed_only_on_request() -> None:
    addresses = ClientAddresses(trusts_unix_socket=True)

    source, is_trusted = addresses.of("", None, "198.51.100.7")

    assert source is not None
    assert (source.id, is_trusted) == ("198.51.100.7", True)


def test_the_cache_does_not_grow_without_bound() -> None:
    addresses = ClientAddresses(PROXIES)
    for number in range(10_000):
        addresses.of("10.0.0.1", None, str(ipaddress.ip_address(number + 2**25)))

    assert len(addresses._cache) <= 4096  # pyright: ignore[reportPrivateUsage]


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_header_makes_a_forged_prefix_count(forwarded: str, before: str) -> None:
    """Whatever a client writes, what the trusted proxy appended after it is the source."""
    source, _ = BEHIND.of("10.0.0.1", None, f"{before}, 198.51.100.7")
    assert source is not None
    assert source.id == "198.51.100.7"
    source, _ = BEHIND.of("10.0.0.1", f"{forwarded}, for=198.51.100.7", None)
    assert source is not None
    assert source.id == "198.51.100.7"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("shop.example", "shop.example"),
        ("Shop.Example:8443", "shop.example"),
        ("[2606:4700::1]:443", "2606:4700::1"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("", None),
        ("a/@b", None),
        ("x" * 300, None),
        (None, None),
    ],
)
def test_only_a_name_or_an_address_is_taken_from_the_host_header(host: str | None, expected: str | None) -> None:
    assert server_address(host) == expected


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "01.2.3.4", "1.2.3.4:", "[1.2.3.4", "::1]", "1.2.3.4:5:6", "\uff11.2.3.4"]
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse_address(text) is None
