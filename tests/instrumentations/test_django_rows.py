"""Changes of rows: recorded when they are committed, as failures when they are rolled back, never falsely."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from otel_audit.capture.redaction import keyed_hash
from otel_audit.testing import AuditLog, recording
from otel_audit_django import DjangoAuditInstrumentor

POLICY = """
rows:
  - model: shop.*
    fields:
      total: plain
      card: hash
"""
SECRET = "4111-1111-1111-1111"


@pytest.fixture
def log(django_project: Any, tmp_path: Path) -> Iterator[AuditLog]:
    """A log of a process whose policy names the shop's models."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    with recording(OTEL_AUDIT_POLICY=str(policy)) as log:
        instrumentor = DjangoAuditInstrumentor()
        instrumentor.instrument()
        yield log
        instrumentor.uninstrument()


@pytest.fixture
def shop(log: AuditLog) -> Any:
    from tests.instrumentations.django_project.shop import models

    return models


def _rows(log: AuditLog) -> list[tuple[str, str, str]]:
    return [(record["action"], record["target"]["id"], record["outcome"]) for record in log.find(event="db.row")]


@contextmanager
def _undone(*, savepoint: bool = True) -> Generator[None]:
    """A transaction, or a part of one, that an exception ends."""
    with suppress(ZeroDivisionError), transaction.atomic(savepoint=savepoint):
        yield
        raise ZeroDivisionError


def _last(log: AuditLog) -> Any:
    return log.find(event="db.row")[-1]


def test_a_row_is_created_changed_and_deleted_with_names_and_no_values(shop: Any, log: AuditLog) -> None:
    customer = shop.Customer.objects.create(name="secret name", card=SECRET)
    customer = shop.Customer.objects.get(pk=customer.pk)
    customer.name = "another secret name"
    customer.save()
    customer.delete()

    key = "shop.Customer/1"
    assert _rows(log) == [("CREATE", key, "success"), ("UPDATE", key, "success"), ("DELETE", key, "success")]
    created, changed, deleted = log.find(event="db.row")
    assert created["target"]["type"] == "db.row"
    assert created["context"] == {"db.collection.name": "shop_customer", "db.row.new.card": keyed_hash(SECRET)}
    assert changed["context"] == {"db.collection.name": "shop_customer", "db.row.fields": ["name"]}
    assert deleted["context"] == {"db.collection.name": "shop_customer", "db.row.old.card": keyed_hash(SECRET)}
    assert "secret name" not in str(log.bodies)
    assert SECRET not in str(log.bodies)


def test_a_plain_field_has_its_old_and_new_value(shop: Any, log: AuditLog) -> None:
    customer = shop.Customer.objects.create(name="x")
    shop.Invoice.objects.create(customer=customer, total=5)
    invoice = shop.Invoice.objects.get()
    invoice.total = 7
    invoice.save(update_fields=["total"])

    assert _last(log)["context"] == {
        "db.collection.name": "shop_invoice",
        "db.row.fields": ["total"],
        "db.row.old.total": "5",
        "db.row.new.total": "7",
    }


def test_a_save_that_changes_nothing_is_no_change(shop: Any, log: AuditLog) -> None:
    shop.Customer.objects.create(name="x")
    shop.Customer.objects.get().save()
    loaded = shop.Customer.objects.get()
    shop.Customer.objects.update(name="y")
    loaded.refresh_from_db()
    loaded.save()

    assert [action for action, _, _ in _rows(log)] == ["CREATE", "UPDATE"]


def test_a_save_without_a_load_names_all_it_writes(shop: Any, log: AuditLog) -> None:
    shop.Customer.objects.create(name="x")
    shop.Customer(pk=1, name="y").save()

    assert _last(log)["context"]["db.row.fields"] == ["name", "card"]


def test_an_expression_is_named_and_not_asked(shop: Any, log: AuditLog) -> None:
    customer = shop.Customer.objects.create(name="x")
    shop.Invoice.objects.create(customer=customer, total=5)
    shop.Invoice.objects.update(total=F("total") + 1)

    record = _last(log)
    assert record["target"] == {"id": "shop.Invoice", "type": "db.model"}
    assert record["context"] == {
        "db.collection.name": "shop_invoice",
        "db.row.fields": ["total"],
        "db.response.affected_rows": 1,
    }


def test_bulk_operations_are_one_event_each_with_their_count(shop: Any, log: AuditLog) -> None:
    shop.Tag.objects.bulk_create([shop.Tag(word=str(number)) for number in range(3)])
    tags = list(shop.Tag.objects.all())
    for tag in tags:
        tag.word = "other"
    shop.Tag.objects.bulk_update(tags, ["word"], batch_size=1)
    shop.Tag.objects.filter(pk__gt=1).update(word="third")
    shop.Tag.objects.filter(pk__gt=1).update(word="third")
    shop.Tag.objects.filter(pk=99).update(word="nothing")

    assert [(r["action"], r["context"]["db.response.affected_rows"]) for r in log.find(event="db.row")] == [
        ("CREATE", 3),
        ("UPDATE", 3),
        ("UPDATE", 2),
        ("UPDATE", 2),
    ]
    created, updated = log.find(event="db.row")[:2]
    assert created["context"]["db.row.ids"] == updated["context"]["db.row.ids"] == ["1", "2", "3"]
    assert updated["context"]["db.row.fields"] == ["word"]


def test_a_deletion_takes_its_cascade_along(shop: Any, log: AuditLog) -> None:
    customer = shop.Customer.objects.create(name="x")
    for total in range(3):
        shop.Invoice.objects.create(customer=customer, total=total)
    before = len(_rows(log))
    with CaptureQueriesContext(connection) as queries:
        customer.delete()

    deleted = _rows(log)[before:]
    assert ("DELETE", "shop.Customer/1", "success") in deleted
    assert sorted(target for _, target, _ in deleted if "Invoice/" in target) == [
        "shop.Invoice/1",
        "shop.Invoice/2",
        "shop.Invoice/3",
    ]
    audited = [query["sql"].split(" WHERE ")[0] for query in queries]
    DjangoAuditInstrumentor().uninstrument()
    customer = shop.Customer.objects.create(name="x")
    shop.Invoice.objects.bulk_create([shop.Invoice(customer=customer) for _ in range(3)])
    with CaptureQueriesContext(connection) as queries:
        customer.delete()
    assert [query["sql"].split(" WHERE ")[0] for query in queries] == audited


def test_a_queryset_s_deletion_has_its_count(shop: Any, log: AuditLog) -> None:
    shop.Tag.objects.bulk_create([shop.Tag(word=str(number)) for number in range(3)])
    shop.Invoice.tags.through.objects.all().delete()
    shop.Tag.objects.all().delete()

    deleted = [record for record in log.find(event="db.row") if record["action"] == "DELETE"]
    count = sum(record["context"].get("db.response.affected_rows", 1) for record in deleted)
    assert count == 3


def test_ties_of_many_to_many_are_changes_of_both_sides_owner(shop: Any, log: AuditLog) -> None:
    customer = shop.Customer.objects.create(name="x")
    invoice = shop.Invoice.objects.create(customer=customer)
    first, second = (shop.Tag.objects.create(word=word) for word in "ab")
    before = len(_rows(log))
    invoice.tags.add(first, second)
    invoice.tags.remove(first)
    second.invoice_set.clear()

    changes = log.find(event="db.row", action="UPDATE")
    assert [(r["target"]["id"], r["context"]["db.row.fields"]) for r in changes] == [
        ("shop.Invoice/1", ["+tags"]),
        ("shop.Invoice/1", ["-tags"]),
        ("shop.Tag/2", ["-invoice"]),
    ]
    assert [r["context"].get("db.row.ids") for r in changes] == [["1", "2"], ["1"], None]
    assert len(_rows(log)) > before


def test_a_change_is_recorded_when_it_is_committed(shop: Any, log: AuditLog) -> None:
    with transaction.atomic():
        shop.Tag.objects.create(word="a")
        with transaction.atomic():
            shop.Tag.objects.create(word="b")
        assert _rows(log) == []

    assert _rows(log) == [("CREATE", "shop.Tag/1", "success"), ("CREATE", "shop.Tag/2", "success")]


def test_a_rollback_is_a_failure_and_never_a_success(shop: Any, log: AuditLog) -> None:
    with _undone():
        shop.Tag.objects.create(word="a")

    assert _rows(log) == [("CREATE", "shop.Tag/1", "failure")]
    assert _last(log)["context"]["audit.reason"] == "rolled-back"
    assert shop.Tag.objects.count() == 0


def test_a_savepoint_s_rollback_undoes_what_it_holds_alone(shop: Any, log: AuditLog) -> None:
    with transaction.atomic():
        shop.Tag.objects.create(word="a")
        with _undone():
            shop.Tag.objects.create(word="b")
        assert _rows(log) == [("CREATE", "shop.Tag/2", "failure")]
        shop.Tag.objects.create(word="c")

    assert _rows(log) == [
        ("CREATE", "shop.Tag/2", "failure"),
        ("CREATE", "shop.Tag/1", "success"),
        ("CREATE", "shop.Tag/2", "success"),
    ]


def test_an_inner_block_without_a_savepoint_takes_the_outer_one_along(shop: Any, log: AuditLog) -> None:
    with transaction.atomic():
        shop.Tag.objects.create(word="a")
        with _undone(savepoint=False):
            shop.Tag.objects.create(word="b")

    assert _rows(log) == [("CREATE", "shop.Tag/1", "failure"), ("CREATE", "shop.Tag/2", "failure")]


def test_an_application_s_on_commit_that_raises_hides_nothing(shop: Any, log: AuditLog) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with suppress(ZeroDivisionError), transaction.atomic():
        transaction.on_commit(fail)
        shop.Tag.objects.create(word="a")

    assert _rows(log) == [("CREATE", "shop.Tag/1", "success")]


def test_a_transaction_by_hand_is_one_too(shop: Any, log: AuditLog) -> None:
    transaction.set_autocommit(False)
    try:
        shop.Tag.objects.create(word="a")
        assert _rows(log) == []
        transaction.commit()
        shop.Tag.objects.create(word="b")
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)

    assert [outcome for _, _, outcome in _rows(log)] == ["success", "failure"]


def test_a_connection_that_is_closed_inside_a_transaction_has_lost_it(shop: Any, log: AuditLog) -> None:
    with transaction.atomic():
        shop.Tag.objects.create(word="a")
        connection.close()

    assert _rows(log) == [("CREATE", "shop.Tag/1", "failure")]


@pytest.mark.parametrize(("path", "outcome"), [("/buy", "success"), ("/buy-and-fail", "failure")])
def test_atomic_requests_are_right_and_the_rows_the_users(
    shop: Any, log: AuditLog, path: str, outcome: str
) -> None:
    from django.contrib.auth.models import User

    alice = User.objects.create_user("alice", "", "right")
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        client.get(path)
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False

    (row,) = log.find(event="db.row")
    (request,) = log.find(event="http.server.request")
    assert (row["outcome"], row["target"]["id"]) == (outcome, "shop.Tag/1")
    assert row["actor"]["id"] == str(alice.pk)
    assert (row["trace_id"], row["source"]) == (request["trace_id"], request["source"])


def test_what_the_policy_does_not_name_is_not_recorded(django_audited: Any, audit_log: AuditLog) -> None:
    from tests.instrumentations.django_project.shop.models import Tag

    Tag.objects.create(word="a")
    Tag.objects.all().delete()

    assert audit_log.records == []


def test_who_acts_is_who_acted_then(shop: Any, log: AuditLog) -> None:
    import otel_audit

    with transaction.atomic():
        with otel_audit.acting_as(otel_audit.Actor("robot", "service")):
            shop.Tag.objects.create(word="a")
        shop.Tag.objects.create(word="b")

    first, second = (record["actor"]["id"] for record in log.find(event="db.row"))
    assert first == "robot"
    assert second != "robot"


@override_settings(USE_TZ=True)
def test_a_deferred_field_is_not_loaded_for_the_log(shop: Any, log: AuditLog) -> None:
    shop.Customer.objects.create(name="x", card=SECRET)
    with CaptureQueriesContext(connection) as queries:
        customer = shop.Customer.objects.defer("card").get()
        customer.name = "y"
        customer.save()

    assert len(queries) == 2
    assert _last(log)["context"]["db.row.fields"] == ["name"]


def test_no_model_gets_a_receiver_that_slows_it(shop: Any) -> None:
    """One of `post_delete` makes Django load every row first; Django's own tests count those of `post_save`."""
    from django.db.models import signals

    assert not any(
        signal.has_listeners(model)
        for signal in (signals.pre_save, signals.post_save, signals.pre_delete, signals.post_delete)
        for model in (shop.Customer, shop.Invoice, shop.Tag)
    )


def test_a_row_made_with_a_key_of_its_own_is_created(shop: Any, log: AuditLog) -> None:
    shop.Tag(pk=7, word="a").save()
    shop.Tag(pk=7, word="b").save()

    assert [(action, target) for action, target, _ in _rows(log)] == [
        ("CREATE", "shop.Tag/7"),
        ("UPDATE", "shop.Tag/7"),
    ]
