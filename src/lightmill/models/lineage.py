"""Where a model comes from, and what it can be taken for.

A band of a frame knows the frame; a rate knows the ramp it was fitted to; a
result of the run cache knows its identity. None of it is metadata, so none of
it is written to files.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lightmill.errors import DataError, ShapeError
from lightmill.models.classes import (
    CalIntsModel,
    CalModel,
    RampModel,
    RateIntsModel,
    RateModel,
    ReferenceModel,
    UncalModel,
    class_named,
)
from lightmill.models.filled import Filled
from lightmill.models.model import FRAME, Model
from lightmill.models.opening import open as open_model
from lightmill.models.overlay import model_schema
from lightmill.models.regions import Region

__all__ = [
    "Loan",
    "as_class",
    "descend",
    "force",
    "frame_of",
    "keyword_values",
    "open_reference",
    "owned_part",
    "primary_of",
    "region_of",
    "restore",
    "uniform",
    "untouched",
    "whole_of",
    "window",
]


def frame_of(model: Model) -> tuple[int, int]:
    """Return rows and columns of the whole frame a model, or a band of it, belongs to."""
    whole = model.__dict__.get("_whole") or model._frame()
    if whole is None:
        raise ShapeError("the data have no rows and columns", place=model.path or model.model_type)
    return int(whole[0]), int(whole[1])


def region_of(model: Model) -> Region:
    """Return the part of its frame a model holds."""
    if model.region is not None:
        return model.region
    ny, nx = frame_of(model)
    return Region(0, ny, 0, nx)


def primary_of(model: Model) -> str:
    """Return the name of the array that matters most: the first of the schema that is there."""
    for name, field in model._schema.arrays.items():
        if model.has(name) and not field.is_table:
            return name
    for name in model.arrays:
        return name
    raise DataError("the model holds no array", place=model.path or model.model_type)


class Loan:
    """A model given to somebody who may look at its arrays, but not write into them.

    Parameters
    ----------
    model : Model
        Whose arrays they are.
    """

    def __init__(self, model: Model) -> None:
        self.model = model.evolve()
        self._owned: dict[int, Any] = {}
        for name, held in model.arrays.items():
            if isinstance(held, np.ndarray):
                view = held.view()
                view.flags.writeable = False
                self.model._arrays[name] = view
                self._owned[id(view)] = view, held

    def end(self, result: Model) -> None:
        """Give a model that was made meanwhile the arrays themselves, where it shares them."""
        for name, held in result.arrays.items():
            if id(held) in self._owned:
                result._arrays[name] = self._owned[id(held)][1]


def untouched(model: Model) -> bool:
    """Say whether a model is just what its file says: opened, nothing read or changed."""
    return (
        model.path is not None
        and bool(model.arrays)
        and all(not isinstance(held, (np.ndarray, Filled)) for held in model.arrays.values())
    )


def force(model: Model, path: str, value: Any) -> None:
    """Set a metadata value also where no schema knows the name."""
    store = model._store
    path = store.schema.resolve(path)
    field = store.schema.field(path)
    store.values[path] = value if field is None else field.checked(value)


def descend(model: Model, source: Model, *tables: str) -> Model:
    """Make `model` a product of `source`: same frame, file and history, and some of its tables."""
    for name in tables:
        if source.has(name):
            model._arrays[name] = source.array(name)
    for name in ("_region", "_path", "_history", "_whole"):
        object.__setattr__(model, name, source.__dict__.get(name))
    return model


def owned_part(model: Model, region: Region) -> Model:
    """Return a part of a model's frame whose arrays the caller may write into."""
    frame = frame_of(model)
    part = model.cut(region)
    for name, held in model.arrays.items():
        if part._layout(name, part._arrays[name])[-2:] != FRAME:
            continue
        if isinstance(held, np.ndarray):
            part._arrays[name] = part._arrays[name].copy()
        elif not isinstance(part._arrays[name], np.ndarray):
            part._arrays[name] = np.asarray(part._arrays[name].read())
    object.__setattr__(part, "_whole", frame)
    return part


def window(model: Model, region: Region) -> Model:
    """Return the part `region` (in pixels of the whole frame) of a model that holds more of it."""
    has = model.region
    if has is None or has == region:
        return model
    part = model.cut(
        Region(region.y0 - has.y0, region.y1 - has.y0, region.x0 - has.x0, region.x1 - has.x0)
    )
    if part.region is not None and part.region.shape[1] != has.shape[1]:
        for name, held in part.arrays.items():  # kernels want whole rows
            if isinstance(held, np.ndarray) and part._layout(name, held)[-2:] == FRAME:
                part._arrays[name] = np.ascontiguousarray(held)
    object.__setattr__(part, "_whole", model.__dict__.get("_whole"))
    return part


def whole_of(part: Model, arrays: dict[str, Any]) -> Model:
    """Return the model of the whole frame that a band is a part of, given its whole arrays."""
    kept = {name: held for name, held in part.arrays.items() if name not in arrays}
    return part._again({**arrays, **kept}, region=None)


def keyword_values(model: Model, hdus: tuple[str, ...] = ("PRIMARY", "SCI")) -> dict[str, Any]:
    """Return what the metadata of a model are in FITS: keyword → value, those that are known.

    Parameters
    ----------
    model : Model
    hdus : tuple of str
        Extensions whose keywords count; of two of one name the first.

    Returns
    -------
    values : dict
        In the order of the schema.
    """
    store = model.meta._store
    found: dict[str, Any] = {}
    for hdu in hdus:
        for (place, keyword), field in store.schema.keywords.items():
            value = store.values.get(field.path)
            if place == hdu and value is not None:
                found.setdefault(keyword, value)
    return found


def as_class(model: Model, wanted: type[Model]) -> Model | None:
    """Return a model as another class can take it, or None.

    Raw counts are a ramp without flags; count rates are an image still to be calibrated; a model
    of no particular class is what its arrays say.
    """
    if isinstance(model, wanted):
        return model
    if wanted is RampModel and isinstance(model, UncalModel):
        return _ramp_of(model)
    if wanted is CalModel and type(model) in {RateModel, RateIntsModel}:
        return _cal_of(model)
    if type(model) in {Model, ReferenceModel} and all(
        model.has(name) for name, field in _fields(wanted, model) if field.required
    ):
        known = {name for name, _ in _fields(wanted, model)}
        made = wanted(meta=model.meta, **{n: a for n, a in model.arrays.items() if n in known})
        return descend(made, model)
    return None


def _fields(wanted: type[Model], model: Model) -> Any:
    from lightmill.models.overlay import model_schema

    return model_schema(wanted.schema, model.meta.get("telescope")).arrays.items()


def _ramp_of(uncal: UncalModel) -> Model:
    data = uncal.array("data")
    arrays: dict[str, Any] = {
        "data": data.astype(np.dtype(np.float32)),
        "groupdq": Filled(data.shape, np.uint8),
        "pixeldq": Filled(data.shape[-2:], np.uint32),
    }
    for name in ("zeroframe", "refout"):
        if uncal.has(name):
            arrays[name] = uncal.array(name).astype(np.dtype(np.float32))
    for name in ("group", "int_times"):
        if uncal.has(name):
            arrays[name] = uncal.array(name)
    return descend(RampModel(meta=uncal.meta, **arrays), uncal)


def _cal_of(rate: Model) -> Model:
    kind = CalIntsModel if isinstance(rate, RateIntsModel) else CalModel
    cal = descend(kind(meta=rate.meta, **rate.arrays), rate)
    _adopt(cal, rate)
    for path, name in (("bunit_data", "data"), ("bunit_err", "err")):
        cal.meta[path] = rate.meta.get(path) or rate.unit(name)
    return cal


def _adopt(model: Model, source: Model) -> None:
    """Give a model what its schema knows of the headers of the source, and that of the source does not.

    Keywords of the sky, for instance: of count rates they are nothing but cards.
    """
    ours, theirs = model.meta._store, source.meta._store
    for (hdu, version), header in source.foreign.headers.items():
        for keyword in header.keywords() if version == 1 else ():
            field = ours.schema.keywords.get((hdu, keyword))
            if field is None or (hdu, keyword) in theirs.schema.keywords:
                continue
            value = header.get(keyword)
            if value is not None and ours.values.get(field.path) is None:
                ours.values[field.path] = field.checked(value, f"{header.place}/{keyword}")


def open_reference(given: Any, wanted: type[Model]) -> Model:
    """Open a reference file, and refuse one of another kind."""
    model = open_model(given)
    taken = as_class(model, wanted)
    if taken is None:
        raise DataError(
            "this is a reference of another kind",
            place=model.path or "reference",
            found=type(model).__name__,
            expected=wanted.__name__,
            remedy="give the reference of the type named",
        )
    return taken


def uniform(wanted: type[Model], level: float, like: Model) -> Model:
    """Return a reference that says the same of every pixel of a frame.

    Parameters
    ----------
    wanted : type
        A class whose ``data`` is one image, or `Model` for a type without a class.
    level : float
        In the unit of its schema.
    like : Model
        The data it is for.
    """
    if not math.isfinite(level):
        raise DataError(
            "a reference cannot be this number", found=level, expected="a finite number"
        )
    fields, frame = model_schema(wanted.schema, None).arrays, frame_of(like)
    data = fields.get("data")
    fits = wanted is Model if data is None else data.required and data.layout(2) == FRAME
    if not fits:
        raise DataError(
            "this reference is not one number a pixel",
            place=wanted.__name__,
            found=level,
            expected="a file",
        )
    model = wanted(data=np.full(frame, level, np.float32))
    if "dq" in fields:
        model.dq = np.zeros(frame, np.uint32)
    force(model, "filename", f"{level:g} everywhere")
    return model


def restore(class_name: str, meta: dict[str, Any], arrays: dict[str, Any], source: Model) -> Model:
    """Make a model of a kept result again; what is not arrays or metadata comes from `source`."""
    cls = class_named(class_name)
    if cls is None:
        raise DataError("the kept result is of no known kind", found=class_name)
    model = descend(cls(meta=source.meta, **arrays), source)
    for path, value in meta.items():
        force(model, path, value)
    for path in set(model.meta.flat()) - set(meta):
        model._store.values[path] = None
    return model
