"""Flask under gunicorn → agent → gateway → rotated files → `otel-audit verify`; then somebody edits the files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from otel_audit.sources.otlp_plain import read_plain_request
from tests.collector.conftest import make_world
from tests.collector.processes import World, grpc_environ, http_environ, wait_until
from tests.collector.shops import Record, Shop, bodies, log_records, paths, spooled

REQUESTS = 200


@pytest.fixture(scope="module", params=["http", "grpc"])
def archived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, binary: Path) -> World:
    """What two runs of the application left in the gateway's archive; all processes have ended."""
    world = make_world(tmp_path_factory.mktemp("world"), binary)
    gateway = world.collector("gateway", AUDIT_ROTATE_MB="1")
    agent = world.collector("agent", AUDIT_GATEWAY=gateway.grpc)
    address = http_environ(agent.http) if request.param == "http" else grpc_environ(agent.grpc)
    address["OTEL_AUDIT_EXPORTER_OTLP_COMPRESSION"] = "gzip"
    shop = Shop(world, **address)
    for number in range(REQUESTS):
        shop.get(number)
        if number == REQUESTS // 2:
            shop.stop()
            shop.start()
    shop.stop()
    wait_until(
        lambda: spooled(world.spool) <= bodies(world.archive("gateway")), "delivered by the workers themselves"
    )
    shop.close()
    world.close()
    return world


@pytest.fixture
def copy(archived: World, tmp_path: Path) -> Path:
    """A copy of the archive, to be edited."""
    return shutil.copytree(archived.archive("gateway"), tmp_path / "archive")


def check(
    world: World, archive: Path, *options: str
) -> tuple[int, dict[str, Any], list[tuple[str, str, int | None]]]:
    """Exit status, verdict and findings of `otel-audit verify`."""
    ran = world.audit("verify", str(archive), "--json", *options)
    verdict: dict[str, Any] = json.loads(ran.stdout)
    found = [(f["kind"], f["stream"], f["seq"]) for f in verdict["findings"] if f["severity"] != "warning"]
    return ran.returncode, verdict, found


def edit(archive: Path, change: Callable[[Record], bool | None], *, of: Callable[[Record], bool]) -> None:
    """Call *change* on every log record whose body answers to *of*; True deletes it."""
    for file in sorted(archive.glob("audit.otlp*.jsonl")):
        documents = [json.loads(line) for line in file.read_bytes().splitlines()]
        for document in documents:
            for resource in document["resourceLogs"]:
                for scope in resource["scopeLogs"]:
                    scope["logRecords"] = [
                        record
                        for record in scope["logRecords"]
                        if not (of(json.loads(record["body"]["stringValue"])) and change(record))
                    ]
        file.write_bytes(b"".join(json.dumps(document).encode() + b"\n" for document in documents))


def an_access(archive: Path) -> tuple[str, int]:
    """Stream and `seq` of the record of one request, neither first nor last in its stream."""
    records = [json.loads(body) for body in bodies(archive)]
    chosen = min((r for r in records if r["event"] == "http.server.request"), key=lambda r: (r["stream"], r["seq"]))
    return chosen["stream"], chosen["seq"]


def is_at(stream: str, seq: int) -> Callable[[Record], bool]:
    return lambda body: (body["stream"], body["seq"]) == (stream, seq)


def in_ten_minutes() -> str:
    """When whatever was promised is due, and nothing is late any more."""
    return (datetime.now(UTC) + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_archive_verifies(archived: World) -> None:
    status, verdict, found = check(archived, archived.archive("gateway"))

    assert (status, verdict["verdict"], found) == (0, "verified", [])
    assert all(stream["closed"] for stream in verdict["streams"])
    assert len(list(archived.archive("gateway").glob("audit.otlp-*.jsonl"))) >= 1


def test_what_the_collector_writes_is_read_by_its_bytes(archived: World) -> None:
    """Parsing all of it costs three times as much: a Collector that writes in another way should be noticed."""
    lines = [line for file in archived.archive("gateway").iterdir() for line in file.read_bytes().splitlines()]

    assert lines
    assert [line[:100] for line in lines if line and read_plain_request(line) is None] == []


def test_every_request_is_shown_with_its_query(archived: World) -> None:
    ran = archived.audit("show", str(archived.archive("gateway")), "--json")
    shown = [json.loads(line) for line in ran.stdout.splitlines()]
    requests = [record for record in shown if record["event"] == "http.server.request"]
    queries = [record for record in shown if record["event"] == "db.query"]

    assert ran.returncode == 0, ran.stderr
    assert paths(archived.archive("gateway")) == {f"/customers/{number}" for number in range(REQUESTS)}
    assert len(requests) == REQUESTS
    assert {record["trace_id"] for record in queries} == {record["trace_id"] for record in requests}


def test_an_attribute_that_was_edited_is_named(archived: World, copy: Path) -> None:
    stream, seq = an_access(copy)

    def change(record: Record) -> None:
        for attribute in record["attributes"]:
            if attribute["key"] == "audit.outcome":
                attribute["value"]["stringValue"] = "failure"

    edit(copy, change, of=is_at(stream, seq))

    assert check(archived, copy)[::2] == (1, [("index-mismatch", stream, seq)])


def test_a_body_that_was_edited_is_named(archived: World, copy: Path) -> None:
    stream, seq = an_access(copy)

    def change(record: Record) -> None:
        record["body"]["stringValue"] = record["body"]["stringValue"].replace('"GET"', '"PUT"')

    edit(copy, change, of=is_at(stream, seq))
    status, _, found = check(archived, copy)

    assert status == 1
    assert ("altered", stream, seq) in found


def test_a_record_that_was_deleted_is_named(archived: World, copy: Path) -> None:
    stream, seq = an_access(copy)
    edit(copy, lambda _: True, of=is_at(stream, seq))

    assert check(archived, copy)[::2] == (1, [("missing", stream, seq)])


def test_an_end_that_was_cut_off_is_named_when_the_next_seal_is_overdue(archived: World, copy: Path) -> None:
    """At once, had a later stream named what is gone."""
    _, verdict, _ = check(archived, copy)
    last = max(verdict["streams"], key=lambda stream: stream["opened"])
    stream, end = last["stream"], last["last_seq"]
    edit(copy, lambda _: True, of=lambda body: body["stream"] == stream and body["seq"] >= end)
    status, _, found = check(archived, copy, "--now", in_ten_minutes())

    assert (status, found) == (3, [("overdue-seal", stream, end - 1)])


def test_a_stream_that_was_deleted_is_named(archived: World, copy: Path) -> None:
    """By the streams of the next run, which found it in the spool."""
    _, verdict, _ = check(archived, copy)
    stream = min(verdict["streams"], key=lambda stream: stream["opened"])["stream"]
    edit(copy, lambda _: True, of=lambda body: body["stream"] == stream)
    status, _, found = check(archived, copy, "--now", in_ten_minutes())

    assert (status, found) == (3, [("missing-stream", stream, None)])


def test_a_file_that_was_deleted_is_named(archived: World, copy: Path) -> None:
    """Streams that had begun in it lack their beginning; those that lay in it whole are named by later ones."""
    min(copy.glob("audit.otlp-*.jsonl")).unlink()

    status, _, found = check(archived, copy, "--now", in_ten_minutes())

    assert status in {1, 3}
    assert {kind for kind, _, _ in found} <= {"missing", "missing-stream"}


def test_the_same_records_twice_change_nothing(archived: World, copy: Path) -> None:
    first = min(copy.glob("audit.otlp-*.jsonl"))
    (copy / "again.otlp.jsonl").write_bytes(first.read_bytes())

    assert len(list(log_records(copy))) > len(bodies(copy)) - 1
    assert check(archived, copy)[::2] == (0, [])
