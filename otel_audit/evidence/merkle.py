"""The Merkle tree of RFC 6962 §2.1: roots, inclusion proofs, consistency proofs.

A seal states the root over the hashes of all records before it. Leaf data are those 32 hash bytes; the
functions take leaf data of any length, because the published vectors do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()


class Tree:
    """An append-only tree that keeps one node a level: 32 bytes for each doubling of its size."""

    __slots__ = ("_levels", "size")

    def __init__(self) -> None:
        self.size = 0
        """Leaves appended."""
        self._levels: list[bytes | None] = []
        """Root of the perfect subtree of 2^level leaves that the size's bit calls for, else None."""

    def append(self, data: bytes) -> None:
        """Add one leaf; two hashes on average."""
        self.size += 1
        self._carry(sha256(b"\x00" + data).digest(), 0)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaves in order; the same as appending each, at two thirds of the cost."""
        nodes = [sha256(b"\x00" + data).digest() for data in leaves]
        self.size += len(nodes)
        levels = self._levels
        level = 0
        while len(nodes) > 1:
            if level == len(levels):
                levels.append(None)
            left = levels[level]
            if left is not None:
                nodes.insert(0, left)
            levels[level] = nodes.pop() if len(nodes) & 1 else None
            pairs = iter(nodes)
            nodes = [sha256(b"\x01" + a + b).digest() for a, b in zip(pairs, pairs, strict=True)]
            level += 1
        for node in nodes:
            self._carry(node, level)

    def _carry(self, node: bytes, level: int) -> None:
        """Add the root of 2^level leaves, which all come after those that are here."""
        levels = self._levels
        for at in range(level, len(levels)):
            left = levels[at]
            if left is None:
                levels[at] = node
                return
            levels[at] = None
            node = sha256(b"\x01" + left + node).digest()
        levels.append(node)

    def copy(self) -> Tree:
        """Return a tree of the same leaves that grows apart."""
        other = Tree()
        other.size = self.size
        other._levels = self._levels.copy()
        return other

    def root(self) -> bytes:
        """Return the tree hash over all leaves so far, 32 bytes."""
        node: bytes | None = None
        for left in self._levels:
            if left is not None:
                node = left if node is None else sha256(b"\x01" + left + node).digest()
        return EMPTY_ROOT if node is None else node


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the tree hash over *leaves*."""
    tree = Tree()
    tree.extend(leaves)
    return tree.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of the leaf at *index* (0-based), nearest sibling first. RFC 6962 §2.1.1.

    Raises:
        IndexError: there is no such leaf.
    """
    size = len(leaves)
    if not 0 <= index < size:
        raise IndexError(f"leaf {index} of a tree of {size}: expected 0 to {size - 1}")
    if size == 1:
        return []
    split = _split(size)
    if index < split:
        return [*inclusion_proof(leaves[:split], index), root_of(leaves[split:])]
    return [*inclusion_proof(leaves[split:], index - split), root_of(leaves[:split])]


def verify_inclusion(data: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether *proof* shows *data* to be leaf *index* (0-based) of the tree of *size* with *root*.

    RFC 9162 §2.1.3.2, whose algorithm fits the trees of RFC 6962.
    """
    if not 0 <= index < size:
        return False
    node, last = index, size - 1
    result = sha256(b"\x00" + data).digest()
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            result = sha256(b"\x01" + sibling + result).digest()
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            result = sha256(b"\x01" + result + sibling).digest()
        node >>= 1
        last >>= 1
    return last == 0 and result == root


def consistency_proof(leaves: Sequence[bytes], first: int) -> list[bytes]:
    """Return the proof that the tree of the *first* leaves is a prefix of the tree of all. RFC 6962 §2.1.2.

    Raises:
        ValueError: *first* is not between 1 and the number of leaves.
    """
    size = len(leaves)
    if not 0 < first <= size:
        raise ValueError(f"first={first} of a tree of {size}: expected 1 to {size}")
    return _subproof(leaves, first, is_whole=True)


def _subproof(leaves: Sequence[bytes], first: int, *, is_whole: bool) -> list[bytes]:
    size = len(leaves)
    if first == size:
        return [] if is_whole else [root_of(leaves)]
    split = _split(size)
    if first <= split:
        return [*_subproof(leaves[:split], first, is_whole=is_whole), root_of(leaves[split:])]
    return [*_subproof(leaves[split:], first - split, is_whole=False), root_of(leaves[:split])]


def verify_consistency(
    first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether *proof* shows the tree of size *first* to be a prefix of that of size *second*.

    RFC 9162 §2.1.4.2. Every tree is consistent with itself by an empty proof; the empty tree proves nothing.
    """
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    node, last = first - 1, second - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old = sha256(b"\x01" + sibling + old).digest()
            new = sha256(b"\x01" + sibling + new).digest()
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new = sha256(b"\x01" + new + sibling).digest()
        node >>= 1
        last >>= 1
    return last == 0 and old == first_root and new == second_root


def _split(size: int) -> int:
    """Largest power of two below *size*, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1
