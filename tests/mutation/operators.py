"""The ways in which a module is broken, one at a time.

A mutant is the text of the module with one node of its syntax tree replaced where it stands: everything else keeps
its line, so that a survivor can be looked up. Docstrings, annotations and decorators are left alone: nothing that
runs depends on them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_REMOVED = (ast.Raise, ast.Break, ast.Continue, ast.Delete, ast.AugAssign)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module's text with one change, and what the change is."""

    line: int
    change: str
    """`before -> after`, each on one line."""
    text: str


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    tree = ast.parse(source)
    found = [(node, after) for node in _running(tree) for after in _changes(node)]
    found.sort(key=lambda change: (change[0].lineno, change[0].col_offset))
    starts = _line_starts(source)
    text = source.encode()
    for node, after in found:
        begin, end = starts[node.lineno] + node.col_offset, _end(node, starts)
        before = text[begin:end].decode()
        changed = (text[:begin] + after.encode() + text[end:]).decode()
        yield Mutant(node.lineno, f"{_short(before)} -> {_short(after)}", changed)


def _running(node: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    """The statements and expressions that do something when the module runs."""
    skipped = {"annotation", "returns", "decorator_list", "type_comment"}
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Assign) and any(ast.unparse(t) in {"__all__", "__slots__"} for t in node.targets):
        return
    if isinstance(node, ast.stmt | ast.expr):
        yield node
    for name, value in ast.iter_fields(node):
        if name in skipped or isinstance(node, ast.JoinedStr):
            continue
        for child in cast("list[object]", value) if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _running(child)


def _changes(node: ast.stmt | ast.expr) -> Iterator[str]:
    """Texts that stand in for the node, each a mutant."""
    if isinstance(node, ast.expr):
        yield from _other_values(node)
    elif isinstance(node, ast.Return) and node.value is not None:
        if not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield "return None"
    elif isinstance(node, _REMOVED) or _is_effect(node):
        yield "pass"


def _is_effect(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)


def _other_values(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Compare(left, ops, comparators):
            for at, op in enumerate(ops):
                changed = [*ops[:at], _COMPARISONS[type(op)](), *ops[at + 1 :]]
                yield _text(ast.Compare(left, changed, comparators))
        case ast.BoolOp(op, values):
            yield _text(ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values))
            for at in range(len(values)):
                rest = [*values[:at], *values[at + 1 :]]
                yield _text(rest[0] if len(rest) == 1 else ast.BoolOp(op, rest))
        case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
            yield _text(ast.BinOp(left, _ARITHMETIC[type(op)](), right))
        case ast.UnaryOp(ast.Not(), operand):
            yield _text(operand)
        case ast.IfExp(test, body, orelse):
            yield _text(ast.IfExp(test, orelse, body))
        case ast.Constant(bool() as value):
            yield str(not value)
        case ast.Constant(int() as value):
            yield f"({value + 1})"
            yield f"({value - 1})"
        case ast.Call(ast.Name(name), arguments, keywords) if name in _FUNCTIONS:
            yield _text(ast.Call(ast.Name(_FUNCTIONS[name]), arguments, keywords))
        case _:
            return


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(ast.fix_missing_locations(node))})"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 110 else f"{line[:107]}..."


def _line_starts(source: str) -> list[int]:
    """Byte at which each line begins; lines count from 1."""
    starts = [0, 0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _end(node: ast.stmt | ast.expr, starts: list[int]) -> int:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return starts[node.end_lineno] + node.end_col_offset
