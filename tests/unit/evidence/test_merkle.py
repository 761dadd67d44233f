"""Known answers of certificate-transparency (merkletree test data), and proofs over every small tree."""

from __future__ import annotations

import pytest

from otel_audit.evidence.merkle import (
    Tree,
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
MANY = [bytes([n]) * 32 for n in range(20)]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    """RFC 6962 §2.1: MTH({}) = SHA-256()."""
    assert Tree().root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_inclusion_proof_is_that_of_certificate_transparency() -> None:
    assert [node.hex() for node in inclusion_proof(LEAVES, 5)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_consistency_proof_is_that_of_certificate_transparency() -> None:
    assert [node.hex() for node in consistency_proof(LEAVES, 6)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@pytest.mark.parametrize("split", range(21))
def test_extending_is_appending(split: int) -> None:
    tree = Tree()
    for leaf in MANY[:split]:
        tree.append(leaf)
    tree.extend(MANY[split:])
    one_by_one = Tree()
    for leaf in MANY:
        one_by_one.append(leaf)

    assert (tree.size, tree.root()) == (20, one_by_one.root())


@pytest.mark.parametrize("size", range(1, 21))
def test_every_leaf_of_every_small_tree_is_proved_and_no_other(size: int) -> None:
    leaves = MANY[:size]
    root = root_of(leaves)
    for index, leaf in enumerate(leaves):
        proof = inclusion_proof(leaves, index)
        assert verify_inclusion(leaf, index, size, proof, root)
        assert not verify_inclusion(b"other", index, size, proof, root)
        assert not verify_inclusion(leaf, index, size, [*proof, root], root)
        assert not verify_inclusion(leaf, index, size, proof[:-1], root) or not proof
        others = [at for at in range(size + 2) if at != index]
        assert not any(verify_inclusion(leaf, at, size, proof, root) for at in others)


@pytest.mark.parametrize("second", range(1, 21))
def test_every_prefix_is_consistent_and_no_other(second: int) -> None:
    root = root_of(MANY[:second])
    for first in range(1, second + 1):
        proof = consistency_proof(MANY[:second], first)
        old = root_of(MANY[:first])
        assert verify_consistency(first, old, second, root, proof)
        assert not verify_consistency(first, root_of([b"x", *MANY[1:first]]), second, root, proof)
        assert not verify_consistency(first, old, second, b"\0" * 32, proof)
        assert not verify_consistency(first, old, second, root, [*proof, root])
        assert not verify_consistency(first, old, second, root, proof[1:]) or not proof


def test_proofs_of_what_is_not_there_are_refused() -> None:
    with pytest.raises(IndexError, match="leaf 3 of a tree of 3"):
        inclusion_proof(MANY[:3], 3)
    with pytest.raises(ValueError, match="first=0"):
        consistency_proof(MANY[:3], 0)
    assert not verify_consistency(0, root_of([]), 3, root_of(MANY[:3]), [])


def test_no_proof_shows_a_tree_of_fewer_levels_than_its_own() -> None:
    """What is left of a proof when the top is reached must not be folded in: it would show any deeper tree."""
    for size in range(2, 21):
        root = root_of(MANY[:size])
        for at, leaf in enumerate(MANY[:size]):
            proof = inclusion_proof(MANY[:size], at)
            shallower = range(1, (1 << (len(proof) - 1)) + 1)
            assert not any(
                verify_inclusion(leaf, index, smaller, proof, root)
                for smaller in shallower
                for index in range(smaller)
            )
    for size in (4, 8, 16):
        old, root = root_of(MANY[: size - 1]), root_of(MANY[:size])
        proof = consistency_proof(MANY[:size], size - 1)
        assert not any(verify_consistency(half - 1, old, half, root, proof) for half in (2, 4, 8) if half < size)
