"""The answer of `verify`, for people and for machines."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from otel_audit.cli.explanations import FINDINGS, WARNINGS
from otel_audit.evidence.canonical import record_hash
from otel_audit.verify.verdict import INCOMPLETE_KINDS, TAMPERED_KINDS, WARNING_KINDS
from tests.archives import Archive

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Cli


def segment(log: Path) -> Path:
    (path,) = log.rglob("*.jsonl")
    return path


def lines(log: Path) -> list[bytes]:
    return segment(log).read_bytes().splitlines(keepends=True)


def replace(log: Path, old: bytes, new: bytes) -> None:
    content = segment(log).read_bytes()
    assert old in content
    segment(log).write_bytes(content.replace(old, new, 1))


def kinds(printed: str) -> list[tuple[str, int | None]]:
    return [(finding["kind"], finding["seq"]) for finding in json.loads(printed)["findings"]]


def test_a_whole_log_is_verified_and_the_first_line_says_so(cli: Cli, log: Path) -> None:
    ran = cli("verify")

    assert ran.status == 0
    assert ran.out.splitlines()[0] == "VERIFIED: 9 records in 1 stream, whole and unaltered"
    assert ran.err == ""


def test_the_document_has_the_members_of_the_contract(cli: Cli, log: Path) -> None:
    document = json.loads(cli("verify", "--json").out)

    assert list(document) == [
        "verdict", "scope", "checked_at", "records", "pending", "adopted", "streams", "findings", "trust",
    ]  # fmt: skip
    assert list(document["streams"][0]) == [
        "stream", "service", "first_seq", "last_seq", "records", "sealed", "closed", "opened", "last_observed",
        "verdict",
    ]  # fmt: skip
    assert list(document["findings"][0]) == ["kind", "severity", "stream", "seq", "count", "message"]
    assert document["trust"][0].keys() >= {"subject", "sha256"}


def test_a_changed_record_is_named(cli: Cli, log: Path) -> None:
    replace(log, b'"id":"bob"', b'"id":"eve"')

    ran, printed = cli("verify"), cli("verify", "--json")

    assert (ran.status, printed.status) == (1, 1)
    assert ran.out.startswith("TAMPERED: ")
    assert "record 6 is not the record that 7 follows" in ran.out.splitlines()[0]
    assert ("altered", 6) in kinds(printed.out)


def test_a_cut_end_shows_when_its_promise_falls_due(cli: Cli, log: Path) -> None:
    segment(log).write_bytes(b"".join(lines(log)[:-1]))
    later = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"

    ran = cli("verify", "--now", later)

    assert (ran.status, ran.out.partition(":")[0]) == (3, "INCOMPLETE")
    assert ("overdue-seal", 8) in kinds(cli("verify", "--now", later, "--json").out)


def test_a_cut_end_shows_against_a_witness(cli: Cli, log: Path, tmp_path: Path) -> None:
    close = lines(log)[-1].rstrip(b"\n")
    stream = orjson.loads(close)["stream"]
    witness = tmp_path / "heads"
    witness.write_text(f"# noted on Monday\n\n{stream}:9:{record_hash(close)}  # the close\n")
    assert cli("verify", "--witness", witness).status == 0
    segment(log).write_bytes(b"".join(lines(log)[:-1]))

    assert ("truncated", 9) in kinds(cli("verify", "--witness", witness, "--json").out)


def test_a_witness_that_is_none_is_named_with_its_line(cli: Cli, log: Path, tmp_path: Path) -> None:
    witness = tmp_path / "heads"
    witness.write_text("# heads\nnot a reference\n")

    ran = cli("verify", "--witness", witness)

    assert (ran.status, ran.out) == (2, "")
    assert f"{witness}, line 2: 'not a reference': expected <stream>:<seq>:<hash>" in ran.err


def test_a_copy_is_verified_by_its_issuer_alone(cli: Cli, log: Path, tmp_path: Path) -> None:
    pem, copy = tmp_path / "issuer.pem", tmp_path / "copy.jsonl"
    pem.write_text(cli("keys", "export").out)
    copy.write_bytes(segment(log).read_bytes())
    (log / "identity" / "issuer.pem").unlink()

    assert cli("verify", copy, "--trust", pem).status == 0
    assert kinds(cli("verify", copy, "--json").out)[0] == ("no-trust", None)


def test_the_verdict_says_when_the_private_key_lies_here(cli: Cli, log: Path, tmp_path: Path) -> None:
    assert json.loads(cli("verify", "--json").out)["trust"][0]["private_key_here"] is True
    assert "private key lies on this machine" in cli("verify").out
    pem, copy = tmp_path / "issuer.pem", tmp_path / "copy.jsonl"
    pem.write_text(cli("keys", "export").out)
    copy.write_bytes(segment(log).read_bytes())
    (log / "identity" / "issuer.pem").unlink()

    assert list(json.loads(cli("verify", copy, "--trust", pem, "--json").out)["trust"][0]) == ["subject", "sha256"]
    assert "private key" not in cli("verify", copy, "--trust", pem).out


def test_an_empty_directory_is_nothing_found(cli: Cli, log: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    ran = cli("verify", empty)

    assert (ran.status, ran.out) == (4, f"EMPTY: no record at all\nNothing was found in {empty}.\n")


@pytest.mark.parametrize(
    "source", ["", "x.txt", "otlp-json:x", "clickhouse://alice:secret@host/db", "kafka://host/t"]
)
def test_what_cannot_be_read_is_unreadable_and_not_verified(cli: Cli, source: str) -> None:
    assert cli("verify", source).status == 2


def test_a_hostile_service_name_and_line_reach_no_terminal(cli: Cli, log: Path) -> None:
    with segment(log).open("ab") as file:
        file.write(b'\x1b[2J{"stream":"\xe2\x80\xae"}\n')

    ran = cli("verify")

    assert ran.status == 1
    assert not {"\x1b", "\u202e"} & set(ran.out + ran.err)


def test_a_service_that_calls_itself_by_a_terminal_sequence_moves_no_cursor(cli: Cli, log: Path) -> None:
    replace(log, b'"service.name":"shop"', b'"service.name":"\\u001b[2J\xe2\x80\xaebank"')

    ran, printed = cli("verify"), cli("verify", "--json")

    assert ran.status == 1
    assert not {"\x1b", "\u202e"} & set(ran.out + ran.err + printed.out)
    assert r"\x1b[2J\u202ebank" in ran.out
    assert json.loads(printed.out)["streams"][0]["service"] == "\x1b[2J\u202ebank"


def test_how_each_stream_ended_is_said(cli: Cli, tmp_path: Path) -> None:
    archive = Archive()
    crashed = archive.stream()
    crashed.events(2)
    keeper = archive.stream()
    keeper.recover(crashed)
    keeper.close()
    archive.stream()
    issuer = tmp_path / "issuer.pem"
    issuer.write_bytes(archive.issuer.certificate.public_bytes(Encoding.PEM))
    now = f"{archive.clock.moment + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"

    ran = cli("verify", archive.write(tmp_path / "log"), "--trust", issuer, "--now", now)

    assert [line.split()[-2] for line in ran.out.splitlines() if line.split()[1:2] == ["shop"]] == [
        "recovered",
        "closed",
        "open",
    ]


def test_every_kind_of_finding_is_explained() -> None:
    assert list(FINDINGS) == [*TAMPERED_KINDS, *INCOMPLETE_KINDS]
    assert set(WARNINGS) == set(WARNING_KINDS)


@pytest.mark.parametrize("columns", [80, 110, 120, 139, 140, 200])
def test_no_width_of_the_terminal_cuts_the_verdict_off(
    columns: int, cli: Cli, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    _, head, row, *_ = cli("verify").out.splitlines()

    assert head.split()[-1] == "verdict"
    assert row.split()[-1] == "verified"
    assert "…" not in head + row
