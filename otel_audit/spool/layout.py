"""Where things lie in a state directory: "On disk" in the evidence format, and the files beside the evidence.

    <directory>/place                               the directory's own random name
    <directory>/identity/issuer.pem                 what `evidence.identity` keeps
    <directory>/hash.key                            key of `hash:` values
    <directory>/clock                               what the clocks said when retention last ran (no evidence)
    <directory>/<service>/<stream>/000000000001.jsonl   records, one a line
    <directory>/<service>/<stream>/owner.lock       held by the process that writes the stream
    <directory>/<service>/<stream>/ended            once nothing will follow: where it ended (an index, no evidence)
    <directory>/<service>/<stream>/named            once another stream names that end (likewise)
    <directory>/<service>/<stream>/delivered        how far it was delivered (an index, no evidence)
    <directory>/<service>/<stream>/export.lock      held by the process that delivers the stream
    <directory>/<service>/<stream>/handed, handed.lock  the same, of SigningLogRecordProcessor
    <directory>/<service>/<stream>/*.torn           what a power cut left behind a hole, set aside
    <directory>/<service>/retiring-<stream>/        being removed by retention
    <directory>/<service>/.new-<stream>/            being made, not yet locked
    <directory>/quarantine/<stream>-<seq>.record    a record that the sink refuses, alone

Directories are 0700, files 0600: records say who did what.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from otel_audit.spool.descriptor import Descriptor

SEGMENT_SUFFIX = ".jsonl"
LOCK = "owner.lock"
ENDED = "ended"
NAMED = "named"
DELIVERED = "delivered"
EXPORT_LOCK = "export.lock"
QUARANTINE = "quarantine"
RETIRING = "retiring-"
UNLOCKED = ".new-"
_STREAM = re.compile(r"[0-9a-f]{32}")


def service_directory(directory: Path, service: str) -> Path:
    """Directory of a service's streams; percent-encoded, so that none can point elsewhere or be hidden."""
    encoded = quote(service, safe="")
    return directory / ("%2E" + encoded[1:] if encoded.startswith(".") else encoded)


def service_names(directory: Path) -> list[str]:
    """Services that have streams in a state directory, in order of their names; none where it does not exist."""
    if not directory.is_dir():
        return []
    return sorted(
        unquote(path.name) for path in directory.iterdir() if path.is_dir() and any(stream_directories(path))
    )


def segment_name(first_seq: int) -> str:
    """File name of the segment that begins with record *first_seq*."""
    return f"{first_seq:012d}{SEGMENT_SUFFIX}"


def segments(stream_directory: Path) -> list[Path]:
    """A stream's segments in order of their first record."""
    return sorted(stream_directory.glob(f"[0-9]*{SEGMENT_SUFFIX}"))


def stream_directories(service: Path) -> Iterator[Path]:
    """Every stream's directory of a service, in no order; none when the service has none."""
    with contextlib.suppress(FileNotFoundError), os.scandir(service) as entries:
        for entry in entries:
            if _STREAM.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


def make_directory(path: Path) -> None:
    """Make *path* and its parents with mode 0700, whatever the process's umask adds.

    Raises:
        OSError: it cannot be made.
    """
    if not path.is_dir():
        make_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable.

    Raises:
        OSError: the directory cannot be opened or synced.
    """
    Descriptor(path, os.O_RDONLY | os.O_DIRECTORY).sync_and_close(path)


def write_durably(path: Path, data: bytes) -> None:
    """Put a small file in place, whole or not at all, and sync it.

    Raises:
        OSError: it cannot be written; what stood there before still does.
    """
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        raise
    sync_directory(path.parent)


def place_name(directory: Path) -> str:
    """The directory's own random name, made on first use; two processes that start at once agree on one.

    Raises:
        OSError: it can be neither read nor made.
    """
    return create_once(directory / "place", secrets.token_hex(16).encode()).decode().strip()


def create_once(path: Path, data: bytes) -> bytes:
    """What *path* holds, after making it with *data* where it did not exist: the first of several wins.

    Raises:
        OSError: it can be neither read nor made.
    """
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    make_directory(path.parent)
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    write_durably(draft, data)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    sync_directory(path.parent)
    return path.read_bytes()
