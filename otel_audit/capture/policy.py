"""What is recorded, and in what detail: a YAML text, first match wins, carried in the log itself.

Capture stage. The pipeline asks `Policy.decide` before it makes a record. What a rule leaves out is counted
in the next seal, and the text stands in the stream, so that an auditor reads what was left out and why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from otel_audit.capture.request import RequestScope
from otel_audit.capture.rows import RowRule
from otel_audit.errors import InvalidSetting
from otel_audit.event import AuditEvent

MAX_PATH = 2048
"""A longer path matches no rule, and so is recorded: globs with several `**` cost more than its length."""

MAX_TEXT_BYTES = 48 << 10
"""The text must fit a record (65,536 bytes) with room for escapes and the members around it."""

DEFAULT_TEXT = """\
# otel-audit's built-in policy: every event is recorded, in full.
rules: []
"""


class Decision(NamedTuple):
    """What becomes of one event."""

    is_recorded: bool = True
    detail: Literal["full", "core"] = "full"
    """`core`: without its context, but for what the evidence format itself names (`audit.*`)."""

    def reduce(self, event: AuditEvent) -> AuditEvent:
        """*event* in the detail decided on; the same object where that is `full`."""
        if self.detail == "full" or not event.context:
            return event
        kept = {name: value for name, value in event.context.items() if name.startswith("audit.")}
        return event._replace(context=kept)


RECORD = Decision()

Condition: TypeAlias = Callable[[AuditEvent, RequestScope | None], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of the events that meet every one of its conditions."""

    conditions: tuple[Condition, ...]
    decision: Decision
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The conditions as they are written, by member: `path` and its globs."""
    where: str = ""
    """File, line and number, for people."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules in force; immutable, shared by threads. With no rule, deciding costs one test."""

    text: str
    """What stands in the log's `audit.policy` record, excluded paths included."""
    digest: str
    """Lower-case hex SHA-256 of `text` in UTF-8."""
    rules: tuple[Rule, ...]
    rows: tuple[RowRule, ...] = ()
    """Models whose rows' changes are recorded."""

    @staticmethod
    def parse(text: str | None = None, *, excluded_paths: Sequence[str] = (), name: str = "policy") -> Policy:
        """Read a policy file's *text* (None: the built-in one), preceded by the *excluded_paths*.

        Those (`OTEL_AUDIT_EXCLUDED_PATHS`) become a rule of a YAML document of their own before the file's.

        Raises:
            InvalidSetting: not such a policy; the message has *name*, line and rule, what, what is accepted.
        """
        text = DEFAULT_TEXT if text is None else text
        rules, rows = ((), ()) if text == DEFAULT_TEXT else _read(text, name)
        if excluded_paths:
            excluded = _excluding(excluded_paths)
            rules = (*_read(excluded, "OTEL_AUDIT_EXCLUDED_PATHS")[0], *rules)
            text = excluded + _separator(text) + text
        encoded = text.encode("utf-8", "replace")
        if len(encoded) > MAX_TEXT_BYTES:
            raise InvalidSetting(
                f"{name}: {len(encoded):,} bytes, expected at most {MAX_TEXT_BYTES:,}, "
                "because the text stands in a record"
            )
        return Policy(text, hashlib.sha256(encoded).hexdigest(), rules, rows)

    @property
    def has_rules(self) -> bool:
        """False for a policy that records everything in full, which need not be asked."""
        return bool(self.rules)

    def decide(self, event: AuditEvent, request: RequestScope | None) -> Decision:
        """What becomes of *event*, which happens inside *request*: the first rule that matches, else all of it."""
        for rule in self.rules:
            if all(condition(event, request) for condition in rule.conditions):
                return rule.decision
        return RECORD


def _excluding(paths: Sequence[str]) -> str:
    quoted = "".join(f"      - {_quoted(path)}\n" for path in paths)
    return (
        "# From OTEL_AUDIT_EXCLUDED_PATHS.\n"
        f"rules:\n  - event: http.server.request\n    path:\n{quoted}    action: skip\n"
    )


def _separator(text: str) -> str:
    """What ends the document before *text*, which may begin its own (`---`) or directives (`%YAML`)."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return "...\n" if next(lines, "").startswith(("---", "%")) else "---\n"


def _quoted(text: str) -> str:
    """YAML 1.2 §7.3.2, single-quoted; line breaks would fold, and no path that is routed has one."""
    if not text.isprintable():
        raise InvalidSetting(f"OTEL_AUDIT_EXCLUDED_PATHS: {text!r}: expected printable characters only")
    return "'" + text.replace("'", "''") + "'"


def _read(text: str, name: str) -> tuple[tuple[Rule, ...], tuple[RowRule, ...]]:
    from otel_audit.capture.policy_file import read  # and with it the YAML parser: 20 ms

    return read(text, name)
