"""From what a user writes to a source: the table SOURCE of the command line."""

from __future__ import annotations

import re
from pathlib import Path

from otel_audit.errors import SourceError
from otel_audit.sources.directory import read_directory
from otel_audit.sources.otlp_json import is_otlp_json, read_otlp_json
from otel_audit.sources.source import Source

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")
_OTLP_JSON = "otlp-json:"
_BACKENDS = frozenset(
    f"{backend}{transport}"
    for backend in ("clickhouse", "loki", "victorialogs", "elasticsearch", "s3", "kafka")
    for transport in ("", "+http", "+https")
)


def open_source(text: str, *, names_itself: bool = True) -> Source:
    """Return the source that *text* names: a directory or file of record bodies, or of OTLP-JSON.

    *names_itself*: a directory's file `place` is believed, as a spool's is.

    Raises:
        SourceError: it is not there, or of a kind that cannot be read, or not yet.
    """
    scheme = _SCHEME.match(text)
    if scheme is not None:
        kind = "cannot be read yet" if scheme[1] in _BACKENDS else "is not known"
        raise SourceError(
            f"{_without_password(text)}: {scheme[1]}:// {kind} by this version; "
            "export the bodies to a .jsonl file and name that"
        )
    path = Path(text.removeprefix(_OTLP_JSON))
    if text.startswith(_OTLP_JSON) or (is_otlp_json(path.name) and not _is_directory(path)):
        return read_otlp_json(path)
    return read_directory(path, names_itself=names_itself)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # reading it says what is wrong with it


def _without_password(text: str) -> str:
    return re.sub(r"//[^/]*@", "//…@", text)
