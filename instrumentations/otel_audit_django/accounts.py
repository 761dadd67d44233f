"""Accounts and what they may do: users, groups, permissions, whoever changes them and however.

Recorded whatever the policy says of rows: `user.create`, `user.update`, `user.delete`, and `user.grant` and
`user.revoke` for superusers, staff, groups and permissions. Names of fields and keys only, never a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otel_audit.capture.rows import MAX_IDS, RowChange
from otel_audit.event import AuditEvent, ContextValue, Target
from otel_audit_django.identity import model_of
from otel_audit_django.transactions import emit_when_committed

_ROLES = ("is_superuser", "is_staff", "is_admin", "is_administrator")
"""Django's own, and what projects call theirs; Django's documentation of custom users has `is_admin`."""
# written by Django itself at every sign-in
_NOT_AN_UPDATE = frozenset(("last_login",))


@dataclass(frozen=True, slots=True)
class Ties:
    """Rows of a many-to-many table that came or went, as `m2m_changed` tells it."""

    through: Any
    instance: Any
    """Whose manager was used."""
    model: Any
    """Of the others."""
    keys: Sequence[str]
    """Of the others; none where all were cleared."""
    is_added: bool
    is_reverse: bool
    """Whether *instance* is not of the model that has the field."""


def is_account(model: Any) -> bool:
    """Whether *model* is the project's user model, or `auth.Group`."""
    return model in _models()


def is_membership(through: Any) -> bool:
    """Whether rows of that table say who belongs to which group, or has which permission."""
    return through in _memberships()


def emit_saved(
    instance: Any,
    using: str,
    *,
    created: bool,
    saved: Sequence[str],
    changed: Sequence[str],
    old: Mapping[str, object],
) -> None:
    """An account was saved; *saved* are the fields that were written, *changed* those that differ from *old*."""
    label = model_of(instance)._meta.label  # noqa: SLF001 - Django's public `_meta` API
    target = _target(label, str(instance.pk))
    names = [name for name in changed if name not in _NOT_AN_UPDATE]
    if "password" in names and _is_rehash(instance, saved):
        names.remove("password")
    if created:
        names = [name for name in _ROLES if getattr(instance, name, False)]
        _emit("user.create", "CREATE", target, {}, using)
    for name in _ROLES:
        if name in names:
            names.remove(name)
            is_given = bool(getattr(instance, name))
            if is_given or (old.get(name)):
                _grant(target, is_given, {"user.roles": (name,)}, using)
    if names:
        _emit("user.update", "UPDATE", target, {"db.row.fields": tuple(names)}, using)


def emit_deleted(label: str, key: str, using: str) -> None:
    """An account was deleted."""
    _emit("user.delete", "DELETE", _target(label, key), {}, using)


def emit_many(change: RowChange, using: str) -> None:
    """Several accounts were changed by one operation."""
    context: dict[str, ContextValue] = {"db.response.affected_rows": change.count}
    if change.keys:
        context["db.row.ids"] = tuple(change.keys[:MAX_IDS])
    target = Target(change.model, "db.model")
    names = [name for name in change.fields if name not in _NOT_AN_UPDATE]
    for name in _ROLES:
        if name in change.new and name in names:
            names.remove(name)
            _grant(target, bool(change.new[name]), {**context, "user.roles": (name,)}, using)
    if change.action == "UPDATE" and not names:
        return
    if names:
        context["db.row.fields"] = tuple(names)
    verb = {"CREATE": "user.create", "UPDATE": "user.update", "DELETE": "user.delete"}[change.action]
    _emit(verb, change.action, target, context, using)


def emit_membership(ties: Ties, using: str) -> None:
    """Groups or permissions were given to an account, or taken from it, from either side."""
    owner, key = model_of(ties.instance)._meta.label, str(ties.instance.pk)  # noqa: SLF001 - likewise
    other = ties.model._meta.label  # noqa: SLF001 - likewise
    context: dict[str, ContextValue] = {"db.collection.name": ties.through._meta.db_table}  # noqa: SLF001 - likewise
    if ties.is_reverse:
        # group.user_set.add(users): each of the others is given this one
        context["user.granted"] = (f"{owner}/{key}",)
        targets = [_target(other, other_key) for other_key in ties.keys] or [Target(other, "db.model")]
    else:
        # nothing is known of what is cleared; all of it is
        context["user.granted"] = tuple(f"{other}/{key}" for key in ties.keys[:MAX_IDS]) or (f"{other}/*",)
        targets = [_target(owner, key)]
    for target in targets:
        _grant(target, ties.is_added, context, using)


def _is_rehash(instance: Any, saved: Sequence[str]) -> bool:
    """Whether the password is the same, hashed anew at a sign-in (`check_password`'s `setter`).

    `AbstractBaseUser.set_password` leaves the password in `_password` until it was saved.
    """
    return list(saved) == ["password"] and getattr(instance, "_password", None) is None


def _grant(target: Target, is_given: bool, context: Mapping[str, ContextValue], using: str) -> None:
    if is_given:
        _emit("user.grant", "GRANT", target, context, using)
    else:
        _emit("user.revoke", "REVOKE", target, context, using)


def _emit(event: str, action: str, target: Target, context: Mapping[str, ContextValue], using: str) -> None:
    emit_when_committed(AuditEvent(event, action, "success", target=target, context=context), using)


def _target(label: str, key: str) -> Target:
    return Target(f"{label}/{key}", "group" if label == "auth.Group" else "user")


_found: tuple[tuple[Any, ...], tuple[Any, ...]] | None = None


def _models() -> tuple[Any, ...]:
    return (_found or _find())[0]


def _memberships() -> tuple[Any, ...]:
    return (_found or _find())[1]


def forget() -> None:
    """Look for the models anew: another user model was configured (in tests)."""
    global _found  # noqa: PLW0603 - the project's models are the process's own
    _found = None


def _find() -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    global _found  # noqa: PLW0603 - likewise
    from django.apps import apps
    from django.conf import settings

    if not apps.models_ready:
        return (), ()
    names = (settings.AUTH_USER_MODEL, "auth.Group")
    # `get_model` refuses what a test has made unavailable (TransactionTestCase.available_apps); it is there
    known = (_known_model(apps, name) for name in names)
    models = tuple(model for model in known if model is not None)
    tables = tuple(
        field.remote_field.through
        for model in models
        for field in model._meta.many_to_many  # noqa: SLF001 - likewise
        if field.name in ("groups", "user_permissions", "permissions")
    )
    _found = models, tables
    return _found


def _known_model(apps: Any, name: str) -> Any:
    label, _, model = name.partition(".")
    return apps.all_models.get(label, {}).get(model.lower())
