"""A policy's YAML text, read into rules.

Capture stage, behind `capture.policy`, which imports it for any text but the built-in one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import yaml

from otel_audit.capture.policy import MAX_PATH, Condition, Decision, Rule
from otel_audit.capture.request import RequestScope, current_actor
from otel_audit.capture.rows import Detail, RowRule
from otel_audit.errors import InvalidSetting
from otel_audit.event import AuditEvent

_MEMBERS = ("event", "path", "method", "status", "actor", "action", "detail")
_STATUS = re.compile(r"([1-5])xx|([1-5]\d\d)(?:-([1-5]\d\d))?", re.IGNORECASE)


def read(text: str, name: str) -> tuple[tuple[Rule, ...], tuple[RowRule, ...]]:
    """The rules of a policy's *text*, and what it says of rows, in order.

    Raises:
        InvalidSetting: the message has *name*, line and rule, what, what is accepted.
    """
    try:
        # compose, not load: nodes keep their lines, aliases are not expanded, and nothing is constructed
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise InvalidSetting(f"{name}: {_problem(error)}: expected YAML with a list `rules`") from error
    except RecursionError as error:
        raise InvalidSetting(f"{name}: nested too deeply: expected a list `rules`") from error
    rules: list[Rule] = []
    rows: list[RowRule] = []
    for document in documents:
        if isinstance(document, yaml.ScalarNode) and not document.value:
            continue  # an empty document, such as a file of comments
        members = _mapping(document, f"{name}, line {_line(document)}", ("rules", "rows"))
        if "rules" in members or not members:
            rules += [_rule(node, where) for node, where in _listed(document, members, "rules", name)]
        if "rows" in members:
            rows += [_row_rule(node, where) for node, where in _listed(document, members, "rows", name)]
    return tuple(rules), tuple(rows)


def _listed(
    document: yaml.Node, members: dict[str, yaml.Node], member: str, name: str
) -> Iterable[tuple[yaml.Node, str]]:
    """The nodes of one list of the document, each with its place for messages."""
    listed = members.get(member)
    if not isinstance(listed, yaml.SequenceNode):
        raise InvalidSetting(f"{name}, line {_line(listed or document)}: expected a list under `{member}`")
    for number, node in enumerate(listed.value, 1):
        yield node, f"{name}, line {_line(node)} ({member.removesuffix('s')} {number})"


def glob_pattern(glob: str, *, separator: str = "") -> re.Pattern[str]:
    """A glob as a regular expression: `*` any run, `?` any one character, both without the *separator*.

    With one, `**` crosses it, and `/**` at the end also matches nothing: `/admin/**` covers `/admin`.

    What is matched is a client's text, so no wildcard is tried twice where once is enough: what stands between
    two is taken where it first occurs (an atomic group), because whatever follows can only be nearer then. A
    `**` takes what follows up to the next one in one piece. At worst a match costs the square of the length.
    """
    one = f"[^{re.escape(separator)}]" if separator else "."
    # Literals, and before each but the first its wildcard.
    wilds, texts, rest = list[str](), [""], glob
    while rest:
        if separator and rest == f"{separator}**":
            texts[-1], rest = f"{texts[-1]}(?:{re.escape(separator)}.*)?", ""
        elif rest[0] == "*":
            crosses = not separator or rest.startswith("**")
            wilds.append("." if crosses else one)
            texts.append("")
            rest = rest.lstrip("*") if crosses else rest[1:]
        else:
            texts[-1], rest = texts[-1] + (one if rest[0] == "?" else re.escape(rest[0])), rest[1:]
    pattern, is_open = texts[0], False
    for at, (wild, text) in enumerate(zip(wilds, texts[1:], strict=True), 1):
        if wild == ".":
            pattern += (")" if is_open else "") + ("(?:" if "." not in wilds[at:] else "(?>")
            is_open = True
        pattern += (
            f"{wild}*{text}" if at == len(wilds) else f"{wild}*?{text}" if wild == "." else f"(?>{wild}*?{text})"
        )
    return re.compile(pattern + (")" if is_open else ""), re.DOTALL)


def _rule(node: yaml.Node, where: str) -> Rule:
    members = _mapping(node, where, _MEMBERS)
    conditions = [
        _CONDITIONS[name](_values(members[name], f"{where}, {name}"), f"{where}, {name}")
        for name in _CONDITIONS
        if name in members
    ]
    action = _choice(members.get("action"), ("record", "skip"), f"{where}, action")
    detail = _choice(members.get("detail"), ("full", "core"), f"{where}, detail")
    if action == "skip" and "detail" in members:
        raise InvalidSetting(f"{where}, detail: what is skipped has no detail: expected action `record` with it")
    written = {name: tuple(_values(members[name], f"{where}, {name}")) for name in _CONDITIONS if name in members}
    decision = Decision(action == "record", "core" if detail == "core" else "full")
    return Rule(tuple(conditions), decision, written, where)


def _row_rule(node: yaml.Node, where: str) -> RowRule:
    members = _mapping(node, where, ("model", "fields"))
    if "model" not in members:
        raise InvalidSetting(f"{where}: expected a member `model`, such as shop.Invoice")
    models = _values(members["model"], f"{where}, model")
    fields = members.get("fields")
    if fields is None:
        details: list[tuple[Callable[[str], bool], Detail]] = []
    elif isinstance(fields, yaml.MappingNode):
        details = [
            (_any_of([glob_pattern(str(key.value))]), _detail(value, f"{where}, fields, {key.value}"))
            for key, value in fields.value
        ]
    else:
        raise InvalidSetting(f"{where}, fields: expected members such as `total: plain`")
    return RowRule(_any_of(glob_pattern(model) for model in models), tuple(details))


def _detail(node: yaml.Node, where: str) -> Detail:
    detail = _choice(node, ("none", "hash", "plain"), where)
    return "plain" if detail == "plain" else "hash" if detail == "hash" else "none"


def _on_event(values: list[str], where: str) -> Condition:  # noqa: ARG001 - one shape for every condition
    matches = _any_of(glob_pattern(value) for value in values)
    return lambda event, request: matches(event.event)  # noqa: ARG005 - likewise


def _on_path(values: list[str], where: str) -> Condition:
    for value in values:
        if not value.startswith(("/", "*")):
            raise InvalidSetting(f"{where}: {value!r}: expected a glob that begins with `/`, such as /static/**")
    matches = _any_of(glob_pattern(value, separator="/") for value in values)
    return lambda event, request: (  # noqa: ARG005 - likewise
        request is not None and len(request.path) <= MAX_PATH and matches(request.path)
    )


def _on_method(values: list[str], where: str) -> Condition:
    for value in values:
        if re.fullmatch(r"[A-Z-]+", value) is None:
            raise InvalidSetting(f"{where}: {value!r}: expected a method in upper case, such as GET")
    methods = frozenset(values)
    return lambda event, request: request is not None and request.method in methods  # noqa: ARG005 - likewise


def _on_status(values: list[str], where: str) -> Condition:
    codes: set[int] = set()
    for value in values:
        match = _STATUS.fullmatch(value)
        if match is None:
            raise InvalidSetting(f"{where}: {value!r}: expected a status such as 404, 2xx or 400-499")
        low = int(match[1]) * 100 if match[1] else int(match[2])
        high = low + 99 if match[1] else int(match[3] or match[2])
        codes.update(range(low, high + 1))
    return lambda event, request: (  # noqa: ARG005 - likewise
        event.context is not None and event.context.get("http.response.status_code") in codes
    )


def _on_actor(values: list[str], where: str) -> Condition:  # noqa: ARG001 - likewise
    matches = _any_of(glob_pattern(value) for value in values)

    def condition(event: AuditEvent, request: RequestScope | None) -> bool:  # noqa: ARG001 - likewise
        actor = event.actor or current_actor()
        return actor is not None and matches(actor.id)

    return condition


_CONDITIONS: dict[str, Callable[[list[str], str], Condition]] = {
    "event": _on_event,
    "method": _on_method,
    "status": _on_status,
    "path": _on_path,
    "actor": _on_actor,
}
"""In the order in which they are asked: the cheap ones first."""


def _any_of(patterns: Iterable[re.Pattern[str]]) -> Callable[[str], bool]:
    tests = tuple(pattern.fullmatch for pattern in patterns)
    return lambda text: any(test(text) is not None for test in tests)


def _mapping(node: yaml.Node, where: str, accepted: Sequence[str]) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        raise InvalidSetting(f"{where}: expected members {', '.join(accepted)}")
    members: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
        if name not in accepted:
            raise InvalidSetting(f"{where}: unknown member {name!r}: expected one of {', '.join(accepted)}")
        if name in members:
            raise InvalidSetting(f"{where}: member {name!r} twice: expected it once")
        members[name] = value
    return members


def _values(node: yaml.Node, where: str) -> list[str]:
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    values = [item.value for item in nodes if isinstance(item, yaml.ScalarNode)]
    if len(values) != len(nodes) or not values or not all(values):
        raise InvalidSetting(f"{where}: expected a value, or a list of values")
    return values


def _choice(node: yaml.Node | None, accepted: tuple[str, ...], where: str) -> str:
    if node is None:
        return accepted[0]
    if not isinstance(node, yaml.ScalarNode) or node.value not in accepted:
        raise InvalidSetting(f"{where}: {getattr(node, 'value', None)!r}: expected one of {', '.join(accepted)}")
    return str(node.value)


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "not YAML"
    return f"line {mark.line + 1}: {problem}" if mark is not None else str(problem)
