"""Witnesses: references to signed records that somebody noted elsewhere, out of a file or over HTTP.

What cannot be read whole is not used at all: a witness of which a part is missing vouches for less than it should,
and nobody would see it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import requests
from requests import Response
from urllib3.exceptions import HTTPError

from otel_audit.endpoint import without_credentials
from otel_audit.errors import SourceError
from otel_audit.small_files import read_small
from otel_audit.verify import Reference

LONGEST_BYTES = 64 << 20
"""About 600,000 references, each of 100 bytes or so: a witness that says more is not believed to be one."""
PATIENCE_S = 30.0
"""From the question to the last byte of the answer."""
_CHUNK_BYTES = 64 << 10
_FORM = "expected one <stream>:<seq>:<hash> a line"


def read_witness(names: Sequence[str], *, patience_s: float = PATIENCE_S) -> tuple[Reference, ...]:
    """The references in the files and at the http(s) addresses *names*, one a line; `#` begins a comment.

    Raises:
        SourceError: one cannot be read whole, has no reference, or a line that is none; the message names it.
    """
    return tuple(reference for name in names for reference in _references(name, patience_s))


def _references(name: str, patience_s: float) -> Iterator[Reference]:
    is_remote = name.startswith(("http://", "https://"))
    shown = without_credentials(name)
    data = _asked(name, shown, patience_s) if is_remote else _read(name)
    if len(data) > LONGEST_BYTES:
        raise SourceError(f"{shown}: longer than {LONGEST_BYTES >> 20} MiB; {_FORM}")
    is_empty = True
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        is_empty = False
        try:
            yield Reference.parse(text)
        except ValueError as error:
            raise SourceError(f"{shown}, line {number}: '{text[:100]}': expected <stream>:<seq>:<hash>") from error
    if is_empty:
        raise SourceError(f"{shown}: the witness names no record; {_FORM}")


def _read(name: str) -> bytes:
    try:
        return read_small(Path(name), LONGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"{name}: the witness cannot be read ({reason}); {_FORM}") from error


def _asked(name: str, shown: str, patience_s: float) -> bytes:
    """The body, in time however slowly a server drips: a socket's own timeout begins anew with each byte."""
    came: list[bytes | SourceError] = []
    asking = threading.Thread(target=lambda: came.append(_answer(name, shown, patience_s)), daemon=True)
    asking.start()
    asking.join(patience_s)
    if not came:
        raise SourceError(f"{shown}: the witness does not answer, or not to the end, within {patience_s:g} s")
    if isinstance(came[0], SourceError):
        raise came[0]
    return came[0]


def _answer(name: str, shown: str, patience_s: float) -> bytes | SourceError:
    try:
        # what is packed on the way could be a bomb; whom an answer points to was not named as a witness
        with requests.get(
            name, headers={"accept-encoding": "identity"}, timeout=patience_s, allow_redirects=False, stream=True
        ) as response:
            if response.status_code != 200:
                return _refusal(response, shown)
            data = bytearray()
            while len(data) <= LONGEST_BYTES:
                chunk: bytes = response.raw.read1(_CHUNK_BYTES, decode_content=False)
                if not chunk:
                    break
                data += chunk
            return bytes(data)
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        reason = without_credentials(str(error)).replace(name, shown)
        return SourceError(f"{shown}: the witness cannot be asked, or its answer broke off ({reason})")


def _refusal(response: Response, shown: str) -> SourceError:
    status = response.status_code
    if 300 <= status < 400:
        elsewhere = without_credentials(response.headers.get("location", ""))[:200]
        return SourceError(
            f"{shown}: the witness answers {status} and points to '{elsewhere}': name that, if you trust it"
        )
    return SourceError(f"{shown}: the witness answers {status} {response.reason or ''}".rstrip())
