"""One product: arrays, tables and metadata that a schema describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from lightmill.errors import OutputError, ShapeError, ValidationError, suggestion
from lightmill.models.cards import Header
from lightmill.models.foreign import Foreign
from lightmill.models.lazy import ArraySource, LazyArray, cast
from lightmill.models.namespace import MetaStore, Namespace
from lightmill.models.overlay import model_schema, overlay_of
from lightmill.models.regions import Region
from lightmill.models.schema import ArrayField, ModelSchema
from lightmill.models.tables import LazyTable

__all__ = ["Model"]

FRAME = ("y", "x")


class Model:
    """A product of any kind; the subclasses say which arrays they hold.

    Parameters
    ----------
    meta : mapping or Namespace, optional
        Metadata: nested, or path -> value. From another model's `meta` what
        its file held beyond the schema comes along and is written again.
    **arrays
        Arrays and tables by name. A dtype the schema does not name is
        converted if that loses nothing.

    Raises
    ------
    ValidationError
        If a value or a dtype breaks the schema.
    ShapeError
        If an array has the wrong number of axes, or two arrays disagree.
    """

    schema: ClassVar[str] = "core-1.0.0"
    model_type: ClassVar[str] = "Model"

    def __init__(self, *, meta: Mapping[str, Any] | Namespace | None = None, **arrays: Any) -> None:
        self._fill(_store_for(type(self).schema, meta), {})
        for name, value in arrays.items():
            self._put(name, value)
        self._check_shapes()

    def _fill(
        self,
        store: MetaStore,
        arrays: dict[str, Any],
        *,
        region: Region | None = None,
        path: Path | None = None,
        history: list[str] | None = None,
        places: dict[str, tuple[str, int]] | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "_store", store)
        put(self, "_arrays", arrays)
        put(self, "_region", region)
        put(self, "_path", path)
        put(self, "_history", history)
        put(self, "_places", places or {})

    @classmethod
    def _made(cls, store: MetaStore, arrays: dict[str, Any], **more: Any) -> Self:
        model = cls.__new__(cls)
        model._fill(store, arrays, **more)
        return model

    # -- what there is ---------------------------------------------------------------------

    @property
    def meta(self) -> Namespace:
        """The metadata."""
        return Namespace(self._store)

    @meta.setter
    def meta(self, value: Mapping[str, Any] | Namespace) -> None:
        object.__setattr__(self, "_store", _store_for(type(self).schema, value))

    @property
    def foreign(self) -> Foreign:
        """What the file held and the schema does not know."""
        return self._store.foreign

    @property
    def region(self) -> Region | None:
        """The part of the frame this model holds; None is all of it."""
        return self._region

    @property
    def path(self) -> Path | None:
        """The file the model came from."""
        return self._path

    @property
    def history(self) -> list[str]:
        """What was noted about the product, oldest first; append to it to add a note."""
        if self._history is None:
            object.__setattr__(self, "_history", self.foreign.history())
        return self._history

    @property
    def record(self) -> dict[str, Any] | None:
        """How the product was made, as `save` was told, or None."""
        asdf = self.foreign.asdf
        if asdf is None or not asdf.may_hold("lightmill"):
            return None
        found = asdf.tree().get("lightmill")
        return found if isinstance(found, dict) else None

    @property
    def arrays(self) -> dict[str, Any]:
        """The arrays and tables as they are held, read or not: name -> array."""
        return dict(self._arrays)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of the first array of the schema, or None."""
        for name in [*self._schema.arrays, *self._arrays]:
            if name in self._arrays:
                return tuple(self._arrays[name].shape)
        return None

    @property
    def _schema(self) -> ModelSchema:
        return self._store.schema

    def array(self, name: str) -> Any:
        """Return an array as it is held, a LazyArray if it was not read yet.

        Raises
        ------
        AttributeError
            If the model has no such array.
        """
        if name in self._arrays:
            return self._arrays[name]
        return self._absent(name)

    def has(self, name: str) -> bool:
        """Whether the model holds an array or table."""
        return name in self._arrays

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        held = self._arrays.get(name)
        if held is None:
            return self._absent(name)
        if isinstance(held, np.ndarray):
            return held
        loaded = _loaded(held)
        self._arrays[name] = loaded
        return loaded

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
            return
        before = self._arrays.get(name)
        self._put(name, value)
        try:
            self._check_shapes()
        except ShapeError:
            if before is None:
                self._arrays.pop(name, None)
            else:
                self._arrays[name] = before
            raise

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._schema.arrays, *self._arrays})

    def __repr__(self) -> str:
        held = ", ".join(f"{name} {_shape_text(one)}" for name, one in self._arrays.items())
        where = f" from {self._path.name}" if self._path else ""
        return f"<{self.model_type}{where}: {held or 'no arrays'}>"

    def _absent(self, name: str) -> None:
        field = self._schema.arrays.get(name)
        if field is None:
            known = [*self._schema.arrays, *self._arrays, "meta", "cut", "evolve", "save"]
            hint = suggestion(name, known)
            raise AttributeError(
                f"{self.model_type} has no {name!r}" + (f"; {hint}" if hint else "")
            )
        if field.required:
            raise ValidationError(
                f"this {self.model_type} holds no {name}",
                place=self._path or self.model_type,
                expected=field.title,
                remedy=f"give {name}= when the model is made",
            )

    # -- new models from this one ----------------------------------------------------------

    def cut(self, region: Region) -> Self:
        """Return the part of the model in a region of its frame.

        Arrays in memory are shared as views; arrays in the file stay there and
        later read the rows of the region alone.

        Raises
        ------
        ShapeError
            If the region does not lie in the frame.
        """
        region = Region(*region)
        frame = self._frame()
        if frame is not None:
            region.check(*frame, place=self._path or self.model_type)
        arrays = {}
        for name, held in self._arrays.items():
            if self._layout(name, held)[-2:] != FRAME:
                arrays[name] = held
            elif hasattr(held, "cut"):
                arrays[name] = held.cut(region)
            else:
                arrays[name] = np.asarray(held)[(..., *region.slices)]
        whole = region if self._region is None else region.within(self._region)
        return self._again(arrays, region=whole)

    def evolve(self, **changes: Any) -> Self:
        """Return a new model with some arrays, tables or metadata replaced.

        Parameters
        ----------
        **changes
            Arrays and tables by name (None drops one); ``meta`` a mapping of
            path -> value that is merged. Everything else is shared.
        """
        meta = changes.pop("meta", None)
        model = self._again(dict(self._arrays), region=self._region)
        if meta is not None:
            if isinstance(meta, Namespace):
                object.__setattr__(model, "_store", _store_for(type(self).schema, meta))
            else:
                model.meta.update(meta)
        for name, value in changes.items():
            model._put(name, value)
        model._check_shapes()
        return model

    def copy(self) -> Self:
        """Return a model that shares nothing with this one."""
        arrays = {
            name: held.copy() if isinstance(held, np.ndarray) else held
            for name, held in self._arrays.items()
        }
        return self._again(arrays, region=self._region)

    def _again(self, arrays: dict[str, Any], *, region: Region | None) -> Self:
        history = None if self._history is None else list(self._history)
        model = self._made(
            self._store.copy(), arrays, region=region, path=self._path, history=history,
            places=self._places,
        )  # fmt: skip
        if region is not None:  # a band stays a band of its frame
            object.__setattr__(model, "_whole", self.__dict__.get("_whole"))
        return model

    # -- writing ---------------------------------------------------------------------------

    def save(self, path: str | Path, *, record: Mapping[str, Any] | None = None) -> Path:
        """Write the model; the file appears complete or not at all.

        The file's own name, date and model type are written to it; the model
        itself is not changed.

        Parameters
        ----------
        path : path
            Ends in ``.fits`` or ``.asdf``.
        record : mapping, optional
            How the product was made; without one, the record of the file the
            model came from is kept.

        Returns
        -------
        Path
            The file written.

        Raises
        ------
        OutputError
            If the file cannot be written.
        ValidationError
            If a required array is missing.
        """
        path = Path(path)
        self.validate()
        values = self._values_for(path)
        tree = self._tree_for(record)
        if path.suffix == ".fits":
            from lightmill.models.fits_writer import write_fits

            write_fits(self, path, values, tree)
        elif path.suffix == ".asdf":
            from lightmill.models.asdf_file import write_asdf

            write_asdf(self, path, values, tree)
        else:
            raise OutputError(
                "the suffix does not say how to write",
                place=path,
                found=path.suffix or "no suffix",
                expected=".fits or .asdf",
            )
        return path

    def _values_for(self, path: Path) -> dict[str, Any]:
        """Return the metadata as they go into a file.

        The date stays that of the newest input: a product is a function of its
        inputs, and made again it is the same to the last bit.
        """
        values = self._store.flat()
        overlay = overlay_of(values.get("telescope"))
        current = values.get("model_type")
        if self.model_type == "Model" and current:
            values["model_type"] = current
        else:
            values["model_type"] = (
                overlay.name_of(self.model_type, current) if overlay else self.model_type
            )
        for path_, name in (("bunit_data", "data"), ("bunit_err", "err")):
            if name in self._arrays and self.unit(name) and not values.get(path_):
                values[path_] = self.unit(name)
        if not values.get("date"):
            import datetime as dt

            values["date"] = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000")
        values["filename"] = path.name
        return values

    def _tree_for(self, record: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return what goes into the ASDF extension besides metadata and arrays."""
        tree = dict(self.foreign.tree())
        made = dict(record) if record is not None else self.record
        if made is not None:
            tree["lightmill"] = made
        return tree

    def validate(self) -> None:
        """Check what is only certain in the end: that every required array is there.

        Raises
        ------
        ValidationError, ShapeError
        """
        for name, field in self._schema.arrays.items():
            if field.required and name not in self._arrays:
                self._absent(name)
        self._check_shapes()

    def _stored(self) -> Iterator[tuple[str, str, int, Any]]:
        """Yield name, extension, version and array of what goes into a FITS file, in order."""
        fields = self._schema.arrays
        for name, field in fields.items():
            if field.hdu is not None and name in self._arrays:
                yield name, field.hdu, 1, self._arrays[name]
        for name, held in self._arrays.items():
            if name not in fields:
                yield name, *self._places.get(name, (name.upper(), 1)), held

    def unit(self, name: str) -> str:
        """Return the unit of an array as the schema gives it, or nothing."""
        field = self._schema.arrays.get(name)
        return field.unit if field is not None else ""

    def _column_units(self, name: str, header: Header | None) -> dict[str, str]:
        field = self._schema.arrays.get(name)
        columns = (field.columns if field is not None else None) or {}
        units = {column: one.get("unit", "") for column, one in columns.items()}
        if header is not None:
            for number in range(1, header.integer("TFIELDS", 0) + 1):
                units[header.text(f"TTYPE{number}")] = header.text(f"TUNIT{number}")
        return units

    # -- checking --------------------------------------------------------------------------

    def _put(self, name: str, value: Any) -> None:
        field = self._schema.arrays.get(name)
        if field is None and type(self) is not Model:
            self._absent(name)
        if value is None:
            self._arrays.pop(name, None)
        elif field is None:
            held = value if _is_source(value) else np.asarray(value)
            if held.dtype.kind not in "biufV":
                raise ValidationError(
                    "the array does not hold numbers", place=f"{self.model_type}.{name}",
                    found=held.dtype, expected="integers, floats, or a table",
                )  # fmt: skip
            self._arrays[name] = held
        else:
            self._arrays[name] = accepted(field, value, f"{self.model_type}.{name}")

    def _layout(self, name: str, held: Any) -> tuple[str, ...]:
        field = self._schema.arrays.get(name)
        if field is not None:
            return field.layout(len(held.shape)) or ()
        if type(self) is Model and not isinstance(held, LazyTable) and len(held.shape) >= 2:
            frame = self._frame()
            return FRAME if tuple(held.shape[-2:]) == frame else ()
        return ()

    def _frame(self) -> tuple[int, int] | None:
        for name, held in self._arrays.items():
            field = self._schema.arrays.get(name)
            layout = field.layout(len(held.shape)) if field is not None else None
            if layout is not None and layout[-2:] == FRAME:
                return held.shape[-2], held.shape[-1]
        if type(self) is Model:
            for held in self._arrays.values():
                if not isinstance(held, LazyTable) and len(held.shape) >= 2:
                    return held.shape[-2], held.shape[-1]
        return None

    def _check_shapes(self) -> None:
        """Raise ShapeError when two arrays differ on an axis both have."""
        lengths: dict[str, tuple[int, str]] = {}
        for name, held in self._arrays.items():
            field = self._schema.arrays.get(name)
            if field is None or field.is_table:
                continue
            layout = field.layout(len(held.shape)) or ()
            for axis, length in zip(layout, held.shape, strict=False):
                known = (1, axis) if axis == "1" else lengths.setdefault(axis, (length, name))
                if known[0] != length:
                    raise ShapeError(
                        f"{name} and {known[1]} differ in {axis}",
                        place=self._path or self.model_type,
                        found=f"{name} {_shape_text(held)}",
                        expected=f"{known[0]} along {axis}",
                        remedy="give arrays of the same exposure",
                    )


def accepted(field: ArrayField, value: Any, place: str) -> Any:
    """Return an array or table as its field wants it, or raise.

    Raises
    ------
    ShapeError
        If it has a number of axes no layout has.
    ValidationError
        If it cannot be converted without loss.
    """
    if field.is_table:
        return _accepted_table(field, value, place)
    if not _is_source(value):
        value = np.asarray(value)
    if field.layout(len(value.shape)) is None:
        raise ShapeError(
            f"{field.name} has the wrong number of axes",
            place=place,
            found=_shape_text(value),
            expected=" or ".join(f"({', '.join(layout)})" for layout in field.axes),
        )
    if value.dtype.newbyteorder("=") in field.dtypes:
        if isinstance(value, np.ndarray) and not value.dtype.isnative:
            return value.astype(value.dtype.newbyteorder("="))
        return value
    if isinstance(value, LazyArray):
        return value.astype(field.dtypes[0])
    if not isinstance(value, np.ndarray):
        raise ValidationError(
            "wrong dtype", place=place, found=value.dtype, expected=field.dtypes[0].name
        )
    for dtype in field.dtypes[1:]:
        if np.can_cast(value.dtype, dtype, "safe"):
            return value.astype(dtype)
    return cast(value, field.dtypes[0], place=place)


def _accepted_table(field: ArrayField, value: Any, place: str) -> Any:
    if isinstance(value, LazyTable):
        return value
    wanted = field.table_dtype()
    if not isinstance(value, np.ndarray):
        try:
            return np.array([tuple(row) for row in value], wanted)
        except (TypeError, ValueError) as error:
            raise ValidationError(
                "the rows do not fit the table", place=place, found=error,
                expected=", ".join(wanted.names or ()),
            ) from error  # fmt: skip
    missing = set(wanted.names or ()) - set(value.dtype.names or ())
    if missing:
        raise ValidationError(
            "columns are missing", place=place, found=", ".join(value.dtype.names or ("no columns",)),
            expected=", ".join(sorted(missing)),
        )  # fmt: skip
    return np.atleast_1d(value)


def _is_source(value: Any) -> bool:
    return isinstance(value, (LazyArray, LazyTable)) or (
        not isinstance(value, np.ndarray) and isinstance(value, ArraySource)
    )


def _loaded(held: Any) -> np.ndarray:
    if hasattr(held, "read"):
        return held.read()
    if hasattr(held, "__array__"):
        return np.asarray(held)
    out = np.empty(held.shape, held.dtype)
    flat, done = out.reshape(-1), 0
    for piece in held.chunks():
        flat[done : done + piece.size] = piece.reshape(-1)
        done += piece.size
    return out


def _shape_text(held: Any) -> str:
    kind = "rows" if isinstance(held, LazyTable) else getattr(held.dtype, "name", "")
    return f"{'x'.join(map(str, held.shape))} {kind}"


def _store_for(name: str, meta: Mapping[str, Any] | Namespace | None) -> MetaStore:
    if isinstance(meta, Namespace):
        old = meta._store
        store = old.copy(model_schema(name, old.values.get("telescope")))
        if old.schema.name != name:
            for path in ("bunit_data", "bunit_err"):
                if old.values.get(path) is not None:
                    store.values[path] = None
        return store
    store = MetaStore(model_schema(name, None))
    if meta:
        telescope = meta.get("telescope")
        if telescope is not None:
            store.assign("telescope", telescope)
        for path, value in meta.items():
            store.assign(path, value)
    return store
