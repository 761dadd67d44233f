"""How the text of a setting is read: one parser a kind of value.

Used by the table in `variables`. Each raises ValueError (a file that cannot be read: OSError), whose message says
what is expected.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias, TypeVar

from otel_audit.small_files import MOST_SECRET_BYTES, read_small

T = TypeVar("T")
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

UNIX = "unix"
"""What stands among networks for the peers of a unix socket."""

_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_UNITS_BYTES = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def parse_duration(text: str) -> timedelta:
    """`500ms`, `30s`, `5m`, `24h`, `7d` as a positive duration.

    Raises:
        ValueError: anything else; the message says what is expected.
    """
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)", text)
    if match is None or float(match[1]) == 0:
        raise ValueError("expected a duration such as 1s or 500ms (units: ms, s, m, h, d)")
    return timedelta(seconds=float(match[1]) * _UNITS_S[match[2]])


def parse_size(text: str) -> int:
    """`65536`, `64KiB`, `256MiB`, `10GiB` in bytes.

    Raises:
        ValueError: anything else; the message says what is expected.
    """
    match = re.fullmatch(r"([0-9]{1,15})(KiB|MiB|GiB|TiB|)", text)
    if match is None or int(match[1]) == 0:
        raise ValueError("expected a size such as 64MiB (units: KiB, MiB, GiB, TiB, or none for bytes)")
    return int(match[1]) * _UNITS_BYTES[match[2]]


@dataclass(frozen=True, slots=True)
class Reserve:
    """Room on the volume that the spool leaves to others: a share of its size, or bytes."""

    percent: float = 0.0
    size_bytes: int = 0

    def of(self, volume_bytes: int) -> int:
        """The reserve in bytes, on a volume of that size."""
        return self.size_bytes or int(volume_bytes * self.percent / 100)


def parse_timeout(text: str) -> timedelta:
    """A duration, or as the specification has it, milliseconds."""
    return parse_duration(f"{text}ms" if text.isdecimal() else text)


def parse_boolean(text: str) -> bool:
    """`true` or `false`, in any case."""
    if text.lower() not in ("true", "false"):
        raise ValueError("expected true or false")
    return text.lower() == "true"


def one_of(*accepted: str) -> Callable[[str], str]:
    """A parser of these words and no others."""

    def parse(text: str) -> str:
        if text not in accepted:
            raise ValueError(f"expected one of {', '.join(accepted)}")
        return text

    return parse


def within(parse: Callable[[str], T], low: T, high: T, words: str) -> Callable[[str], T]:
    """*parse*, and then from *low* to *high*, which the message calls *words*."""

    def checked(text: str) -> T:
        value = parse(text)
        if not low <= value <= high:  # type: ignore[operator]  # durations and integers both compare
            raise ValueError(f"expected {words}")
        return value

    return checked


def parse_directory(text: str) -> Path | None:
    """An absolute path; None for `memory:`."""
    if text == "memory:":
        return None
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("expected an absolute path, or memory:")
    return path


def parse_identity(text: str) -> str:
    """`self`, or `file:` with the paths of a certificate and a key."""
    if text == "self":
        return text
    scheme, _, paths = text.partition(":")
    if scheme != "file" or len(paths.split(",")) != 2 or not all(paths.split(",")):
        raise ValueError("expected self, or file:CERT.pem,KEY.pem")
    return text


def parse_integer(text: str) -> int:
    """A whole number of up to twelve digits."""
    if re.fullmatch(r"[0-9]{1,12}", text) is None:
        raise ValueError("expected a whole number")
    return int(text)


def parse_reserve(text: str) -> Reserve:
    """A share of the volume, or a size."""
    match = re.fullmatch(r"([0-9]{1,2}(?:\.[0-9]{1,3})?)%", text)
    if match is not None:
        return Reserve(percent=float(match[1]))
    try:
        return Reserve(size_bytes=parse_size(text))
    except ValueError as error:
        raise ValueError("expected a share such as 5%, or a size such as 1GiB") from error


def parse_retention(text: str) -> timedelta | None:
    """A duration; None for `forever`."""
    if text == "forever":
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError("expected forever, or a duration such as 90d") from error


def parse_items(text: str) -> tuple[str, ...]:
    """What stands between commas; nothing where there is nothing."""
    if not text.isascii():
        text.encode()  # a ValueError where it is not UTF-8: these stand in the policy's text, which records carry
    return tuple(item.strip() for item in text.split(",") if item.strip())


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks in CIDR form; `unix` may stand among them and is left out."""
    try:
        return tuple(ipaddress.ip_network(item) for item in parse_items(text) if item != UNIX)
    except ValueError as error:
        raise ValueError(f"expected networks such as 10.0.0.0/8, or {UNIX}, comma-separated ({error})") from error


def parse_header(text: str) -> str:
    """The name of an HTTP header (RFC 9110 §5.1)."""
    if re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text) is None:
        raise ValueError("expected the name of a header, such as X-Forwarded-User")
    return text


def parse_key(text: str) -> bytes:
    """A secret of at least 16 characters."""
    if len(text) < 16:
        raise ValueError("expected at least 16 characters")
    return text.encode()


def parse_key_file(text: str) -> bytes:
    """A secret in a file, white space around it left out."""
    data = read_small(Path(text), MOST_SECRET_BYTES + 1)
    if len(data) > MOST_SECRET_BYTES:
        raise ValueError(f"'{text}' is longer than {MOST_SECRET_BYTES:,} bytes; expected a secret")
    return parse_key(data.decode().strip())
