"""From where: the client's address, through the proxies that are trusted and no further.

Capture stage, framework-neutral. Headers are read right to left, because each proxy appends what it saw:
what stands left of the first address that no trusted proxy vouches for is the client's own invention.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import TypeAlias

from otel_audit.event import Source

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_Element: TypeAlias = Callable[[str], Address | None]
_HOSTNAME = re.compile(r"(?!.{254})[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
# RFC 7239 §4: one element's parameters; a token, or a quoted string (escapes stand in no address).
_PAIR = re.compile(r'[ \t]*([!#$%&\'*+.^_`|~\w-]+)=("[^"\\]*"|[!#$%&\'*+.^_`|~\w:\[\]-]+)[ \t]*', re.ASCII)
_PORT = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::[\w.-]{1,8})?", re.ASCII)
_MAX_CACHED = 4096
_MAX_CACHED_HEADER = 256


class ClientAddresses:
    """Finds a request's source, given the networks whose word on it is believed.

    Answers are kept by what they were derived from (the 4,096 latest kinds, headers of up to 256
    characters), because parsing costs 10 µs and most requests come from few places. Threads may share it.
    """

    __slots__ = ("_cache", "_trusted", "_trusts_unix_socket")

    def __init__(self, trusted: tuple[Network, ...] = (), *, trusts_unix_socket: bool = False) -> None:
        self._trusted = trusted
        self._trusts_unix_socket = trusts_unix_socket
        self._cache: dict[tuple[str, str | None, str | None], tuple[Source | None, bool]] = {}

    def of(
        self, peer: str, forwarded: str | None = None, x_forwarded_for: str | None = None
    ) -> tuple[Source | None, bool]:
        """The source, and whether the *peer* of the connection is itself a trusted proxy.

        None: the peer has no address (a unix socket) and nobody who is trusted names another. Where both
        headers are there and disagree, one of them was forged through a proxy that manages only the other:
        the source is then the peer, which nobody can forge.
        """
        key = (peer, forwarded, x_forwarded_for)
        found = self._cache.get(key)
        if found is None:
            found = self._find(peer, forwarded, x_forwarded_for)
            if len(forwarded or "") + len(x_forwarded_for or "") + len(peer) <= _MAX_CACHED_HEADER:
                if len(self._cache) >= _MAX_CACHED:
                    self._cache.clear()
                self._cache[key] = found
        return found

    def _find(self, peer: str, forwarded: str | None, x_forwarded_for: str | None) -> tuple[Source | None, bool]:
        address = parse_address(peer)
        is_unix_socket = not peer or peer.startswith(("unix:", "/"))
        is_trusted = self._trusts_unix_socket if is_unix_socket else self._is_trusted(address)
        at_peer = _source(address) if address is not None or is_unix_socket else _hostname(peer)
        if not is_trusted:
            return at_peer, False
        answers = [
            self._follow(address, header, element)
            for header, element in ((forwarded, _forwarded_for), (x_forwarded_for, parse_address))
            if header
        ]
        if not answers or any(answer != answers[0] for answer in answers):
            return at_peer, True
        return _source(answers[0]), True

    def _follow(self, peer: Address | None, header: str, element: _Element) -> Address | None:
        """Walk right to left while the one who speaks is trusted; garbage ends the walk at its speaker."""
        speaker = peer
        rest = header
        while speaker is peer or self._is_trusted(speaker):
            rest, comma, last = rest.rpartition(",")
            named = element(last)
            if named is None:
                break
            speaker = named
            if not comma:
                break
        return speaker

    def _is_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def parse_address(text: str) -> Address | None:
    """An IP address, with or without brackets and port; None for anything else (names, `unknown`, `_hidden`).

    An IPv4 address mapped into IPv6 is the IPv4 address; a zone (`%eth0`), which means something only on
    the host that wrote it, is dropped.
    """
    text = text.strip()
    if len(text) > 64:  # an IPv6 address with zone, brackets and port is shorter
        return None
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        match = _PORT.fullmatch(text)
        if match is None:
            return None
        try:
            address = ipaddress.ip_address((match[1] or match[2] or "").partition("%")[0])
        except ValueError:
            return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def server_address(host: str | None) -> str | None:
    """The name in a `Host` header, without its port; None where it is no name or address (it is client's text)."""
    if not host:
        return None
    address = parse_address(host)
    if address is not None:
        return str(address)
    name = host.partition(":")[0]
    return name.lower() if _HOSTNAME.fullmatch(name) else None


def _forwarded_for(element: str) -> Address | None:
    """The `for` of one element of `Forwarded` (RFC 7239 §4); None where it is missing or malformed."""
    found: Address | None = None
    for part in element.split(";"):
        match = _PAIR.fullmatch(part)
        if match is None:
            return None
        if match[1].lower() == "for":
            if found is not None:
                return None
            found = parse_address(match[2].strip('"'))
    return found


def _source(address: Address | None) -> Source | None:
    if address is None:
        return None
    return Source(str(address), "ipv4" if address.version == 4 else "ipv6")


def _hostname(peer: str) -> Source | None:
    return Source(peer, "hostname") if _HOSTNAME.fullmatch(peer) else None
