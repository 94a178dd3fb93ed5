"""Conditions on reference files, as constraint files write them: evaluated, never executed.

They see the values of headers as texts, arrays by the name of their extension
with ``_ARRAY`` behind it, and a few functions.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lightmill.errors import ConfigurationError

__all__ = ["ArrayFacts", "Strength", "evaluate"]

LONGEST = 4000
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, values: value in values,
    ast.NotIn: lambda value, values: value not in values,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_METHODS = ("startswith", "endswith", "lower", "upper", "strip")
_KINDS = {
    "u": "INT",
    "i": "INT",
    "f": "FLOAT",
    "c": "COMPLEX",
    "U": "STRING",
    "S": "STRING",
    "b": "BOOL",
}
_FULL = {"FULL", "GENERIC", "N/A", "ANY", "*"}


@dataclass(frozen=True)
class ArrayFacts:
    """What is known of an extension without its values.

    Parameters
    ----------
    SHAPE : tuple of int
        Rows of a table, or lengths of the axes in array order.
    KIND : str
        IMAGE or TABLE.
    DATA_TYPE : str
        Kind of its values, such as ``float32``.
    COLUMNS : dict
        Column name → kind of its values.
    """

    SHAPE: tuple[int, ...] = ()
    KIND: str = "IMAGE"
    DATA_TYPE: str = ""
    COLUMNS: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Strength:
    """How much a presence asks for, where a condition says more than yes or no."""

    word: str
    asked: bool


def evaluate(text: str, header: Mapping[str, Any], arrays: Mapping[str, ArrayFacts]) -> Any:
    """Return the value of a condition.

    Parameters
    ----------
    text : str
        Python's comparisons, ``and``, ``or``, ``not``, ``in``, literals, arithmetic, and
        the functions of this module; anything else is refused.
    header : mapping
        Name, with ``_`` for ``.``, → value; what is not there is ``UNDEFINED``.
    arrays : mapping
        Name of an extension → what is known of it.

    Raises
    ------
    ConfigurationError
        If the condition cannot be read, or fails on these values.
    """
    if len(text) > LONGEST:
        raise ConfigurationError("a condition is too long", found=f"{len(text)} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _Evaluator(header, arrays).visit(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigurationError("a condition cannot be read", found=f"{text}: {error}") from None
    except (TypeError, ArithmeticError, LookupError, AttributeError) as error:
        raise ConfigurationError(
            "a condition fails on these values", found=f"{text}: {error}"
        ) from None


class _Evaluator:
    def __init__(self, header: Mapping[str, Any], arrays: Mapping[str, ArrayFacts]) -> None:
        self.header = header
        self.arrays = arrays

    def visit(self, node: ast.expr) -> Any:
        method = getattr(self, f"on_{type(node).__name__.lower()}", None)
        if method is None:
            raise ValueError(f"{type(node).__name__} is not part of conditions")
        return method(node)

    def on_constant(self, node: ast.Constant) -> Any:
        return node.value

    def on_tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self.visit(one) for one in node.elts)

    def on_list(self, node: ast.List) -> list[Any]:
        return [self.visit(one) for one in node.elts]

    def on_boolop(self, node: ast.BoolOp) -> Any:
        value: Any = None
        for one in node.values:
            value = self.visit(one)
            if bool(value) == isinstance(node.op, ast.Or):
                return value
        return value

    def on_unaryop(self, node: ast.UnaryOp) -> Any:
        value = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return not value
        if isinstance(node.op, ast.USub):
            return -value
        raise ValueError("only `not` and a minus stand before a value")

    def on_binop(self, node: ast.BinOp) -> Any:
        if type(node.op) not in _ARITHMETIC:
            raise ValueError("this arithmetic is not part of conditions")
        left, right = (_numeric(self.visit(one)) for one in (node.left, node.right))
        return _ARITHMETIC[type(node.op)](left, right)

    def on_compare(self, node: ast.Compare) -> bool:
        left = self.visit(node.left)
        for how, other in zip(node.ops, node.comparators, strict=True):
            right = self.visit(other)
            if not _COMPARE[type(how)](*_alike(left, right)):
                return False
            left = right
        return True

    def on_name(self, node: ast.Name) -> Any:
        if node.id in {"True", "False", "None"}:
            return {"True": True, "False": False, "None": None}[node.id]
        if node.id.endswith("_ARRAY"):
            return self.arrays.get(node.id.removesuffix("_ARRAY"), "UNDEFINED")
        return self.header.get(node.id.upper(), "UNDEFINED")

    def on_attribute(self, node: ast.Attribute) -> Any:
        value = self.visit(node.value)
        if isinstance(value, ArrayFacts) and node.attr in {"SHAPE", "KIND", "DATA_TYPE", "COLUMNS"}:
            return getattr(value, node.attr)
        raise ValueError(f"nothing is known of {node.attr} here")

    def on_subscript(self, node: ast.Subscript) -> Any:
        if isinstance(node.slice, ast.Slice):
            ends = [node.slice.lower, node.slice.upper, node.slice.step]
            place: Any = slice(*(None if one is None else self.visit(one) for one in ends))
        else:
            place = self.visit(node.slice)
        if not isinstance(place, (int, slice)):
            raise TypeError("a place is a number")
        return self.visit(node.value)[place]

    def on_call(self, node: ast.Call) -> Any:
        if node.keywords:
            raise ValueError("functions of conditions take no keywords")
        values = [self.visit(one) for one in node.args]
        if isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS:
            text = str(self.visit(node.func.value))
            return getattr(text, node.func.attr)(*map(str, values))
        if isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
            return _FUNCTIONS[node.func.id](self, *values)
        raise ValueError("this function is not part of conditions")

    def is_full_frame(self) -> bool:
        shown = [self.header.get(name) for name in ("SUBARRAY", "META_SUBARRAY_NAME")]
        return any(str(one).upper() in _FULL for one in shown if one is not None)


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Return two values to compare: a text beside a number counts as one if it is one."""
    for one, other, turned in ((left, right, False), (right, left, True)):
        if isinstance(one, str) and isinstance(other, (int, float)) and not isinstance(other, bool):
            try:
                number = float(one)
            except ValueError:
                continue
            return (other, number) if turned else (number, other)
    return left, right


def _numeric(value: Any) -> int | float:
    """Return a number, which headers may give as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    if not isinstance(value, (int, float)):
        raise TypeError("arithmetic is for numbers")
    return value


def _array(value: Any) -> ArrayFacts:
    if not isinstance(value, ArrayFacts):
        raise TypeError("there is no such extension")
    return value


def _has_type(value: Any, kinds: Any) -> bool:
    kind = _kind(_array(value).DATA_TYPE)
    return kind in ([kinds] if isinstance(kinds, str) else kinds)


def _column_type(value: Any, column: str, kinds: Any) -> bool:
    held = {name.upper(): kind for name, kind in _array(value).COLUMNS.items()}
    if column.upper() not in held:
        raise LookupError(f"there is no column {column}")
    return _kind(held[column.upper()]) in ([kinds] if isinstance(kinds, str) else kinds)


def _kind(data_type: str) -> str:
    import numpy as np

    try:
        return _KINDS.get(np.dtype(data_type).kind, "?")
    except TypeError:
        return "?"


def _is_imaging(exp_type: Any) -> bool:
    return str(exp_type).upper().endswith(("_IMAGE", "_TACQ", "_TACONFIRM", "_CORON", "_FOCUS"))


def _strength(word: str) -> Callable[..., Strength]:
    return lambda _, value=True: Strength(word, bool(value))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ndim": lambda _, value, count: len(_array(value).SHAPE) == int(count),
    "array_exists": lambda _, value: isinstance(value, ArrayFacts),
    "is_table": lambda _, value: _array(value).KIND == "TABLE",
    "is_image": lambda _, value: _array(value).KIND == "IMAGE",
    "has_type": lambda _, value, kinds: _has_type(value, kinds),
    "has_columns": lambda _, value, names: (
        {str(name).upper() for name in names} <= {name.upper() for name in _array(value).COLUMNS}
    ),
    "has_column_type": lambda _, value, column, kinds: _column_type(value, column, kinds),
    "is_imaging_mode": lambda _, exp_type: _is_imaging(exp_type),
    "is_full_frame": lambda self, *_: self.is_full_frame(),
    "is_subarray": lambda self, *_: not self.is_full_frame(),
    "full_frame": lambda self, value=True: Strength(
        "required", bool(value) and self.is_full_frame()
    ),
    "subarray": lambda self, value=True: Strength(
        "required", bool(value) and not self.is_full_frame()
    ),
    "all_subarray": lambda self, value=True: Strength(
        "required", bool(value) and not self.is_full_frame()
    ),
    "required": _strength("required"),
    "optional": _strength("optional"),
    "warning": _strength("warning"),
    "warn_only": _strength("warning"),
    "len": lambda _, value: len(value),
    "lower": lambda _, value: str(value).lower(),
    "upper": lambda _, value: str(value).upper(),
    "all": lambda _, values: all(values),
    "any": lambda _, values: any(values),
}
