"""What a sink answers, in four words; everything that a transport can meet is one of them.

Export stage. The rules stand in "Delivered means acknowledged" of the design: only what says that *these bytes* are
bad is a refusal, and only what says that it has all of them is an acknowledgement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol, TypeAlias

import orjson

LONGEST_WAIT_S = 600.0
"""The most that a `Retry-After` is believed; a proxy's slip must not silence an audit log for a day."""

_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Delivered:
    """The sink has all of them."""

    warning: str = ""
    """What it had to say nevertheless (OTLP: `partial_success` that rejects none)."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not delivered, for a reason that lies outside of these bytes."""

    why: str
    """What happened and what to do, for a person."""
    after_s: float | None = None
    """When the sink wants to be asked again; None: it did not say."""


@dataclass(frozen=True, slots=True)
class Refused:
    """These bytes are bad, says the sink: sent again as they are they will be refused again."""

    why: str
    is_size: bool = False
    """They are too many at once."""


@dataclass(frozen=True, slots=True)
class Partial:
    """The sink took them but for some, and does not say which."""

    rejected: int
    why: str


Outcome: TypeAlias = Delivered | Retry | Refused | Partial


class Transport(Protocol):
    """One way to a sink; used by one thread at a time."""

    def send(self, request: bytes) -> Outcome:
        """Send one serialised ExportLogsServiceRequest, and say what came of it. Never raises for the network."""
        ...

    def renew(self) -> None:
        """Begin the next request with a new connection: certificates are read again, addresses looked up again."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...


class _Malformed(ValueError):  # noqa: N818 - of an answer, never raised beyond this module
    pass


def read_answer(body: bytes, content_type: str) -> Outcome:
    """What the body of a successful answer says: an empty or well-formed OTLP response acknowledges.

    A proxy's page, a field that OTLP does not have, or half a message does not.
    """
    if not body:
        return Delivered()
    read = _READERS.get(content_type.partition(";")[0].strip().lower(), _read_other)
    try:
        rejected, message = read(body)
    except _Malformed as error:
        return Retry(
            f"answers with something that is not OTLP ({error}): a proxy or another server stands in the way"
        )
    if rejected:
        return Partial(rejected, message or "no reason given")
    return Delivered(message)


def _read_json(body: bytes) -> tuple[int, str]:
    """An ExportLogsServiceResponse in OTLP's JSON; 64-bit integers may be strings there."""
    try:
        answer: dict[str, dict[str, object]] = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _Malformed("it says that it is JSON, and is not") from error
    match answer:
        case {"partialSuccess": {**partial}, **rest} if not rest and not partial.keys() - _PARTIAL:
            rejected, message = partial.get("rejectedLogRecords", 0), partial.get("errorMessage", "")
            if re.fullmatch(r"\d{1,19}", str(rejected)) and isinstance(message, str):
                return int(str(rejected)), message
        case {**nothing} if not nothing:
            return 0, ""
        case _:
            pass
    raise _Malformed("its members are not those of an OTLP response")


def _read_other(body: bytes) -> tuple[int, str]:
    raise _Malformed(f"it begins with {one_line(body[:40])!r}")


_PARTIAL = {"rejectedLogRecords", "errorMessage"}


def _read_protobuf(body: bytes) -> tuple[int, str]:
    """`ExportLogsServiceResponse{partial_success = 1 {rejected_log_records = 1, error_message = 2}}`, no more."""
    rejected, message = 0, ""
    for number, value in _fields(body):
        if number != 1 or not isinstance(value, bytes):
            raise _Malformed("it has a field that an OTLP response does not have")
        for inner, content in _fields(value):
            if inner == 1 and isinstance(content, int):
                rejected = content
            elif inner == 2 and isinstance(content, bytes):
                message = content.decode("utf-8", "replace")
            else:
                raise _Malformed("it has a field that an OTLP response does not have")
    return rejected, message


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Fields of a protobuf message: number, and an integer or bytes."""
    fields: list[tuple[int, int | bytes]] = []
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        value, position = _varint(data, position)
        if tag & 7 == 2:
            end = position + value
            if end > len(data):
                raise _Malformed("it ends in the middle")
            fields.append((tag >> 3, data[position:end]))
            position = end
        elif tag & 7 == 0:
            fields.append((tag >> 3, value))
        else:
            raise _Malformed("it is no protobuf message of OTLP")
    return fields


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise _Malformed("it ends in the middle")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _Malformed("it is no protobuf message of OTLP")


_READERS = {
    "application/json": _read_json,
    "": _read_protobuf,
    "application/x-protobuf": _read_protobuf,
    "application/protobuf": _read_protobuf,
}


def status_message(body: bytes, content_type: str) -> str:
    """What an answer that is no success has to say, as one short line: a `google.rpc.Status`, JSON, or text."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/html":
        return ""
    if kind in ("application/x-protobuf", "application/protobuf"):
        try:
            body = next((value for number, value in _fields(body) if number == 2 and isinstance(value, bytes)), b"")
        except _Malformed:
            return ""
    return one_line(body)


def one_line(text: bytes) -> str:
    """What somebody else says, as one short line that is safe to print."""
    line = "".join(c if c.isprintable() else " " for c in text[:1000].decode("utf-8", "replace"))
    line = " ".join(line.split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[:_SHOWN_CHARACTERS] + "…"


def no_connection(reason: str) -> str:
    """Nobody is there: why, and what to do."""
    return f"cannot be reached ({reason}): start it, or correct OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT"


def no_answer(timeout_s: float) -> str:
    """It takes a connection, or swallows it, and says nothing."""
    return (
        f"does not answer within {timeout_s:g} s: it is overloaded (its own log says so), something on the way "
        "swallows what is sent, or OTEL_AUDIT_EXPORTER_OTLP_TIMEOUT is too short"
    )


def no_trust(reason: str) -> str:
    """TLS comes to nothing."""
    if re.search(r"wrong.version", reason, re.IGNORECASE):  # what OpenSSL calls an answer in plain text
        return (
            f"does not speak TLS ({reason}): say http:// in OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT, or have it speak TLS"
        )
    return (
        f"cannot be trusted, or does not trust us ({reason}): see OTEL_AUDIT_EXPORTER_OTLP_CERTIFICATE "
        "and _CLIENT_CERTIFICATE"
    )


def retry_after_s(header: str | None) -> float | None:
    """`Retry-After` in seconds (RFC 9110 §10.2.3: seconds or a date), within bounds; None where it says nothing."""
    if header is None:
        return None
    seconds = re.fullmatch(r"[ \t]*([0-9]{1,9})[ \t]*", header)
    if seconds is not None:
        return min(float(seconds[1]), LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # the year 99999999999999999999
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_WAIT_S)
