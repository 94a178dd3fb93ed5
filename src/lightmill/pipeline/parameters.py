"""Parameters of steps: declared once, typed, bounded, with one line of help.

The same declaration serves Python, the command line, parameter files, the
documentation and the JSON schema. A value keeps the name of whoever set it.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lightmill.errors import ConfigurationError, LightmillError, UnknownNameError, suggestion
from lightmill.pipeline.spelling import CONVERTERS, Text, split, unquoted

__all__ = [
    "BASE",
    "Declaration",
    "Text",
    "accepted",
    "build",
    "convert",
    "declared",
    "from_data",
    "json_schema",
    "override_declarations",
    "param",
    "schema_of",
]

_METADATA = "lightmill"
_SCALARS: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
_JSON = {"bool": "boolean", "int": "integer", "float": "number", "str": "string"}


@dataclass(frozen=True)
class Declaration:
    """One parameter: what it is called, what it may be, what it is for.

    Attributes
    ----------
    name : str
        As Python, files and the command line spell it.
    kinds : tuple of str
        What a value, or an item of a list, may be: ``int``, ``float``,
        ``bool``, ``str``, or ``any`` (taken as it is).
    default : object
        Value where nobody says otherwise.
    help : str
        One line.
    unit : str, optional
        Unit of the number.
    ge, gt, le, lt : float, optional
        Bounds: at least, more than, at most, less than.
    choices : tuple, optional
        The only values allowed.
    is_list, optional : bool
        Whether the value is a list; whether it may be None.
    check : callable, optional
        Gets the converted value; returns what was expected where it is wrong, else None.
    """

    name: str
    kinds: tuple[str, ...]
    default: Any = None
    help: str = ""
    unit: str | None = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[Any, ...] | None = None
    is_list: bool = False
    optional: bool = False
    check: Callable[[Any], str | None] | None = None

    @property
    def type(self) -> str:
        """The type as a reader expects it, for instance ``list[float]`` or ``str | None``."""
        name = " | ".join("path or model" if kind == "any" else kind for kind in self.kinds)
        if self.is_list:
            name = f"list[{name}]"
        return f"{name} | None" if self.optional else name

    @property
    def bounds(self) -> str:
        """What a value must satisfy, in words; empty where anything of the type will do."""
        if self.choices is not None:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        signs = ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
        unit = f" {self.unit}" if self.unit else ""
        return " and ".join(f"{sign} {bound:g}{unit}" for sign, bound in signs if bound is not None)

    @property
    def expected(self) -> str:
        """Type and bounds in one phrase."""
        return f"{self.type}, {self.bounds}" if self.bounds else self.type

    def new_default(self) -> Any:
        """Return the default; a list is a new one each time."""
        return list(self.default) if self.is_list and self.default is not None else self.default


def param(
    default: Any,
    help: str,
    *,
    unit: str | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: Iterable[Any] | None = None,
    check: Callable[[Any], str | None] | None = None,
) -> Any:
    """Declare a parameter in the nested dataclass ``Parameters`` of a step.

    Parameters
    ----------
    default : object
        Value where nobody says otherwise; of the annotated type.
    help : str
        One line for people.
    unit : str, optional
        Unit of the number.
    ge, gt, le, lt : float, optional
        Bounds: at least, more than, at most, less than. They hold for each item of a list.
    choices : iterable, optional
        The only values allowed; an annotation ``Literal[...]`` says the same.
    check : callable, optional
        Gets the converted value; returns what was expected where it is wrong, else None.

    Returns
    -------
    field : dataclasses.Field
        To be assigned to an annotated name.
    """
    metadata = {
        "help": help,
        "unit": unit,
        "ge": ge,
        "gt": gt,
        "le": le,
        "lt": lt,
        "choices": None if choices is None else tuple(choices),
        "check": check,
    }
    if isinstance(default, list | tuple):
        items = list(default)
        return dataclasses.field(
            default_factory=lambda: list(items), metadata={_METADATA: metadata}
        )
    return dataclasses.field(default=default, metadata={_METADATA: metadata})


def declared(step_class: Any) -> tuple[Declaration, ...]:
    """Return the declarations of a step class's own parameters, in the order written.

    Parameters
    ----------
    step_class : type
        A class with a nested dataclass ``Parameters``, or such a dataclass itself.

    Returns
    -------
    declarations : tuple of Declaration
        Empty where the class has no parameters of its own.
    """
    return _declared(step_class)


@functools.cache
def _declared(step_class: Any) -> tuple[Declaration, ...]:
    holder = getattr(step_class, "Parameters", step_class)
    if not dataclasses.is_dataclass(holder):
        return ()
    hints = typing.get_type_hints(holder)
    return tuple(
        _declaration(field, hints[field.name], f"{_name(step_class)}.{field.name}")
        for field in dataclasses.fields(holder)
    )


def from_data(name: str, facts: Mapping[str, Any], *, place: str = "") -> Declaration:
    """Return the declaration that a pipeline file spells out.

    Parameters
    ----------
    name : str
        Name of the parameter.
    facts : mapping
        ``type`` (``bool``, ``list[float]``, ``str | None`` …), ``default``, ``help``, and any
        of ``unit``, ``ge``, ``gt``, ``le``, ``lt``, ``choices``.
    place : str, optional
        Where it stands, for errors.

    Returns
    -------
    declaration : Declaration
        With its default checked.
    """
    facts = dict(facts)
    spelled = str(facts.pop("type", "str")).replace(" ", "")
    known = {"default", "help", "unit", "ge", "gt", "le", "lt", "choices"}
    for key in facts:
        if key not in known:
            raise UnknownNameError(
                "property of a parameter", key, known | {"type"}, place=place or name
            )
    kinds = [kind for kind in spelled.split("|") if kind != "None"]
    optional = "None" in spelled.split("|")
    is_list = len(kinds) == 1 and kinds[0].startswith("list[")
    if is_list:
        kinds = [kinds[0][5:-1]]
    for kind in kinds:
        if kind not in _SCALARS:
            raise UnknownNameError("type of parameter", kind, _SCALARS, place=place or name)
    if facts.get("choices") is not None:
        facts["choices"] = tuple(facts["choices"])
    default = facts.pop("default", [] if is_list else None)
    optional = optional or (default is None and not is_list)
    made = Declaration(
        name, tuple(kinds), default=default, is_list=is_list, optional=optional, **facts
    )
    return dataclasses.replace(made, default=convert(made, default, place or name))


def override_declarations(references: Iterable[str]) -> tuple[Declaration, ...]:
    """Return the declarations of ``override_<type>`` for the reference types a step uses."""
    return tuple(
        Declaration(
            f"override_{reftype}",
            ("any",),
            optional=True,
            help=f"file or model to use as the {reftype} reference; N/A: do without",
        )
        for reftype in references
    )


def accepted(step_class: Any) -> tuple[Declaration, ...]:
    """Return every parameter a step takes: its own, those of all steps, its overrides."""
    own = declared(step_class)
    taken = {declaration.name for declaration in own}
    overrides = override_declarations(getattr(step_class, "references", ()))
    return own + tuple(d for d in (*BASE, *overrides) if d.name not in taken)


def build(step_class: Any, values: Mapping[str, Any]) -> Any:
    """Return the step's ``Parameters`` with these values, converted and checked.

    Parameters
    ----------
    step_class : type
        A class with a nested dataclass ``Parameters``.
    values : mapping
        Name → value; what is absent takes its default.

    Returns
    -------
    parameters : object
        Instance of ``step_class.Parameters``.

    Raises
    ------
    UnknownNameError
        For a name the class does not declare.
    ConfigurationError
        For a value of the wrong type, out of bounds, or at odds with another.
    """
    own = {declaration.name: declaration for declaration in declared(step_class)}
    step = _name(step_class)
    converted = {}
    for name, value in values.items():
        if name not in own:
            raise UnknownNameError("parameter", name, own, place=step)
        converted[name] = convert(own[name], value, f"{step}.{name}")
    try:
        return step_class.Parameters(**converted)
    except LightmillError:
        raise
    except ValueError as error:  # a rule across parameters, in __post_init__
        raise ConfigurationError(str(error), place=step, found=converted) from error


def convert(declaration: Declaration, value: Any, place: str) -> Any:
    """Return `value` as the declaration wants it, or raise.

    Parameters
    ----------
    declaration : Declaration
        What is wanted.
    value : object
        Typed, or text: booleans as true/on/1/yes and false/off/0/no in any case, lists
        separated by commas, ``None``.
    place : str
        ``step.parameter``, for the error.

    Returns
    -------
    value : object
        Of the declared type, within bounds.

    Raises
    ------
    ConfigurationError
        With what was found and expected.
    """
    if declaration.optional and _means_none(declaration, value):
        return None
    if declaration.is_list:
        converted: Any = [_item(declaration, item, place) for item in _items(declaration, value)]
    else:
        converted = _item(declaration, value, place)
    wish = declaration.check(converted) if declaration.check else None
    if wish is not None:
        raise ConfigurationError(
            "the value is not allowed", place=place, found=value, expected=wish
        )
    return converted


def json_schema(step_class: Any) -> dict[str, Any]:
    """Return a JSON schema (draft 2020-12) of every parameter a step takes."""
    schema = schema_of(_name(step_class), accepted(step_class))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_of(title: str, declarations: Iterable[Declaration]) -> dict[str, Any]:
    """Return the JSON schema of a mapping of parameters to values."""
    return {
        "title": title,
        "type": "object",
        "additionalProperties": False,
        "properties": {declaration.name: _property(declaration) for declaration in declarations},
    }


def _name(step_class: Any) -> str:
    return getattr(step_class, "name", "") or getattr(step_class, "__name__", str(step_class))


def _declaration(field: dataclasses.Field[Any], hint: Any, place: str) -> Declaration:
    facts = dict(field.metadata.get(_METADATA, {}))
    kinds, is_list, optional, literals = _read_hint(hint, place)
    if literals and facts.get("choices") is None:
        facts["choices"] = literals
    if field.default is not dataclasses.MISSING:
        default = field.default
    elif field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    else:
        raise ConfigurationError("the parameter has no default", place=place)
    return Declaration(
        field.name, kinds, default=default, is_list=is_list, optional=optional, **facts
    )


def _read_hint(hint: Any, place: str) -> tuple[tuple[str, ...], bool, bool, tuple[Any, ...]]:
    """Return kinds, is a list, may be None, literal choices."""
    members = [hint]
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        members = list(typing.get_args(hint))
    optional = type(None) in members
    members = [member for member in members if member is not type(None)]
    if len(members) == 1 and typing.get_origin(members[0]) in {list, tuple}:
        item = next(argument for argument in typing.get_args(members[0]) if argument is not ...)
        kinds, _, _, literals = _read_hint(item, place)
        return kinds, True, optional, literals
    kinds_found: list[str] = []
    literals_found: list[Any] = []
    for member in members:
        if typing.get_origin(member) is Literal:
            literals_found += typing.get_args(member)
            kinds_found += [type(choice).__name__ for choice in typing.get_args(member)]
        elif member in _SCALARS.values():
            kinds_found.append(member.__name__)
        elif member is Any:
            kinds_found.append("any")
        else:
            raise ConfigurationError(
                "parameters cannot have this type",
                place=place,
                found=member,
                expected="int, float, bool, str, Literal, a list of them, or one of them | None",
            )
    return tuple(dict.fromkeys(kinds_found)), False, optional, tuple(literals_found)


def _means_none(declaration: Declaration, value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, str) or (declaration.choices and value in declaration.choices):
        return False
    if value == "None":
        return True
    takes_text = "str" in declaration.kinds or "any" in declaration.kinds
    return isinstance(value, Text) and (
        value.lower() in {"none", "null"} or (not value and not takes_text)
    )


def _items(declaration: Declaration, value: Any) -> list[Any]:
    if isinstance(value, Text):
        return split(value)
    if isinstance(value, str):
        numbers = not {"str", "any"} & set(declaration.kinds)
        return split(value) if numbers else [value]
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return list(value)
    return [value]


def _item(declaration: Declaration, value: Any, place: str) -> Any:
    plain = unquoted(value)
    for kind in declaration.kinds:
        converted = plain if kind == "any" else CONVERTERS[kind](plain)
        if converted is None or (declaration.choices and converted not in declaration.choices):
            continue
        break
    else:
        raise ConfigurationError(
            "the value is not of the right type"
            if declaration.choices is None
            else "the value is not one of the choices",
            place=place,
            found=value if not isinstance(value, Text) else str(value),
            expected=declaration.expected,
            remedy=_remedy(declaration, plain),
        )
    _check_bounds(declaration, converted, place)
    return converted


def _remedy(declaration: Declaration, value: Any) -> str | None:
    if declaration.choices and isinstance(value, str):
        return suggestion(value, [str(choice) for choice in declaration.choices])
    return f"the default is {declaration.default!r}"


def _check_bounds(declaration: Declaration, value: Any, place: str) -> None:
    within = (
        (declaration.ge is None or value >= declaration.ge)
        and (declaration.gt is None or value > declaration.gt)
        and (declaration.le is None or value <= declaration.le)
        and (declaration.lt is None or value < declaration.lt)
    )
    if not within:
        raise ConfigurationError(
            "the value is out of bounds",
            place=place,
            found=value,
            expected=declaration.expected,
            remedy=f"the default is {declaration.default!r}",
        )


def _property(declaration: Declaration) -> dict[str, Any]:
    bounds = {
        "minimum": declaration.ge,
        "exclusiveMinimum": declaration.gt,
        "maximum": declaration.le,
        "exclusiveMaximum": declaration.lt,
        "enum": None if declaration.choices is None else list(declaration.choices),
    }
    item: dict[str, Any] = {key: bound for key, bound in bounds.items() if bound is not None}
    kinds = [_JSON[kind] for kind in declaration.kinds if kind in _JSON]
    if kinds and "any" not in declaration.kinds:
        item["type"] = kinds[0] if len(kinds) == 1 else kinds
    shape = {"type": "array", "items": item} if declaration.is_list else item
    if declaration.optional:
        shape = {"anyOf": [shape, {"type": "null"}]} if shape else {}
    facts = {"description": declaration.help, "default": declaration.default}
    return {**shape, **facts, **({"unit": declaration.unit} if declaration.unit else {})}


def _base(
    name: str,
    kinds: tuple[str, ...],
    help: str,
    default: Any = None,
    **facts: Any,
) -> Declaration:
    optional = default is None
    return Declaration(name, kinds, default=default, help=help, optional=optional, **facts)


BASE: tuple[Declaration, ...] = (
    _base("pre_hooks", ("any",), "what to call with the model before the step", [], is_list=True),
    _base("post_hooks", ("any",), "what to call with the result after it", [], is_list=True),
    _base("every_step", ("any",), "what to call after each step", [], is_list=True),
    _base("on_error", ("any",), "what to call when a step fails", [], is_list=True),
    _base("on_save", ("any",), "what to call when a product is saved", [], is_list=True),
    _base("hook_timeout", ("float",), "longest time a command may take", gt=0, unit="s"),
    _base("output_file", ("str",), "name of the product; a folder in it is honoured"),
    _base("output_dir", ("str",), "folder of the products"),
    _base("output_ext", ("str",), "extension of the products: .fits or .asdf"),
    _base("output_use_model", ("bool",), "name the product as the model says", False),
    _base("output_use_index", ("bool",), "number the products when there are several", True),
    _base("save_results", ("bool",), "save what this step makes", False),
    _base("skip", ("bool",), "leave this step out", False),
    _base("suffix", ("str",), "product type at the end of the name; empty: none"),
    _base("search_output_file", ("bool",), "take over the pipeline's output_file", True),
    _base("input_dir", ("str",), "folder of inputs named without one"),
)
