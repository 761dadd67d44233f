"""What differs between a manifest that was kept and what is found now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

_KEYS = {"libraries": ("library",), "models": ("model",), "routes": ("route", "endpoint", "methods")}


def differences(kept: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """One line for each thing that is new, gone or changed."""
    for name in ("application", "policy"):
        if kept.get(name) != found.get(name):
            yield f"{name}: {kept.get(name)} → {found.get(name)}"
    for section, key in _KEYS.items():
        before, after = _by_key(kept.get(section), key), _by_key(found.get(section), key)
        for row in sorted(before.keys() | after.keys()):
            if row not in after:
                yield f"{section}: {row} is gone"
            elif row not in before:
                yield f"{section}: {row} is new"
            else:
                for member, value in sorted(after[row].items()):
                    was = before[row].get(member)
                    if was != value:
                        yield f"{section}: {row}: {member}: {_text(was)} → {_text(value)}"


def is_comparable(kept: Mapping[str, Any]) -> bool:
    """Whether the rows of a manifest that was kept have what they are known by."""
    for section, key in _KEYS.items():
        rows: object = kept.get(section, [])
        if not isinstance(rows, list):
            return False
        for row in cast("list[object]", rows):
            if not isinstance(row, dict) or not all(name in row for name in key):
                return False
    return True


def _by_key(rows: Any, key: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
    return {" ".join(_text(row[name]) for name in key).strip(): row for row in rows or ()}


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - of a JSON list
