"""The directories below one path, and what lies in each: for every source that is a tree of files.

A link to a directory is not followed, as a hostile one may lead anywhere, or round in a circle; but what an
honest one leads to (a service's directory that was moved to a larger disk) is not left out without a word either.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from otel_audit.errors import SourceError

_RETIRING = re.compile(r"retiring-[0-9a-f]{32}")
"""Being removed; a service may be called `retiring-customers`."""


def walk(top: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each directory from *top* downwards, and the names of what lies in it and is no directory.

    What retention is removing and what is just being made stands in no reader's sight; one that is removed
    meanwhile is passed over. Of a million directories only the names are kept.

    Raises:
        SourceError: a directory cannot be listed, or a link leads to a directory that is not read here, or nowhere.
    """
    todo = [("", [str(top)])]
    while todo:
        above, left = todo[-1]
        if not left:
            todo.pop()
            continue
        directory = os.path.join(above, left.pop())  # noqa: PTH118 - a path keeps its parts, and a table of them
        names: list[str] = []
        below: list[str] = []
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_symlink() and not entry.is_file():
                        _check_link(top, Path(entry.path))
                    (below if entry.is_dir(follow_symlinks=False) else names).append(entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SourceError(f"{error.filename}: cannot be listed: {error.strerror}") from error
        yield directory, names
        todo.append((directory, sorted(filter(_is_in_sight, below), reverse=True)))


def _is_in_sight(name: str) -> bool:
    return not name.startswith(".") and _RETIRING.fullmatch(name) is None


def _check_link(top: Path, link: Path) -> None:
    """Refuse a link, not to a file, whose target is not read in its own place."""
    if not _is_in_sight(link.name):
        return
    try:
        target = link.resolve(strict=True)
        if not target.is_dir():
            return  # a device or a pipe: whoever opens it by its name refuses it
        within = target.relative_to(top.resolve())
    except (OSError, RuntimeError, ValueError):
        within = None
    if within is None or not all(map(_is_in_sight, within.parts)):
        raise SourceError(
            f"{link}: a link that leads out of {top}, or nowhere, and is not followed: what it should hold would "
            "be left out. Mount that there (mount --bind), or name the directories to be read one by one"
        )
