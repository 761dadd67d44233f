"""Changes of rows through Django's models: saved, deleted, in bulk, by cascade, many-to-many.

Seen at the model layer's own entrances, without a query and without a receiver that would change how Django
deletes (a receiver of `post_delete` makes it load every row first). What is not seen: raw SQL, `_raw_delete`,
and what the database does by itself; each leaves its `db.query`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from otel_audit.capture.rows import MAX_IDS, RowAction, RowChange, row_event, row_rule, watches_rows
from otel_audit.errors import RecordingFailed
from otel_audit.serving.faults import complain
from otel_audit_django import accounts, admin
from otel_audit_django.identity import held, model_of
from otel_audit_django.transactions import emit_when_committed

_is_inside: ContextVar[bool] = ContextVar("otel_audit_django_bulk", default=False)
"""Inside an operation that has an event of its own."""
_LOADED = "otel_audit_loaded"
"""On an instance's `_state`: its values as the database had them."""
_CREATED = "otel_audit_created"
"""There, while it is saved: whether the row is new."""


def is_watched(model: Any) -> bool:
    """Whether changes of that model's rows are recorded at all."""
    return accounts.is_account(model) or (watches_rows() and row_rule(model._meta.label) is not None)  # noqa: SLF001 - Django's public `_meta` API


def on_from_db(original: Any) -> Any:
    """`Model.from_db`: what a watched row was when it was loaded."""
    function: Callable[..., Any] = original.__func__

    @functools.wraps(function)
    def from_db(cls: Any, *args: Any, **kwargs: Any) -> Any:
        instance = function(cls, *args, **kwargs)
        if is_watched(cls):
            _remember(instance)
        return instance

    return classmethod(from_db)


def on_refresh(refresh: Callable[..., Any]) -> Callable[..., Any]:
    """`Model.refresh_from_db`: the same, for an instance that takes its values anew."""

    @functools.wraps(refresh)
    def refresh_from_db(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = refresh(self, *args, **kwargs)
        if is_watched(type(self)):
            _remember(self)
        return result

    return refresh_from_db


def on_save_table(save_table: Callable[..., bool]) -> Callable[..., bool]:
    """`Model._save_table`, which alone knows whether a row was there: it returns whether it was updated."""

    @functools.wraps(save_table)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> bool:
        updated = save_table(self, *args, **kwargs)
        if hasattr(self._state, _CREATED):  # last for the model itself, after its parents
            setattr(self._state, _CREATED, not updated)
        return updated

    return wrapped


def on_save(save_base: Callable[..., Any]) -> Callable[..., Any]:
    """`Model.save_base`: one row is created or changed.

    Not a receiver of `post_save`: it would slow the saving of every other model, and Django's own tests count them.
    """

    @functools.wraps(save_base)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        model = model_of(self)
        if args or kwargs.get("raw") or not (is_watched(model) or admin.is_log_entry(model)):
            return save_base(self, *args, **kwargs)
        state = self._state.__dict__
        state[_CREATED] = self._state.adding
        try:
            result = save_base(self, **kwargs)
        finally:
            created = state.pop(_CREATED)
        _guarded(lambda: _saved(self, self._state.db, created, kwargs.get("update_fields")))
        return result

    return wrapped


def on_many_to_many(
    sender: Any,
    *,
    instance: Any = None,
    action: str = "",
    reverse: bool = False,
    model: Any = None,
    pk_set: set[Any] | None = None,
    using: str = "default",
    **_: object,
) -> None:
    """`m2m_changed`: rows were tied together, or parted."""
    if action not in ("post_add", "post_remove", "pre_clear") or (action != "pre_clear" and not pk_set):
        return
    keys = sorted(str(key) for key in pk_set or ())
    ties = accounts.Ties(sender, instance, model, keys, action == "post_add", reverse)
    _guarded(lambda: _tied(ties, using))


def on_bulk_create(bulk_create: Callable[..., Any]) -> Callable[..., Any]:
    """`QuerySet.bulk_create`."""

    @functools.wraps(bulk_create)
    def wrapped(self: Any, objs: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_watched(self.model) and not admin.is_log_entry(self.model):
            return bulk_create(self, objs, *args, **kwargs)
        created = bulk_create(self, objs, *args, **kwargs)
        _guarded(lambda: _created(self, created))
        return created

    return wrapped


def on_bulk_update(bulk_update: Callable[..., Any]) -> Callable[..., Any]:
    """`QuerySet.bulk_update`: one event, not one for each of its statements."""

    @functools.wraps(bulk_update)
    def wrapped(self: Any, objs: Any, fields: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_watched(self.model):
            return bulk_update(self, objs, fields, *args, **kwargs)
        objs, fields = tuple(objs), list(fields)
        token = _is_inside.set(True)
        try:
            count = bulk_update(self, objs, fields, *args, **kwargs)
        finally:
            _is_inside.reset(token)
        change = _change(self.model, "UPDATE", count=count, fields=fields, keys=_keys(objs))
        _guarded(lambda: _changed_many(self.model, change, self.db))
        for obj in objs:
            _remember(obj)
        return count

    return wrapped


def on_update(update: Callable[..., Any]) -> Callable[..., Any]:
    """`QuerySet.update`."""

    @functools.wraps(update)
    def wrapped(self: Any, **kwargs: Any) -> Any:
        count = update(self, **kwargs)
        if count and not _is_inside.get() and is_watched(self.model):
            new = {name: value for name, value in kwargs.items() if _is_plain(value)}
            change = _change(self.model, "UPDATE", count=count, fields=list(kwargs), new=new)
            _guarded(lambda: _changed_many(self.model, change, self.db))
        return count

    return wrapped


def on_collected_delete(delete: Callable[..., Any]) -> Callable[..., Any]:
    """`Collector.delete`: what `Model.delete`, `QuerySet.delete` and their cascades come to."""

    @functools.wraps(delete)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        rows: list[tuple[Any, str, Mapping[str, object]]] = [
            (model, str(instance.pk), _values(instance))  # the keys are taken from the instances by deleting them
            for model, instances in self.data.items()
            if is_watched(model)
            for instance in instances
        ]
        parted: list[tuple[Any, str]] = [
            (objs, field.name)
            for (field, _), lists in self.field_updates.items()
            for objs in lists
            if isinstance(objs, (list, set)) and objs and is_watched(field.model)
        ]
        result = delete(self, *args, **kwargs)
        _guarded(lambda: _deleted(self, rows, parted, result[1]))
        return result

    return wrapped


def _guarded(record: Callable[[], None]) -> None:
    """What goes wrong in looking at a change is said, and does not become the application's."""
    try:
        record()
    except RecordingFailed:
        raise
    except Exception as error:  # noqa: BLE001 - an audit fault never breaks the application in fail mode open
        complain(error)


def _saved(instance: Any, using: str, created: bool, update_fields: Iterable[str] | None) -> None:
    model = model_of(instance)
    if admin.is_log_entry(model):
        admin.emit_entry(instance, using)
        return
    new = _values(instance)
    loaded: Mapping[str, object] | None = getattr(instance._state, _LOADED, None)  # noqa: SLF001 - Django's documented member
    old: Mapping[str, object] = {} if loaded is None or created else loaded
    saved = _names(model, update_fields)
    changed: list[str] = []
    if not created:
        # not loaded from the database: what it was nobody knows, and all that is written counts
        changed = [
            name
            for name in saved
            if loaded is None or (name in new and (name not in old or old[name] != new[name]))
        ]
    if accounts.is_account(model):
        accounts.emit_saved(instance, using, created=created, saved=saved, changed=changed, old=old)
    rule = row_rule(model._meta.label)  # noqa: SLF001 - likewise
    if rule is not None and (created or changed):
        change = _change(
            model,
            "CREATE" if created else "UPDATE",
            key=str(instance.pk),
            fields=changed,
            old={name: old[name] for name in changed if name in old},
            new={name: new[name] for name in (new if created else changed) if name in new},
        )
        emit_when_committed(row_event(change, rule), using)
    _remember(instance)


def _created(queryset: Any, created: list[Any]) -> None:
    model = queryset.model
    if admin.is_log_entry(model):
        for entry in created:
            admin.emit_entry(entry, queryset.db)
        return
    _changed_many(model, _change(model, "CREATE", count=len(created), keys=_keys(created)), queryset.db)
    for obj in created:
        _remember(obj)


def _changed_many(model: Any, change: RowChange, using: str) -> None:
    if not change.count:
        return
    if accounts.is_account(model):
        accounts.emit_many(change, using)
    rule = row_rule(change.model)
    if rule is not None:
        emit_when_committed(row_event(change, rule), using)


def _deleted(
    collector: Any,
    rows: list[tuple[Any, str, Mapping[str, object]]],
    parted: list[tuple[Any, str]],
    counts: Mapping[str, int],
) -> None:
    using = collector.using
    for objs, name in parted:
        instances = list(objs)
        model = model_of(instances[0])
        change = _change(model, "UPDATE", count=len(instances), fields=[name], keys=_keys(instances))
        _changed_many(model, change, using)
    left = dict(counts)
    for model, key, old in rows:
        change = _change(model, "DELETE", key=key, old=old)
        left[change.model] = left.get(change.model, 0) - 1
        if accounts.is_account(model):
            accounts.emit_deleted(change.model, key, using)
        rule = row_rule(change.model)
        if rule is not None:
            emit_when_committed(row_event(change, rule), using)
    for queryset in collector.fast_deletes:
        model = queryset.model
        count = left.pop(model._meta.label, 0)  # noqa: SLF001 - likewise
        if count > 0 and is_watched(model):
            _changed_many(model, _change(model, "DELETE", count=count), using)


def _tied(ties: accounts.Ties, using: str) -> None:
    if accounts.is_membership(ties.through):
        accounts.emit_membership(ties, using)
    owner = model_of(ties.instance)
    rule = row_rule(owner._meta.label)  # noqa: SLF001 - likewise
    if rule is not None:
        change = _change(
            owner,
            "UPDATE",
            key=str(ties.instance.pk),
            keys=ties.keys,
            count=len(ties.keys) or None,  # None: all of them, however many there were
            fields=[("+" if ties.is_added else "-") + _relation(owner, ties.through)],
        )
        emit_when_committed(row_event(change, rule), using)


def _change(model: Any, action: RowAction, **members: Any) -> RowChange:
    return RowChange(model._meta.label, action, table=model._meta.db_table, **members)  # noqa: SLF001 - likewise


def _keys(objs: Iterable[Any]) -> list[str]:
    return [str(obj.pk) for obj in itertools.islice(objs, MAX_IDS) if obj.pk is not None]


def _relation(owner: Any, through: Any) -> str:
    for field in (*owner._meta.many_to_many, *owner._meta.related_objects):  # noqa: SLF001 - likewise
        if (getattr(field, "through", None) or getattr(field.remote_field, "through", None)) is through:
            return str(field.name)
    return str(through._meta.model_name)  # noqa: SLF001 - likewise


def _names(model: Any, update_fields: Iterable[str] | None) -> list[str]:
    """Names of the fields that a save writes."""
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]  # noqa: SLF001 - likewise
    if update_fields is None:
        return [field.name for field in fields]
    given = frozenset(update_fields)
    return [field.name for field in fields if field.name in given or field.attname in given]


def _values(instance: Any) -> dict[str, object]:
    """The values that *instance* holds, by the names of its fields; none is loaded, no expression is asked."""
    members = held(instance)
    return {
        field.name: members[field.attname]
        for field in model_of(instance)._meta.concrete_fields  # noqa: SLF001 - likewise
        if field.attname in members and _is_plain(members[field.attname])
    }


def _is_plain(value: object) -> bool:
    return not hasattr(value, "resolve_expression")


def _remember(instance: Any) -> None:
    setattr(instance._state, _LOADED, _values(instance))  # noqa: SLF001 - likewise
