"""Accounts, the admin and management commands: who gave what to whom, from which side, by which tool."""

from __future__ import annotations

import getpass
from typing import Any

import pytest
from django.core.management import execute_from_command_line
from django.db import transaction
from django.test import Client, override_settings

from otel_audit.testing import AuditLog, recording
from otel_audit_django import accounts

pytestmark = pytest.mark.usefixtures("django_audited")


MD5 = "django.contrib.auth.hashers.MD5PasswordHasher"
PBKDF2 = "django.contrib.auth.hashers.PBKDF2PasswordHasher"


@pytest.fixture
def log(alice: Any, root: Any) -> Any:
    """A log that begins when there are users."""
    with recording() as log:
        yield log


def _said(log: AuditLog) -> list[tuple[str, str, str]]:
    return [
        (record["event"], record["target"]["id"], record["outcome"])
        for record in log.records
        if record["event"].startswith("user.")
    ]


def _group(name: str = "editors") -> Any:
    from django.contrib.auth.models import Group

    return Group.objects.create(name=name)


def _fresh(user: Any) -> Any:
    from django.contrib.auth.models import User

    return User.objects.get(pk=user.pk)


def test_a_new_user_is_an_event_and_a_superuser_a_grant(django_audited: Any, audit_log: AuditLog) -> None:
    from django.contrib.auth.models import User

    User.objects.create_user("carol", "carol@secret.example", "hunter2")
    User.objects.create_superuser("dave", "", "hunter2")

    assert _said(audit_log) == [
        ("user.create", "auth.User/1", "success"),
        ("user.create", "auth.User/2", "success"),
        ("user.grant", "auth.User/2", "success"),
        ("user.grant", "auth.User/2", "success"),
    ]
    roles = [record["context"]["user.roles"] for record in audit_log.find(event="user.grant")]
    assert roles == [["is_superuser"], ["is_staff"]]
    assert "hunter2" not in str(audit_log.bodies)
    assert "carol" not in str(audit_log.bodies)


def test_a_role_of_the_projects_own_is_a_grant(django_audited: Any, audit_log: AuditLog) -> None:
    from django.contrib.auth.models import User

    carol: Any = User(username="carol")
    carol.is_administrator = True
    carol.save()

    assert _said(audit_log) == [("user.create", "auth.User/1", "success"), ("user.grant", "auth.User/1", "success")]
    assert audit_log.records[-1]["context"]["user.roles"] == ["is_administrator"]


def test_accounts_are_found_where_a_test_has_made_their_application_unavailable(
    django_audited: Any, audit_log: AuditLog
) -> None:
    """`TransactionTestCase.available_apps`: what is first saved then was an error, and accounts never heard of."""
    from django.apps import apps
    from django.contrib.auth.models import User

    from tests.instrumentations.django_project.shop.models import Tag

    accounts.forget()
    apps.set_available_apps(["tests.instrumentations.django_project.shop"])
    try:
        Tag.objects.create(word="new")
    finally:
        apps.unset_available_apps()
    User.objects.create_user("carol")

    assert _said(audit_log) == [("user.create", "auth.User/1", "success")]


def test_a_password_that_changes_is_an_update_without_it(log: AuditLog, alice: Any) -> None:
    user = _fresh(alice)
    user.set_password("hunter2")
    user.save()

    (record,) = log.records
    assert (record["event"], record["action"], record["target"]) == (
        "user.update",
        "UPDATE",
        {"id": f"auth.User/{alice.pk}", "type": "user"},
    )
    assert record["context"] == {"db.row.fields": ["password"]}
    assert user.password not in str(log.bodies)


def test_a_password_that_is_only_hashed_anew_is_no_change(log: AuditLog, alice: Any) -> None:
    from django.contrib.auth.hashers import make_password

    with override_settings(PASSWORD_HASHERS=[PBKDF2, MD5]):  # the first one is preferred
        assert _fresh(alice).check_password("right")
    assert _fresh(alice).password.startswith("pbkdf2")

    assert log.records == []
    user = _fresh(alice)
    user.password = make_password("hunter2")
    user.save()
    assert _said(log) == [("user.update", f"auth.User/{alice.pk}", "success")]


def test_a_sign_in_is_no_update(log: AuditLog) -> None:
    Client().post("/sign-in", {"username": "alice", "password": "right"})

    assert [record["event"] for record in log.records] == ["user.login", "http.server.request"]


def test_a_superuser_is_made_and_unmade(log: AuditLog, alice: Any) -> None:
    from django.contrib.auth.models import User

    user = _fresh(alice)
    user.is_superuser = True
    user.save()
    user.is_superuser = False
    user.save()
    User.objects.filter(pk=alice.pk).update(is_superuser=True)

    assert _said(log) == [
        ("user.grant", f"auth.User/{alice.pk}", "success"),
        ("user.revoke", f"auth.User/{alice.pk}", "success"),
        ("user.grant", "auth.User", "success"),
    ]


def test_groups_and_permissions_are_grants_from_either_side(log: AuditLog, alice: Any, root: Any) -> None:
    from django.contrib.auth.models import Permission

    group = _group()
    permission = Permission.objects.all()[0]
    alice.groups.add(group)
    group.user_set.add(root)
    alice.user_permissions.set([permission])
    group.permissions.add(permission)
    alice.user_permissions.remove(permission)
    alice.groups.clear()

    grants = [(r["event"], r["target"], r["context"]["user.granted"]) for r in log.records if "granted" in str(r)]
    user = {"id": f"auth.User/{alice.pk}", "type": "user"}
    of_group = [f"auth.Group/{group.pk}"]
    of_permission = [f"auth.Permission/{permission.pk}"]
    assert grants == [
        ("user.grant", user, of_group),
        ("user.grant", {"id": f"auth.User/{root.pk}", "type": "user"}, of_group),
        ("user.grant", user, of_permission),
        ("user.grant", {"id": f"auth.Group/{group.pk}", "type": "group"}, of_permission),
        ("user.revoke", user, of_permission),
        ("user.revoke", user, ["auth.Group/*"]),
    ]


def test_a_grant_that_is_rolled_back_is_a_failure(log: AuditLog, alice: Any) -> None:
    group = _group()
    with transaction.atomic():
        alice.groups.add(group)
        transaction.set_rollback(True)

    assert _said(log)[-1] == ("user.grant", f"auth.User/{alice.pk}", "failure")


def test_a_deleted_user_is_an_event(log: AuditLog, alice: Any) -> None:
    key = alice.pk
    alice.delete()

    assert _said(log) == [("user.delete", f"auth.User/{key}", "success")]


def test_the_admin_s_changes_have_their_targets(log: AuditLog, root: Any) -> None:
    from tests.instrumentations.django_project.shop.models import Customer

    client = Client()
    client.force_login(root)
    client.post("/admin/shop/customer/add/", {"name": "secret name", "card": "4111"})
    client.post("/admin/shop/customer/1/change/", {"name": "another secret name", "card": "4111"})
    Customer.objects.create(name="second")
    client.post(
        "/admin/shop/customer/",
        {"action": "delete_selected", "_selected_action": ["1", "2"], "post": "yes", "index": "0"},
    )

    ours = [record for record in log.records if record["event"].startswith("admin.")]
    said = [(record["event"], record["action"], record["target"]["id"]) for record in ours]
    assert said[:2] == [
        ("admin.add", "CREATE", "shop.Customer/1"),
        ("admin.change", "UPDATE", "shop.Customer/1"),
    ]
    assert sorted(said[2:]) == [
        ("admin.action", "EXECUTE", "shop.Customer"),
        ("admin.delete", "DELETE", "shop.Customer/1"),
        ("admin.delete", "DELETE", "shop.Customer/2"),
    ]
    assert {record["actor"]["id"] for record in ours} == {str(root.pk)}
    assert ours[1]["context"]["db.row.fields"] == ["Name"]
    assert ours[-1]["context"] == {
        "code.function.name": "delete_selected",
        "db.row.ids": ["1", "2"],
        "db.response.affected_rows": 2,
    }
    assert "secret name" not in str(log.bodies)


def test_an_action_that_does_not_exist_is_not_repeated(log: AuditLog, root: Any) -> None:
    client = Client()
    client.force_login(root)
    client.post("/admin/shop/customer/", {"action": "hunter2", "_selected_action": ["hunter2"], "index": "0"})

    assert "hunter2" not in str(log.bodies)
    log.assert_audited(event="admin.action", count=0)


def test_the_admin_s_user_form_is_a_grant_by_the_admin_s_user(log: AuditLog, alice: Any, root: Any) -> None:
    group = _group()
    client = Client()
    client.force_login(root)
    response: Any = client.post(
        f"/admin/auth/user/{alice.pk}/change/",
        {
            "username": "alice",
            "is_active": "on",
            "is_staff": "on",
            "groups": [str(group.pk)],
            "date_joined_0": "2026-01-01",
            "date_joined_1": "00:00:00",
        },
    )

    assert response.status_code == 302, response.content
    grants = log.find(event="user.grant", actor=str(root.pk), target=f"auth.User/{alice.pk}")
    assert [record["context"].get("user.roles") or record["context"].get("user.granted") for record in grants] == [
        ["is_staff"],
        [f"auth.Group/{group.pk}"],
    ]


def test_a_command_is_an_event_of_the_operating_systems_user(log: AuditLog, alice: Any) -> None:
    execute_from_command_line(["manage.py", "clearsessions"])

    record = log.assert_audited(event="process.command", count=1)
    assert record["action"] == "EXECUTE"
    assert record["target"] == {"id": "clearsessions", "type": "process.command"}
    assert record["actor"] == {"id": getpass.getuser(), "type": "user"}


def test_a_command_that_fails_says_so_without_its_message(
    log: AuditLog, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        execute_from_command_line(["manage.py", "createsuperuser", "--noinput", "--username", "hunter2"])

    record = log.assert_audited(event="process.command", target="createsuperuser", outcome="failure", count=1)
    assert record["context"] == {
        "process.command": "createsuperuser",
        "process.exit.code": 1,
        "error.type": "SystemExit",
    }
    assert "hunter2" not in str(log.bodies)


def test_what_a_command_does_is_its_users(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "hunter2")
    execute_from_command_line(
        ["manage.py", "createsuperuser", "--noinput", "--username", "eve", "--email", "eve@example.org", "-v", "0"]
    )

    made = log.assert_audited(event="user.create", count=1)
    assert made["actor"] == {"id": getpass.getuser(), "type": "user"}
    log.assert_audited(event="user.grant", actor=getpass.getuser(), count=2)
    assert "hunter2" not in str(log.bodies)


def test_a_migration_is_one_event_a_statement_of_the_operating_systems_user(log: AuditLog) -> None:
    from django.db import connection

    from otel_audit_sqlite3 import SQLite3AuditInstrumentor

    connection.close()
    instrumentor = SQLite3AuditInstrumentor()
    instrumentor.instrument()
    try:
        execute_from_command_line(["manage.py", "migrate", "authtoken", "zero", "-v", "0"])
    finally:
        instrumentor.uninstrument()
        connection.close()

    log.assert_audited(event="process.command", target="migrate", outcome="success", count=1)
    dropped = log.find(event="db.query", target="authtoken_token")
    assert [r["context"]["db.operation.name"] for r in dropped if r["action"] == "DELETE"] == ["DROP"]
    assert {record["actor"]["id"] for record in dropped} == {getpass.getuser()}
