"""What happened, as `show` tells it."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import otel_audit
from otel_audit.event import AuditEvent, Context
from otel_audit.search.follow import Follower
from otel_audit.search.query import Query
from otel_audit.search.selection import Selection

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Cli

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HOSTILE_TRACE = "6bf92f3577b34da6a3ce929d0e0e4736"


def bodies(log: Path) -> list[bytes]:
    return [line for path in log.rglob("*.jsonl") for line in path.read_bytes().split(b"\n")[:-1]]


def is_safe(text: str) -> bool:
    """No character that acts, joins, hides or reverses: only line feeds and what Unicode calls graphic."""
    return all(
        character in " \n" or (unicodedata.category(character)[0] in "LMNPS" and character != "\u3164")
        for character in text
    )


def test_events_are_lines_in_order_of_time_and_the_verdict_is_said_beside(cli: Cli, log: Path) -> None:
    ran = cli("show")

    assert [line.split()[2] for line in ran.out.splitlines()][:4] == ["anonymous", "alice", "alice", "bob"]
    assert ran.out.splitlines()[3].split()[2:] == (
        [
            "bob",
            "DELETE",
            "/customers/1",
            "failure",
            "DELETE",
            "403",
            "denied",
            "http.server.request",
            "from",
            "192.0.2.7",
        ]
    )
    assert ran.err.startswith("VERIFIED: ")
    assert ran.status == 0


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--trace", TRACE],
        ["--trace", HOSTILE_TRACE],
        ["--event", "*"],
        ["--json"],
        ["--limit", "1"],
        ["--limit", "1", "--json"],
    ],
)
def test_nothing_that_is_shown_of_a_hostile_record_acts_on_a_terminal(
    cli: Cli, log: Path, options: list[str]
) -> None:
    ran = cli("show", *options)

    assert ran.status == 0
    assert is_safe(ran.out)
    assert is_safe(ran.err)


def test_a_hostile_record_is_one_line_and_its_json_has_its_value(cli: Cli, log: Path) -> None:
    hostile = orjson.loads([body for body in bodies(log) if b"VERIFIED" in body][-1])

    shown, printed = cli("show", "--limit", "1"), cli("show", "--limit", "1", "--json")

    assert len(shown.out.splitlines()) == 1
    assert r"\x1b[2K\x1b[31m\x0d\x0aVERIFIED\x9b2J\u202eecila\u2066\u200b\x7f\\x1b" in shown.out
    assert json.loads(printed.out) == hostile


def test_json_lines_of_harmless_records_are_the_signed_bytes(cli: Cli, log: Path) -> None:
    printed = cli("show", "--json", "--actor", "bob").out.rstrip("\n").encode()
    following = next(orjson.loads(body) for body in bodies(log) if b"VERIFIED" in body)

    assert hashlib.sha256(printed).hexdigest() == following["prev"]


def test_lifecycle_records_are_shown_when_they_are_named(cli: Cli, log: Path) -> None:
    events = [json.loads(line)["event"] for line in cli("show", "--json", "--event", "audit.*").out.splitlines()]

    assert (events[0], events[-1]) == ("audit.stream.open", "audit.stream.close")
    assert "audit.stream.open" not in cli("show").out


def test_what_was_done_before_sign_in_is_found_under_the_user(cli: Cli, log: Path) -> None:
    lines = cli("show", "--actor", "alice").out.splitlines()

    assert [line.partition("Z  ")[2].split("  ")[0] for line in lines] == ["anonymous → alice", "alice", "alice"]


@pytest.mark.parametrize("options", [["--event", "db.*"], ["--without", "http.*"]])
def test_who_it_turned_out_to_be_is_known_whatever_is_left_out(cli: Cli, log: Path, options: list[str]) -> None:
    lines = cli("show", *options).out.splitlines()

    assert [line.partition("Z  ")[2].split("  ")[0] for line in lines[:2]] == ["anonymous → alice", "alice"]


def test_whoever_it_turned_out_to_be_has_their_name(cli: Cli, state: Path) -> None:
    otel_audit.configure(otel_audit.Settings(directory=state, service_name="shop"))
    audit = otel_audit.get_audit_logger("test")
    nobody, known = otel_audit.Actor("anonymous"), otel_audit.Actor("7", "user", "session", name="bob")
    for event, actor in (("user.create", nobody), ("http.server.request", known)):
        audit.emit_event(AuditEvent(event, "CREATE", "success", actor, trace_id=TRACE, span_id=TRACE[:16]))
    otel_audit.shutdown()

    assert "  anonymous → 7 (bob)  " in cli("show", "--event", "user.*").out


@pytest.mark.parametrize(
    ("context", "said"),
    [
        (
            {
                "db.row.fields": ("updated", "total", "note", "card"),
                "db.row.old.total": "5",
                "db.row.new.total": "6",
                "db.row.old.card": "hash:1",
                "db.row.new.card": "hash:2",
                "db.row.new.note": "x" * 50,
            },
            f'card: another hash, note: "{"x" * 39}…", total: "5" → "6", updated  db.row',
        ),
        ({"db.row.fields": ("+tags",), "db.row.ids": ("1", "2", "3", "4")}, "+tags (1, 2, 3 and 1 more)  db.row"),
        ({"db.row.fields": tuple("abcdefgh"), "audit.reason": "rolled-back"}, "and 2 more rolled-back  db.row"),
        ({"user.granted": ("auth.Group/1", "auth.Group/2")}, "auth.Group/1, auth.Group/2  db.row"),
    ],
)
def test_what_changed_stands_in_the_line(cli: Cli, state: Path, context: Context, said: str) -> None:
    otel_audit.configure(otel_audit.Settings(directory=state, service_name="shop"))
    source = otel_audit.Source("192.0.2.7", "ipv4")
    otel_audit.get_audit_logger("test").emit_event(
        AuditEvent("db.row", "UPDATE", "success", source=source, context=context)
    )
    otel_audit.shutdown()

    assert cli("show").out.endswith(f"{said}\n")


def test_where_a_sign_in_came_from_stands_in_the_line(cli: Cli, state: Path) -> None:
    otel_audit.configure(otel_audit.Settings(directory=state, service_name="shop"))
    source = otel_audit.Source("192.0.2.7", "ipv4")
    otel_audit.get_audit_logger("test").emit_event(
        AuditEvent("user.login_failed", "LOGIN", "failure", source=source)
    )
    otel_audit.shutdown()

    assert cli("show").out.endswith("user.login_failed  from 192.0.2.7\n")


def test_a_trace_is_a_tree_with_the_request_first(cli: Cli, log: Path) -> None:
    lines = cli("show", "--trace", TRACE).out.splitlines()

    assert lines[0] == f"trace {TRACE}"
    assert re.fullmatch(
        r"└── .*alice  READ /customers/1  success  GET 200  http.server.request  from 192.0.2.7", lines[1]
    )
    assert re.fullmatch(
        r"    ├── .* ms  anonymous → alice  READ customers  success  SELECT session  db.query", lines[2]
    )
    assert re.fullmatch(r"    └── .* ms  alice  READ customers  success  SELECT customers  db.query", lines[3])


def test_a_pipe_gets_each_record_of_a_trace_in_one_line(cli: Cli, state: Path) -> None:
    otel_audit.configure(otel_audit.Settings(directory=state, service_name="shop"))
    said = {"db.query.summary": "SELECT " + " ".join(f"table_{number}" for number in range(30))}
    otel_audit.get_audit_logger("test").emit_event(
        AuditEvent("db.query", "READ", "success", trace_id=TRACE, span_id=TRACE[:16], context=said)
    )
    otel_audit.shutdown()

    assert len(cli("show", "--trace", TRACE).out.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--action", "delete"], 1),
        (["--target", "/customers/*"], 2),
        (["--target", "db.table:customers"], 2),
        (["--outcome", "failure"], 1),
        (["--event", "db.*"], 2),
        (["--without", "db.query", "--without", "http.*"], 1),
        (["--event", "http.*", "--without", "*.request"], 0),
        (["--service", "shop"], 6),
        (["--since", "1h"], 6),
        (["--limit", "2"], 2),
    ],
)
def test_conditions_choose(cli: Cli, log: Path, options: list[str], shown: int) -> None:
    ran = cli("show", "--json", *options)

    assert (ran.status, len(ran.out.splitlines())) == (0 if shown else 4, shown)


@pytest.mark.parametrize(
    "options", [["--actor", "nobody"], ["--service", "bank"], ["--until", "1h"], ["--since", "2100-01-01"]]
)
def test_nothing_found_is_status_4_and_said(cli: Cli, log: Path, options: list[str]) -> None:
    ran = cli("show", *options)

    assert (ran.status, ran.out) == (4, "")
    assert "nothing matches" in ran.err


def test_there_is_no_log_yet(cli: Cli) -> None:
    ran = cli("show")

    assert (ran.status, ran.out) == (4, "")


def test_records_of_a_stream_that_was_tampered_with_are_marked_and_the_status_is_1(cli: Cli, log: Path) -> None:
    (segment,) = log.rglob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"id":"bob"', b'"id":"eve"'))

    ran = cli("show", "--actor", "eve")

    assert ran.status == 1
    assert ran.out.startswith("! ")
    assert ran.err.startswith("TAMPERED: ")


def test_records_that_no_seal_covers_yet_are_marked(cli: Cli, state: Path) -> None:
    otel_audit.configure(otel_audit.Settings(directory=state, service_name="shop"))
    otel_audit.get_audit_logger("test").emit("invoice.read", action="READ", actor=otel_audit.Actor("alice"))

    ran = cli("show")
    otel_audit.shutdown()

    assert ran.out.startswith("~ ")
    assert cli("show").out.startswith("  ")


def test_a_name_stands_behind_the_id_that_it_cannot_replace(cli: Cli, state: Path) -> None:
    impostor = otel_audit.Actor("7", "user", "session", name="1 (alice)")
    otel_audit.configure(otel_audit.Settings(directory=state, service_name="shop"))
    otel_audit.get_audit_logger("test").emit("invoice.read", action="READ", actor=impostor)
    otel_audit.shutdown()

    assert "  7 (1 (alice))  " in cli("show", "--limit", "1").out


def test_a_packed_file_cannot_be_followed(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(b""))

    ran = cli("show", tmp_path / "log.jsonl.gz", "--follow")

    assert (ran.status, "is packed and does not grow" in ran.err) == (2, True)


def test_a_log_that_does_not_exist_yet_can_be_followed(state: Path) -> None:
    with Selection(Query(), is_followed=True) as selection:
        follower = Follower([state], Query(), selection)
    assert list(follower.new()) == []

    otel_audit.configure(otel_audit.Settings(directory=state, service_name="shop"))
    otel_audit.get_audit_logger("test").emit("invoice.read", action="READ")

    assert [found.members["event"] for found in follower.new()] == ["invoice.read"]
    otel_audit.shutdown()


def test_following_goes_on_where_the_verified_records_ended(state: Path) -> None:
    def emit(actor: str) -> None:
        otel_audit.get_audit_logger("test").emit("invoice.read", action="READ", actor=otel_audit.Actor(actor))

    def taken(selection: Selection) -> Selection:
        for body in bodies(state):
            selection.take(body)
        return selection

    def actors(follower: Follower) -> list[Any]:
        return [found.members["actor"]["id"] for found in follower.new()]

    settings = otel_audit.Settings(directory=state, service_name="shop")
    otel_audit.configure(settings)
    emit("alice")
    with taken(Selection(Query(), is_followed=True)) as selection:
        follower = Follower([state], Query(service="shop"), selection)

        assert actors(follower) == []
        emit("bob")
        assert actors(follower) == ["bob"]
        otel_audit.shutdown()
        otel_audit.configure(settings)
        emit("carol")
        assert actors(follower) == ["carol"]
        assert actors(follower) == []
    otel_audit.shutdown()


def test_following_what_came_over_otlp_is_refused_and_not_pretended(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "audit.otlp.jsonl"
    file.write_bytes(b"")

    ran = cli("show", "--follow", str(file))

    assert ran.status == 2
    assert "--follow" in ran.err
