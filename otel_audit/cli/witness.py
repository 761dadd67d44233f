"""Witnesses: references to signed records that somebody noted elsewhere, out of a file or over HTTP."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from otel_audit.errors import SourceError
from otel_audit.verify import Reference

LONGEST_BYTES = 64 << 20
"""About 600,000 references, each of 100 bytes or so: a witness that says more is not believed to be one."""
_TIMEOUT_S = 30.0


def read_witness(names: Sequence[str]) -> tuple[Reference, ...]:
    """The references in the files and at the http(s) addresses *names*, one a line; `#` begins a comment.

    Raises:
        SourceError: one cannot be read, or a line is no reference; the message names it.
    """
    return tuple(reference for name in names for reference in _references(name))


def _references(name: str) -> Iterator[Reference]:
    data = _bytes(name)
    if len(data) > LONGEST_BYTES:
        raise SourceError(
            f"{name}: longer than {LONGEST_BYTES >> 20} MiB; expected one <stream>:<seq>:<hash> a line"
        )
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            yield Reference.parse(text)
        except ValueError as error:
            raise SourceError(f"{name}, line {number}: '{text[:200]}': expected <stream>:<seq>:<hash>") from error


def _bytes(name: str) -> bytes:
    try:
        if name.startswith(("http://", "https://")):
            with urllib.request.urlopen(name, timeout=_TIMEOUT_S) as response:  # noqa: S310 - the scheme is checked
                return bytes(response.read(LONGEST_BYTES + 1))
        with Path(name).open("rb") as file:
            return file.read(LONGEST_BYTES + 1)
    except urllib.error.URLError as error:
        raise SourceError(f"{name}: the witness cannot be asked ({error.reason})") from error
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{name}: the witness cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from error
