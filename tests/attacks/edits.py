"""What an attacker without a key may do to the lines of a stream, for properties to draw from."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from tests.vectors.stream import Members, encode

Lines = list[bytes]


class Edit(NamedTuple):
    """One change to one stream; what the numbers mean is the edit's own affair."""

    what: str
    label: str
    at: int
    number: int = 0
    noise: bytes = b""


def apply(lines: Lines, edit: Edit) -> Lines:
    """The lines after *edit*; those with a line feed in them are as many as a reader sees."""
    if not lines:
        return lines
    changed = EDITS[edit.what](lines, edit._replace(at=edit.at % len(lines)))
    return [part for line in changed for part in line.split(b"\n")]


def _flip(lines: Lines, edit: Edit) -> Lines:
    changed = bytearray(lines[edit.at] or b" ")
    changed[edit.number % len(changed)] ^= 1 + edit.number // 1024 % 255
    return _put(lines, edit.at, bytes(changed))


def _splice(lines: Lines, edit: Edit) -> Lines:
    line = lines[edit.at]
    start = edit.number % (len(line) + 1)
    return _put(lines, edit.at, line[:start] + edit.noise + line[start + edit.number // 4096 % 4 :])


def _drop(lines: Lines, edit: Edit) -> Lines:
    return lines[: edit.at] + lines[edit.at + 1 :]


def _insert(lines: Lines, edit: Edit) -> Lines:
    return [*lines[: edit.at], edit.noise, *lines[edit.at :]]


def _append(lines: Lines, edit: Edit) -> Lines:
    return [*lines, lines[edit.at].replace(b"READ", b"LIST")]


def _cut(lines: Lines, edit: Edit) -> Lines:
    return lines[: edit.at]


def _behead(lines: Lines, edit: Edit) -> Lines:
    return lines[edit.at :]


def _clear(lines: Lines, edit: Edit) -> Lines:
    return []


def _member(lines: Lines, edit: Edit) -> Lines:
    return _rewrite(lines, edit.at, lambda members: _replace(members, edit))


def _context(lines: Lines, edit: Edit) -> Lines:
    def change(members: Members) -> None:
        inner = members.get("context")
        _replace(cast("Members", inner) if isinstance(inner, dict) else members, edit)

    return _rewrite(lines, edit.at, change)


def _number(lines: Lines, edit: Edit) -> Lines:
    return _rewrite(lines, edit.at, lambda members: members.update(seq=edit.number % 13))


def _pretend(lines: Lines, edit: Edit) -> Lines:
    return _rewrite(lines, edit.at, lambda members: members.update(schema=f"otel-audit/{edit.number % 3}"))


def _future(lines: Lines, edit: Edit) -> Lines:
    """From record `at` on, everything happens in 2099."""
    for later in range(edit.at, len(lines)):
        lines = _rewrite(lines, later, _postpone)
    return lines


def _postpone(members: Members) -> None:
    members["observed"] = "2099-01-01T00:00:00.000000000Z"


def _rewrite(lines: Lines, at: int, change: Callable[[Members], None]) -> Lines:
    """Change the members of one line and write it canonically; a line that is no object stays."""
    members = read(lines[at])
    if members is None:
        return lines
    change(members)
    return _put(lines, at, encode(members))


def read(line: bytes) -> Members | None:
    """The members of a line, None where it is no object."""
    try:
        members: Any = json.loads(line)
    except ValueError:
        return None
    return cast("Members", members) if isinstance(members, dict) else None


def _replace(holder: Members, edit: Edit) -> None:
    if not holder:
        return
    name = sorted(holder)[edit.number % len(holder)]
    values: list[Any] = [edit.noise.decode("latin-1"), edit.number, True, None, [], {}, 0, "0" * 32, holder[name]]
    choice = edit.number % 11
    if choice < len(values):
        holder[name] = values[choice]
    else:
        del holder[name]


def _put(lines: Lines, at: int, line: bytes) -> Lines:
    return [*lines[:at], line, *lines[at + 1 :]]


EDITS: dict[str, Callable[[Lines, Edit], Lines]] = {
    "flip": _flip,
    "splice": _splice,
    "drop": _drop,
    "insert": _insert,
    "append": _append,
    "cut": _cut,
    "behead": _behead,
    "clear": _clear,
    "member": _member,
    "context": _context,
    "number": _number,
    "pretend": _pretend,
    "future": _future,
}
