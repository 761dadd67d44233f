"""What a change of rows is, for every object-relational mapper: model, key, fields; values as the policy says.

Capture stage. The policy names the models (`rows`); an instrumentation asks `row_rule` for each change, and
`row_event` for its event. Nothing of a value is recorded unless the policy names the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from otel_audit.capture.redaction import keyed_hash
from otel_audit.event import AuditEvent, ContextValue, Target

EVENT = "db.row"
Detail: TypeAlias = Literal["none", "hash", "plain"]
RowAction: TypeAlias = Literal["CREATE", "UPDATE", "DELETE"]

MAX_IDS = 100
"""Keys that one event about many rows names; how many there were it says in any case."""
_MAX_VALUE = 1024
"""Characters of a plain value."""


@dataclass(frozen=True, slots=True)
class RowRule:
    """How the rows of the models that *matches* are recorded."""

    matches: Callable[[str], bool]
    fields: tuple[tuple[Callable[[str], bool], Detail], ...] = ()
    """First match wins."""

    def detail(self, name: str) -> Detail:
        """How much of that field's values is recorded."""
        for matches, detail in self.fields:
            if matches(name):
                return detail
        return "none"


@dataclass(frozen=True, slots=True)
class RowChange:
    """One change, of one row or of many."""

    model: str
    """As the framework names it: `shop.Invoice`."""
    action: RowAction
    key: str | None = None
    """The row's primary key; None where it was not one row, or is not known."""
    keys: Sequence[str] = ()
    """Those of several rows, as far as known."""
    count: int | None = None
    """How many rows, where it was not one."""
    fields: Sequence[str] = ()
    """Names of what was changed."""
    old: Mapping[str, object] = field(default_factory=dict[str, object])
    new: Mapping[str, object] = field(default_factory=dict[str, object])
    table: str | None = None


_rules: tuple[RowRule, ...] = ()
_known: dict[str, RowRule | None] = {}


def configure_rows(rules: tuple[RowRule, ...]) -> None:
    """Make *rules* hold for every change from now on."""
    global _rules  # noqa: PLW0603 - one configuration a process, as the policy is
    _rules = rules
    _known.clear()


def watches_rows() -> bool:
    """Whether the policy names any model."""
    return bool(_rules)


def row_rule(model: str) -> RowRule | None:
    """The rule for that model's rows; None where the policy does not name it."""
    if not _rules:
        return None
    if model not in _known:
        _known[model] = next((rule for rule in _rules if rule.matches(model)), None)
    return _known[model]


def row_event(change: RowChange, rule: RowRule) -> AuditEvent:
    """The `db.row` event of *change*; its outcome is `success` until somebody knows better."""
    context: dict[str, ContextValue] = {}
    if change.table:
        context["db.collection.name"] = change.table
    if change.fields:
        context["db.row.fields"] = tuple(change.fields)
    context.update(_values("db.row.old.", change.old, rule))
    context.update(_values("db.row.new.", change.new, rule))
    if change.count is not None:
        context["db.response.affected_rows"] = change.count
    if change.keys:
        context["db.row.ids"] = tuple(change.keys[:MAX_IDS])
    target = (
        Target(change.model, "db.model") if change.key is None else Target(f"{change.model}/{change.key}", EVENT)
    )
    return AuditEvent(EVENT, change.action, "success", target=target, context=context)


def _values(prefix: str, values: Mapping[str, object], rule: RowRule) -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        detail = rule.detail(name)
        if detail != "none" and value is not None:
            text = str(value)
            yield prefix + name, keyed_hash(text) if detail == "hash" else text[:_MAX_VALUE]
