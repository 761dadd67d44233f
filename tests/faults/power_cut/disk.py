"""A disk that loses power: what POSIX lets be left of a run's operations.

Only a finished `fsync` promises anything: of a file its content and size, of a directory its names. Whatever is
younger may be there or not, on its own: each block of a file as it was at any moment since, its size likewise
(zeros where the bytes did not come along), each name that was made, moved or removed. A rename is whole or not at
all. `fsync` of a file says nothing of its name, unlike on ext4.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.power_cut.recording import Operation

BLOCK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Tree:
    """Directories and files as they are found when power is back, by path from the recorded folder on."""

    directories: tuple[str, ...]
    files: tuple[tuple[str, bytes], ...]

    def write(self, folder: Path) -> None:
        """Put everything into an empty *folder*."""
        for name in self.directories:
            (folder / name).mkdir(mode=0o700)
        for name, content in self.files:
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o600)


@dataclass(slots=True)
class _File:
    versions: list[tuple[int, bytes]]
    """Content after each operation, with that operation's number."""
    syncs: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Number of a finished sync, and of the first operation that it does not cover."""
    position: int = 0


@dataclass(slots=True)
class _Directory:
    changes: list[tuple[int, dict[str, int | None]]] = field(
        default_factory=list[tuple[int, dict[str, int | None]]]
    )
    """Names that an operation set, each to an inode or to none."""
    names: dict[str, int] = field(default_factory=dict[str, int])
    """As they are now."""
    syncs: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


def _covered(syncs: Sequence[tuple[int, int]], cut: int) -> int:
    """Number of the first operation that no sync before *cut* covers."""
    return max((until for number, until in syncs if number < cut), default=0)


class Disk:
    """A folder's history; what stood there when the recording began is durable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._inodes: list[_File | _Directory] = []
        self.count = 0
        self._load(folder)

    def _load(self, folder: Path) -> int:
        number = len(self._inodes)
        directory = _Directory()
        self._inodes.append(directory)
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_dir():
                inode = self._load(path)
            else:
                inode = len(self._inodes)
                self._inodes.append(_File([(-1, path.read_bytes())]))
            directory.names[path.name] = inode
        directory.changes.append((-1, dict(directory.names)))
        return number

    # Recording

    def apply(self, operation: Operation) -> None:
        """Do what was done."""
        number = self.count
        self.count += 1
        path = operation.path
        if not Path(path).is_relative_to(self._folder):
            return
        match operation.kind:
            case "create":
                parent, name = self._parent(path)
                if name not in parent.names:
                    self._name(path, self._new(_File([(number, b"")])))
                self._file(path).position = 0
            case "mkdir":
                self._name(path, self._new(_Directory()))
            case "write":
                file = self._file(path)
                before = file.versions[-1][1]
                at = len(before) if operation.appends else file.position
                end = at + len(operation.data)
                file.versions.append((number, before[:at].ljust(at, b"\0") + operation.data + before[end:]))
                file.position = end
            case "truncate":
                file = self._file(path)
                file.versions.append((number, file.versions[-1][1][: operation.size].ljust(operation.size, b"\0")))
            case "sync":
                self._inodes[self._find(path)].syncs.append((number, operation.began))
            case "rename":
                self._rename(path, operation.to)
            case "link":
                self._name(operation.to, self._find(path))
            case "unlink" | "rmdir":
                self._name(path, None)

    def _new(self, inode: _File | _Directory) -> int:
        self._inodes.append(inode)
        return len(self._inodes) - 1

    def _directory(self, path: Path) -> _Directory:
        found = self._inodes[self._find(str(path))]
        assert isinstance(found, _Directory), path
        return found

    def _parent(self, path: str) -> tuple[_Directory, str]:
        return self._directory(Path(path).parent), Path(path).name

    def _find(self, path: str) -> int:
        number = 0
        for name in Path(path).relative_to(self._folder).parts:
            directory = self._inodes[number]
            assert isinstance(directory, _Directory), path
            number = directory.names[name]
        return number

    def _file(self, path: str) -> _File:
        found = self._inodes[self._find(path)]
        assert isinstance(found, _File), path
        return found

    def _name(self, path: str, inode: int | None) -> None:
        parent, name = self._parent(path)
        self._change(parent, {name: inode})

    def _change(self, directory: _Directory, names: dict[str, int | None]) -> None:
        directory.changes.append((self.count - 1, names))
        for name, inode in names.items():
            if inode is None:
                directory.names.pop(name, None)
            else:
                directory.names[name] = inode

    def _rename(self, path: str, to: str) -> None:
        inode = self._find(path)
        source, target = self._parent(path), self._parent(to)
        assert source[0] is target[0], f"{path} -> {to}: between directories a rename is not modelled"
        self._change(source[0], {source[1]: None, target[1]: inode})

    # Losing

    def after(self, cut: int, loss: Loss) -> Tree:
        """What *loss* leaves of the first *cut* operations."""
        directories: list[str] = []
        files: list[tuple[str, bytes]] = []

        def walk(number: int, prefix: str) -> None:
            inode = self._inodes[number]
            if isinstance(inode, _File):
                files.append((prefix, loss.content(inode.versions, _covered(inode.syncs, cut), cut)))
                return
            if prefix:
                directories.append(prefix)
            for name, child in sorted(loss.names(inode.changes, _covered(inode.syncs, cut), cut).items()):
                walk(child, f"{prefix}/{name}" if prefix else name)

        walk(0, "")
        return Tree(tuple(directories), tuple(files))

    def durable_lines(self, cut: int, suffix: str) -> set[bytes]:
        """Whole lines of files that were once called *…suffix*, as far as syncs that finished before *cut* go.

        Of files that the run has written to: what stood in others at the beginning is not among them.
        """
        lines: set[bytes] = set()
        for file in self._called(suffix):
            until = _covered(file.syncs, cut)
            content = [data for number, data in file.versions if 0 <= number < until]
            lines.update(content[-1].split(b"\n")[:-1] if content else ())
        return lines

    def written_lines(self, cut: int, suffix: str) -> set[bytes]:
        """Whole lines of such files, synced or not."""
        contents = (data for file in self._called(suffix) for number, data in file.versions if number < cut)
        return {line for content in contents for line in content.split(b"\n")[:-1]}

    def _called(self, suffix: str) -> Iterator[_File]:
        for inode in self._inodes:
            for _, names in inode.changes if isinstance(inode, _Directory) else ():
                for name, child in names.items():
                    file = None if child is None else self._inodes[child]
                    if name.endswith(suffix) and isinstance(file, _File):
                        yield file


class Loss:
    """Decides what is left of what no sync covers; this one keeps everything, as `kill -9` does."""

    def __repr__(self) -> str:
        return type(self).__name__

    def content(self, versions: Sequence[tuple[int, bytes]], covered: int, cut: int) -> bytes:
        """One file's content; *versions* from *covered* up to *cut* are not certain."""
        certain = [data for number, data in versions if number < covered or number < 0]
        open_ = [data for number, data in versions if max(covered, 0) <= number < cut]
        base = certain[-1] if certain else b""
        return self.keep_content([base, *open_])

    def names(self, changes: Sequence[tuple[int, dict[str, int | None]]], covered: int, cut: int) -> dict[str, int]:
        """One directory's names."""
        certain = [names for number, names in changes if number < covered or number < 0]
        open_ = [names for number, names in changes if max(covered, 0) <= number < cut]
        found: dict[str, int] = {}
        for names in [*certain, *self.keep_names(open_)]:
            for name, inode in names.items():
                if inode is None:
                    found.pop(name, None)
                else:
                    found[name] = inode
        return found

    def keep_content(self, versions: Sequence[bytes]) -> bytes:
        """One of the contents that *versions*, the first of them certain, allow."""
        return versions[-1]

    def keep_names(self, changes: Sequence[dict[str, int | None]]) -> Sequence[dict[str, int | None]]:
        """Those changes of names that came through."""
        return changes


def blocks(versions: Sequence[bytes], size: int, choose: Sequence[int], block_bytes: int = BLOCK_BYTES) -> bytes:
    """A file of *size* bytes whose n-th block is of the version *choose*[n]."""
    parts = (
        versions[choice][number * block_bytes : (number + 1) * block_bytes].ljust(block_bytes, b"\0")
        for number, choice in enumerate(choose)
    )
    return b"".join(parts)[:size].ljust(size, b"\0")


class Everything(Loss):
    """All that no sync covers is lost."""

    def keep_content(self, versions: Sequence[bytes]) -> bytes:
        return versions[0]

    def keep_names(self, changes: Sequence[dict[str, int | None]]) -> Sequence[dict[str, int | None]]:
        return ()


class Contents(Loss):
    """Names and sizes came through, blocks only where *keeps* says so: else zeros, or what was certain."""

    def __init__(self, keeps: str) -> None:
        self._keeps = keeps

    def __repr__(self) -> str:
        return f"Contents({self._keeps!r})"

    def keep_content(self, versions: Sequence[bytes]) -> bytes:
        size = len(versions[-1])
        count = -(-size // BLOCK_BYTES)
        first_open = len(versions[0]) // BLOCK_BYTES
        kept = {
            "none": range(0),
            "first": range(first_open, first_open + 1),
            "last": range(count - 1, count),
            "even": range(0, count, 2),
            "odd": range(1, count, 2),
        }[self._keeps]
        return blocks(versions, size, [-1 if number in kept else 0 for number in range(count)])


class Names(Loss):
    """Contents came through, names did not."""

    def keep_names(self, changes: Sequence[dict[str, int | None]]) -> Sequence[dict[str, int | None]]:
        return ()


class Sizes(Loss):
    """Sizes stayed behind, all else came through: what was appended cannot be seen."""

    def keep_content(self, versions: Sequence[bytes]) -> bytes:
        return versions[-1][: len(versions[0])]


class Chance(Loss):
    """Whatever *seed* says, each block, size and name on its own; blocks of a page or of a sector."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._block_bytes = self._random.choice((BLOCK_BYTES, BLOCK_BYTES, 512))
        self._is_late = self._random.random() < 0.5

    def keep_content(self, versions: Sequence[bytes]) -> bytes:
        if len(versions) == 1:
            return versions[0]
        size = len(self._random.choice(versions))
        choose = [self._random.randrange(len(versions)) for _ in range(-(-size // self._block_bytes))]
        return blocks(versions, size, choose, self._block_bytes)

    def keep_names(self, changes: Sequence[dict[str, int | None]]) -> Sequence[dict[str, int | None]]:
        if self._is_late:  # a journal: up to some point all of them, then none
            return changes[: self._random.randint(0, len(changes))]
        return [change for change in changes if self._random.random() < 0.5]


EXTREMES: tuple[Loss, ...] = (
    Loss(),
    Everything(),
    Names(),
    Sizes(),
    *(Contents(keeps) for keeps in ("none", "first", "last", "even", "odd")),
)
