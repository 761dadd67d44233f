"""A hostile archive: the verifier ends, in bounded memory, with a verdict or a SourceError, never otherwise."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_audit.errors import SourceError
from tests.attacks.world import ISSUER, LocalKey, World, kinds, stream
from tests.vectors import x509
from tests.vectors.stream import SECOND, T0, Stream, encode

LATER = T0 + 3600 * SECOND
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_a_line_of_a_hundred_megabytes_is_one_malformed_line(world: World) -> None:
    with world.write().joinpath("huge.jsonl").open("wb") as file:
        file.truncate(100_000_000)
        file.seek(100_000_000)
        file.write(b"\n")

    verdict, peak = _traced(world)

    assert kinds(verdict) == {"malformed"}
    assert peak < 32_000_000


def test_a_gzip_bomb_costs_no_memory(world: World) -> None:
    with gzip.open(world.write() / "bomb.jsonl.gz", "wb", compresslevel=1) as file:
        for _ in range(100):
            file.write(b"a" * 1_000_000)
        file.write(b"\n")

    verdict, peak = _traced(world)

    assert kinds(verdict) == {"malformed"}
    assert peak < 32_000_000


def _traced(world: World) -> tuple[Any, int]:
    tracemalloc.start()
    try:
        verdict = world.verdict(write=False)
        return verdict, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_half_a_gzip_file_is_not_passed_over(world: World) -> None:
    """Its records are cut off where the file is; that must not look like their end."""
    path = world.write() / "more.jsonl.gz"
    one = stream("more", start=LATER).begin().events(50).close()
    path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in one.lines))[:-200])

    with pytest.raises(SourceError):
        world.verdict(write=False)


def test_half_a_zstd_file_is_not_passed_over(world: World) -> None:
    path = world.write() / "more.jsonl.zst"
    one = stream("more", start=LATER).begin().events(50).close()
    path.write_bytes(zstandard.compress(b"".join(line + b"\n" for line in one.lines))[:-200])

    with pytest.raises(SourceError):
        world.verdict(write=False)


def test_a_stream_in_many_files_costs_no_more_memory_than_in_one(world: World) -> None:
    """An archive exported piece by piece: sixty files of a megabyte, one stream."""
    one = stream("long", start=LATER).begin()
    for _ in range(60 * 17):
        one.event(context={"pad": "x" * 60_000})
    one.close()
    home = world.write()
    for at in range(0, len(one.lines), 17):
        (home / f"{at:012d}.jsonl").write_bytes(b"".join(line + b"\n" for line in one.lines[at : at + 17]))

    verdict, peak = _traced(world)

    assert verdict.status == "verified"
    assert peak < 64_000_000


def test_a_hundred_thousand_malformed_lines_are_one_finding_with_a_count(world: World) -> None:
    (world.write() / "noise.jsonl").write_bytes(b"noise\n" * 100_000)

    verdict = world.verdict(write=False)

    found = [one for one in verdict.findings if one.kind == "malformed"]
    assert sum(one.count for one in found) == 100_000
    assert len(found) < 1_000


def test_a_pipe_in_the_archive_does_not_stop_the_verifier(world: World) -> None:
    """In a process of its own, which a reader that opens the pipe would hang."""
    os.mkfifo(world.write() / "pipe.jsonl")
    program = (
        "import sys; from pathlib import Path; from otel_audit.sources import read_directory\n"
        "from otel_audit.verify import verify; from otel_audit.errors import SourceError\n"
        "try: print(verify([read_directory(Path(sys.argv[1]))], trust=[]).status)\n"
        "except SourceError: print('unreadable')\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(world.home)], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() in {"incomplete", "tampered", "unreadable"}


def test_a_directory_that_contains_itself_is_read_once(world: World) -> None:
    (world.write() / "shop" / "again").symlink_to(world.home, target_is_directory=True)

    assert world.verdict(write=False).status == "verified"


def test_a_dangling_link_is_not_passed_over_as_an_empty_file(world: World) -> None:
    world.write()
    path = world.file("newest")
    path.unlink()
    path.symlink_to(world.home / "nowhere")

    with pytest.raises(SourceError):
        world.verdict(write=False)


@pytest.mark.parametrize("what", ["a service", "a stream"])
def test_what_was_moved_to_another_disk_is_not_left_out_without_a_word(
    world: World, tmp_path: Path, what: str
) -> None:
    """The service goes on writing through the link; a verdict on the rest would say that all is there."""
    folder = world.write() / "billing" / ("" if what == "a service" else world.id("other"))
    folder = folder.rename(tmp_path / "larger disk")
    link = world.home / "billing" / ("" if what == "a service" else world.id("other"))
    link.symlink_to(folder, target_is_directory=True)

    with pytest.raises(SourceError, match="not followed"):
        world.verdict(write=False)


def test_a_link_to_a_disk_that_is_not_there_is_not_passed_over(world: World, tmp_path: Path) -> None:
    (world.write() / "payments").symlink_to(tmp_path / "not mounted")

    with pytest.raises(SourceError, match="not followed"):
        world.verdict(write=False)


def test_a_link_to_what_is_out_of_sight_is_not_passed_over(world: World) -> None:
    """Kubernetes' `..data`: what lies in it is read nowhere else."""
    hidden = (world.write() / "shop").rename(world.home / "..data")
    (world.home / "shop").symlink_to(hidden, target_is_directory=True)

    with pytest.raises(SourceError, match="not followed"):
        world.verdict(write=False)


def test_names_of_files_and_folders_prove_nothing(world: World) -> None:
    """Records are grouped by what they say; service and stream in a path are for people."""
    home = world.write()
    (home / "shop").rename(home / "billing%2F..%2F")
    (home / "billing" / world.id("other")).rename(home / "billing" / "..hidden")

    assert world.verdict(write=False).status == "verified"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff" * 100, b"x" * 1_000_000, b"../../etc"])
def test_a_strange_place_file_breaks_nothing(world: World, content: bytes) -> None:
    (world.write() / "place").write_bytes(content)

    assert world.verdict(write=False).status == "verified"


def _opened_with(certificates: list[bytes], **context: Any) -> Stream:
    texts = [base64.b64encode(one).decode() for one in certificates]
    changes = {"audit.certificate": texts} | context
    return stream("odd", start=LATER, open_changes=changes).begin().events(1).seal().close()


CERTIFICATES: dict[str, list[bytes]] = {
    "none": [],
    "empty": [b""],
    "noise": [b"\x30\x82" + bytes(50)],
    "a key": [LocalKey("x").spki],
    "deep DER": [b"\x30\x80" * 5_000],
    "a thousand": [b"0"] * 1_000,
}


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_a_strange_certificate_is_a_finding(world: World, kind: str) -> None:
    world.add(_opened_with(CERTIFICATES[kind]))

    assert world.verdict().status == "tampered"


@pytest.mark.parametrize("text", ["!", "=", "AAAA\n", "A", "é", "A" * 9_999])
def test_a_certificate_that_is_no_base64_is_a_finding(world: World, text: str) -> None:
    odd = stream("odd", start=LATER, open_changes={"audit.certificate": [text]})
    world.add(odd.begin().events(1).seal().close())

    assert world.verdict().status == "tampered"


@pytest.mark.parametrize("version", [0, 1, 3, 127, 255])
def test_a_certificate_of_a_strange_version_is_a_finding(world: World, version: int) -> None:
    der = stream("odd", start=LATER).issue(ISSUER)[0]
    assert der.count(b"\xa0\x03\x02\x01\x02") == 1
    world.add(_opened_with([der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01" + bytes([version]))]))

    assert world.verdict().status == "tampered"


@FEW
@given(st.data())
def test_no_damage_to_a_certificate_goes_unseen_or_breaks_the_verifier(world: World, data: st.DataObject) -> None:
    """Its signature covers every byte, so any change is a finding; and parsing hostile DER is no crash."""
    der = bytearray(stream("odd", start=LATER).issue(ISSUER)[0])
    at = data.draw(st.integers(0, len(der) - 1))
    der[at] ^= data.draw(st.integers(1, 255))
    world.add(_opened_with([bytes(der)]))

    assert world.verdict().status == "tampered"


X400 = x509.tlv(0xA3, x509.tlv(0x30))
"""A GeneralName of a kind that the cryptography package has no class for."""
ODD_EXTENSIONS: dict[str, list[bytes]] = {
    "X.400 name": [*x509.LEAF, x509.extension("2.5.29.17", x509.tlv(0x30, X400))],
    "X.400 authority": [*x509.LEAF, x509.extension("2.5.29.35", x509.tlv(0x30, x509.tlv(0xA1, X400)))],
    "TLS feature 99": [*x509.LEAF, x509.extension("1.3.6.1.5.5.7.1.24", b"\x30\x03\x02\x01\x63")],
    "twice the same": [*x509.LEAF, x509.basic_constraints(ca=False)],
    "constraints of noise": [x509.extension("2.5.29.19", b"noise", critical=True)],
    "usage of noise": [x509.LEAF[0], x509.extension("2.5.29.15", b"\x04\x01\x00", critical=True)],
    "names of noise": [*x509.LEAF, x509.extension("2.5.29.17", b"\x30\x03\x87\x01\x01")],
    "a CA below zero": [x509.extension("2.5.29.19", b"\x30\x06\x01\x01\xff\x02\x01\xff", critical=True)],
}


@pytest.mark.parametrize("kind", ODD_EXTENSIONS)
def test_odd_but_well_signed_extensions_end_in_a_verdict(world: World, kind: str) -> None:
    odd = stream("odd", start=LATER)
    world.add(_opened_with(odd.issue(ISSUER, extensions=ODD_EXTENSIONS[kind])))

    assert world.verdict().status in {"tampered", "verified"}


ODD_VALUES: dict[str, Any] = {
    "audit.predecessors": ["", ":", "::", "a:b:c", f"{'a' * 32}:٣:{'b' * 64}", f"{'a' * 32}:+1:{'b' * 64}",
                           f"{'a' * 32}:01:{'b' * 64}", f"{'a' * 32}:1_0:{'b' * 64}", f"{'a' * 32}:0:{'b' * 64}",
                           f"{'a' * 32}: 1:{'b' * 64}", f"{'a' * 32}:{'9' * 5000}:{'b' * 64}"],
    "audit.seal.interval_ms": [0, -1, -(2**53) + 1, 2**53 - 1],
    "audit.heartbeat.interval_ms": [0, -1, 2**53 - 1],
    "audit.seal.next_by": ["9999-12-31T23:59:59.999999999Z", "0000-01-01T00:00:00.000000000Z", "", "soon"],
    "audit.sign": ["", "never", "RECORD"],
    "service.name": ["", "\x00", "../..", "x" * 10_000, 7],
}  # fmt: skip


@pytest.mark.parametrize(
    ("member", "value"), [(member, value) for member, values in ODD_VALUES.items() for value in values]
)
def test_a_well_signed_absurdity_in_an_open_ends_in_a_verdict(world: World, member: str, value: Any) -> None:
    """Whoever holds a certificate may still not crash the verifier, nor send it round for ever."""
    odd = [value] if member == "audit.predecessors" else value
    service = value if member == "service.name" and isinstance(value, str) else "shop"
    one = stream("odd", service="shop", start=LATER, open_changes={member: odd})
    path = one.issue(ISSUER, subject=[(x509.CN, one.id), (x509.O, service or "shop")])
    world.add(one.certify(path).begin().events(1).seal().close())

    assert world.verdict().status in {"tampered", "incomplete", "verified"}


def test_recoveries_in_a_ring_end_in_a_verdict(world: World) -> None:
    a = stream("a", start=LATER).begin().events(1)
    b = stream("b", start=LATER).begin().events(1).recover(a, sealed=2)
    a.recover(b, sealed=4)
    world.add(a.seal(), "a")
    world.add(b.seal(), "b")

    assert world.verdict().status == "tampered"


def test_predecessors_in_a_ring_end_in_a_verdict(world: World) -> None:
    a = stream("a", start=LATER).begin()
    b = stream("b", start=LATER, predecessors=[a.reference()]).begin().close()
    a.lifecycle("audit.stream.linked", {"audit.predecessors": [b.reference(), a.reference()]})
    world.add(a.close(), "a")
    world.add(b, "b")

    assert world.verdict().status in {"tampered", "verified"}


@FEW
@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(0, 2**32))
def test_noise_ends_in_a_verdict(world: World, noise: list[bytes], seed: int) -> None:
    mixed = [*noise, *world.honest["first"]]
    random.Random(seed).shuffle(mixed)
    world.lines["first"] = mixed

    assert world.verdict().status in {"tampered", "verified"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@FEW
@given(st.data())
def test_any_value_in_any_member_of_any_record_ends_in_a_verdict(world: World, data: st.DataObject) -> None:
    label = data.draw(st.sampled_from(["first", "second", "third"]))
    at = data.draw(st.integers(1, 9))
    members = json.loads(world.honest[label][at - 1])
    inside = data.draw(st.booleans())
    holder = members["context"] if inside else members
    name = data.draw(st.sampled_from(sorted(holder)))
    holder[name] = data.draw(JSON)
    world.lines[label] = [*world.honest[label][: at - 1], encode(members), *world.honest[label][at:]]

    assert world.verdict().status in {"tampered", "verified", "incomplete"}


def test_the_archive_itself_is_never_written_to(world: World) -> None:
    before = {path: path.stat().st_mtime_ns for path in _files(world.write())}

    world.verdict(write=False)

    assert {path: path.stat().st_mtime_ns for path in _files(world.home)} == before


def _files(home: Path) -> list[Path]:
    return sorted(path for path in home.rglob("*"))
