"""Spools and trees of files as a source, and what a user may write to name one."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard

from otel_audit.errors import SourceError
from otel_audit.sources import open_source, read_directory
from otel_audit.verify import Verdict, verify
from tests.archives import Archive, Stream
from tests.privileges import bound_by_permissions


@pytest.fixture
def archive() -> Archive:
    archive = Archive(service="shop & co")
    reference = None
    for _ in range(3):
        stream = archive.stream(predecessors=[reference] if reference else [])
        stream.events(5)
        stream.close()
        reference = stream.reference()
    return archive


def judged(archive: Archive, *paths: Path) -> Verdict:
    return verify(
        [read_directory(path) for path in paths],
        trust=[archive.issuer.certificate],
        now=archive.clock.moment + timedelta(seconds=1),
    )


def lines(stream: Stream) -> bytes:
    return b"".join(body + b"\n" for body in stream.records)


def test_a_spool_is_read_and_names_itself(archive: Archive, tmp_path: Path) -> None:
    archive.write(tmp_path)
    source = read_directory(tmp_path)

    assert (source.place, source.local) == ("place-1", True)
    assert [lane.stream for lane in source.lanes()] == sorted(stream.id for stream in archive.streams)
    verdict = judged(archive, tmp_path)
    assert (verdict.status, verdict.records) == ("verified", 21)


def test_segments_are_read_in_order_whatever_they_are_packed_in(archive: Archive, tmp_path: Path) -> None:
    stream = archive.streams[0]
    where = tmp_path / "shop" / stream.id
    where.mkdir(parents=True)
    bodies = [body + b"\n" for body in stream.records]
    (where / "000000000001.jsonl.gz").write_bytes(gzip.compress(b"".join(bodies[:2])))
    (where / "000000000003.jsonl.zst").write_bytes(zstandard.compress(b"".join(bodies[2:5])))
    (where / "000000000006.jsonl").write_bytes(b"".join(bodies[5:]) + b'{"torn' + bytes(5000))

    verdict = judged(archive, tmp_path)

    assert (verdict.status, verdict.records) == ("verified", 7)


def test_what_is_no_segment_is_not_looked_at(archive: Archive, tmp_path: Path) -> None:
    archive.write(tmp_path)
    where = tmp_path / archive.streams[0].directory
    for name in ("owner.lock", "ended", "000000000001.torn", "x.json"):
        (where / name).write_bytes(b"\xff nothing\n")
    shutil.copytree(where, where.parent / f"retiring-{archive.streams[1].id}")
    (where.parent / f"retiring-{archive.streams[1].id}" / "000000000001.jsonl").write_bytes(b"half gone\n")
    shutil.copytree(where.parent / f"retiring-{archive.streams[1].id}", where.parent / ".new-x")

    assert judged(archive, tmp_path).status == "verified"


def test_one_file_of_everything_in_any_order_is_sorted(archive: Archive, tmp_path: Path) -> None:
    bodies = [*archive.bodies, *archive.bodies[:4]]
    random.Random(7).shuffle(bodies)
    path = tmp_path / "all.jsonl"
    path.write_bytes(b"".join(body + b"\n" for body in bodies))

    verdict = judged(archive, path)

    assert (verdict.status, verdict.records) == ("verified", 21)
    assert judged(archive, path, archive.write(tmp_path / "spool")).records == 21


def test_a_stream_in_many_files_is_one_stream(archive: Archive, tmp_path: Path) -> None:
    for number, body in enumerate(archive.bodies):
        (tmp_path / f"part-{97 * number % 100:02d}.jsonl").write_bytes(body + b"\n")

    verdict = judged(archive, tmp_path)

    assert (verdict.status, verdict.records) == ("verified", 21)


def test_records_under_a_wrong_name_are_read_for_what_they_are(archive: Archive, tmp_path: Path) -> None:
    archive.write(tmp_path)
    first, second = archive.streams[0], archive.streams[1]
    with (tmp_path / first.directory / "000000000001.jsonl").open("ab") as file:
        file.write(lines(second))
    shutil.rmtree(tmp_path / second.directory)

    verdict = judged(archive, tmp_path)

    assert (verdict.status, verdict.records) == ("verified", 21)


def test_the_message_says_where_a_malformed_line_stands(archive: Archive, tmp_path: Path) -> None:
    archive.streams[0].records[2] += b"\r"
    archive.write(tmp_path)

    finding = next(f for f in judged(archive, tmp_path).findings if f.kind == "malformed")

    assert archive.streams[0].id in finding.message
    assert "line 3" in finding.message


def test_a_stream_that_retention_removes_while_it_is_read_is_absent_as_a_whole(
    archive: Archive, tmp_path: Path
) -> None:
    """Between listing and reading; half of it would look tampered with."""
    archive.write(tmp_path)
    gone = tmp_path / archive.streams[0].directory

    class Retired:
        name, place, local = "retired", "place-1", True
        reorder = read_directory(tmp_path).reorder

        def lanes(self) -> object:
            yield from list(read_directory(tmp_path).lanes())
            shutil.rmtree(gone)

    verdict = verify([Retired()], trust=[archive.issuer.certificate], now=archive.clock.moment)  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]

    assert [(f.kind, f.stream) for f in verdict.findings if f.severity != "warning"] == [
        ("missing-stream", archive.streams[0].id)
    ]


def test_a_link_that_leads_in_a_circle_is_not_followed(archive: Archive, tmp_path: Path) -> None:
    archive.write(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path)

    assert judged(archive, tmp_path).records == 21


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/no/such/place", "no such file or directory"),
        ("loki+https://user:secret@host/?query={}", "cannot be read yet"),
        ("clickhouse://user@host/db", "cannot be read yet"),
        ("gopher://host", "is not known"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_so(text: str, says: str) -> None:
    with pytest.raises(SourceError, match=says) as caught:
        open_source(text)
    assert "secret" not in str(caught.value)


def test_a_file_of_another_kind_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "records.csv"
    path.write_text(json.dumps({}))
    with pytest.raises(SourceError, match="expected a directory or a file"):
        open_source(str(path))


def test_a_file_that_may_not_be_read_is_an_error(archive: Archive, tmp_path: Path) -> None:
    archive.write(tmp_path)
    (tmp_path / archive.streams[0].directory / "000000000001.jsonl").chmod(0)
    with bound_by_permissions(), pytest.raises(SourceError, match="cannot be read"):
        judged(archive, tmp_path)


def test_several_mixed_files_that_begin_with_one_stream_are_all_sorted(archive: Archive, tmp_path: Path) -> None:
    paths = [tmp_path / f"day-{day}.jsonl" for day in range(3)]
    for day, path in enumerate(paths):
        path.write_bytes(b"".join(lines(stream) for stream in archive.streams[: 3 - day]))

    verdict = judged(archive, *paths)

    assert (verdict.status, verdict.records) == ("verified", 21)


@pytest.mark.parametrize("name", ["x" * 300, "otlp-json:" + "x" * 300, "x" * 300 + ".otlp.json", "/dev/null/x"])
def test_a_name_that_cannot_be_looked_up_is_refused_by_name(name: str) -> None:
    with pytest.raises(SourceError, match=r"/dev/null|xxx"):
        open_source(name)
