"""Metadata by attribute: ``ramp.meta.exposure.ngroups``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightmill.errors import ValidationError, suggestion
from lightmill.models.checker import plain
from lightmill.models.foreign import Foreign
from lightmill.models.overlay import model_schema
from lightmill.models.schema import ModelSchema

__all__ = ["MetaStore", "Namespace", "flatten"]


class MetaStore:
    """The metadata of one model: flat, path -> value.

    Parameters
    ----------
    schema : ModelSchema
        What the values must be.
    values : dict
        Checked already.
    foreign : Foreign
        What came with them and the schema does not know.
    """

    __slots__ = ("_tree_read", "foreign", "place", "schema", "values")

    def __init__(
        self,
        schema: ModelSchema,
        values: dict[str, Any] | None = None,
        foreign: Foreign | None = None,
        place: str = "",
        *,
        tree_read: bool = False,
    ) -> None:
        self.schema = schema
        self.values = {} if values is None else values
        self.foreign = Foreign() if foreign is None else foreign
        self.place = place
        self._tree_read = tree_read or self.foreign.asdf is None

    def copy(self, schema: ModelSchema | None = None) -> MetaStore:
        """Return a store that can be changed without changing this one."""
        return MetaStore(
            schema or self.schema, dict(self.values), self.foreign, self.place,
            tree_read=self._tree_read,
        )  # fmt: skip

    def lookup(self, path: str) -> Any:
        """Return the value at a path, or None; the ASDF tree is read only if it may have it."""
        value = self.values.get(path)
        asdf = self.foreign.asdf
        if value is None and not self._tree_read and asdf is not None:
            name = path.rpartition(".")[2]
            if path not in self.values and asdf.may_hold(name):
                self.read_tree()
                return self.values.get(path)
        return value

    def read_tree(self) -> None:
        """Take over what the ASDF tree says and the headers do not."""
        if self._tree_read or self.foreign.asdf is None:
            return
        self._tree_read = True
        for path, value in flatten(self.foreign.asdf.meta()):
            if path in self.values or value is None:
                continue
            field = self.schema.fields.get(path)
            self.values[path] = (
                field.checked(value, f"{self.place}[ASDF]/meta.{path}")
                if (field is not None)
                else value
            )

    def assign(self, path: str, value: Any) -> None:
        """Set a value after checking it; None unsets. A mapping sets a branch."""
        path = self.schema.resolve(path)
        if isinstance(value, Namespace):
            value = value.to_dict()
        field = self.schema.field(path)
        if field is None and isinstance(value, Mapping):
            for key, one in value.items():
                self.assign(f"{path}.{key}" if path else str(key), one)
            return
        if value is None:
            if field is None and path not in self.values and not self._known(path):
                raise self._unknown(path)
            # Kept as None, so that the ASDF tree does not bring it back.
            for one in [one for one in self.values if one.startswith(f"{path}.")]:
                self.values[one] = None
            self.values[path] = None
            return
        if field is not None:
            self.values[path] = field.checked(value)
            if path == "telescope":
                self.schema = model_schema(self.schema.name, self.values[path])
            return
        self.read_tree()
        if path in self.values:
            self.values[path] = plain(value)
            return
        raise self._unknown(path)

    def _known(self, path: str) -> bool:
        self.read_tree()
        return path in self.values or self.schema.is_branch(path) or self.has_branch(path)

    def has_branch(self, path: str) -> bool:
        """Whether any value lies below a path."""
        start = f"{path}."
        return any(one.startswith(start) for one in self.values)

    def _unknown(self, path: str) -> ValidationError:
        return ValidationError(
            "no schema knows this name",
            place=f"meta.{path}",
            expected="a name of the schema",
            remedy=self.suggest(path) or "see `lightmill info` for the names there are",
        )

    def suggest(self, path: str) -> str | None:
        """Return a known path like a mistyped one, as a question."""
        return suggestion(path, {*self.schema.fields, *self.values, *self.schema.branches})

    def flat(self) -> dict[str, Any]:
        """Return every value that is set, the ASDF tree's too."""
        self.read_tree()
        return {path: value for path, value in self.values.items() if value is not None}


class Namespace:
    """A branch of the metadata.

    Reading a name the schema knows gives its value, or None when unset; an
    unknown name raises AttributeError. Setting checks against the schema and
    raises ValidationError; setting None unsets.
    """

    __slots__ = ("_path", "_store")

    def __init__(self, store: MetaStore, path: str = "") -> None:
        object.__setattr__(self, "_store", store)
        object.__setattr__(self, "_path", path)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found, value = self._find(f"{self._path}.{name}" if self._path else name)
        if not found:
            path = f"{self._path}.{name}" if self._path else name
            hint = self._store.suggest(path)
            raise AttributeError(f"meta has no {path!r}" + (f"; {hint}" if hint else ""))
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        self._store.assign(f"{self._path}.{name}" if self._path else name, value)

    def __delattr__(self, name: str) -> None:
        self._store.assign(f"{self._path}.{name}" if self._path else name, None)

    def __getitem__(self, path: str) -> Any:
        found, value = self._find(self._absolute(path))
        if not found:
            raise KeyError(path)
        return value

    def __setitem__(self, path: str, value: Any) -> None:
        self._store.assign(self._absolute(path), value)

    def __contains__(self, path: str) -> bool:
        found, value = self._find(self._absolute(path))
        if isinstance(value, Namespace):
            return bool(value.flat())
        return found and value is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __dir__(self) -> list[str]:
        start = f"{self._path}." if self._path else ""
        paths = [*self._store.schema.fields, *self._store.values]
        names = {path[len(start) :].split(".")[0] for path in paths if path.startswith(start)}
        return sorted({*super().__dir__(), *names})

    def __repr__(self) -> str:
        lines = [f"  {path} = {value!r}" for path, value in self.flat().items()]
        return "\n".join([f"meta{'.' if self._path else ''}{self._path}:", *lines])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Namespace) and self.flat() == other.flat()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def _absolute(self, path: str) -> str:
        return f"{self._path}.{path}" if self._path else path

    def _find(self, path: str) -> tuple[bool, Any]:
        store = self._store
        path = store.schema.resolve(path)
        is_field = path in store.schema.fields
        if not is_field and path not in store.values and store.schema.is_branch(path):
            return True, Namespace(store, path)  # known without asking the tree
        value = store.lookup(path)
        if value is not None:
            return True, value
        if is_field:
            return True, None
        if store.has_branch(path) or store.schema.is_branch(path):
            return True, Namespace(store, path)
        if path in store.values or store.schema.field(path) is not None:
            return True, None
        return False, None

    def get(self, path: str, default: Any = None) -> Any:
        """Return a value, or `default` when it is unset or unknown."""
        value = self._find(self._absolute(path))[1]
        return default if value is None else value

    def flat(self) -> dict[str, Any]:
        """Return what is set, path -> value, paths relative to this branch."""
        start = f"{self._path}." if self._path else ""
        return {
            path[len(start) :]: value
            for path, value in self._store.flat().items()
            if path.startswith(start)
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what is set as nested dictionaries."""
        return nested(self.flat())

    def update(self, changes: Mapping[str, Any]) -> None:
        """Set several values, ``{"exposure.ngroups": 5}`` or nested."""
        for path, value in changes.items():
            self._store.assign(self._absolute(path), value)


def flatten(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested dictionaries with their paths."""
    for key, value in tree.items():
        full = f"{path}.{key}" if path else str(key)
        if isinstance(value, dict) and value:
            yield from flatten(value, full)
        else:
            yield full, value


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested dictionaries from path -> value."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *branches, name = path.split(".")
        node = tree
        for branch in branches:
            child = node.get(branch)
            if not isinstance(child, dict):
                child = node[branch] = {}
            node = child
        node[name] = value
    return tree
