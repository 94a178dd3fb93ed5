"""Reference files that tell the truth about the exposures made beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lightmill.errors import UnknownNameError
from lightmill.models import (
    DarkModel,
    GainModel,
    IpcModel,
    LinearityModel,
    MaskModel,
    Model,
    ReadnoiseModel,
    ResetModel,
    RscdModel,
    SaturationModel,
    SuperbiasModel,
)
from lightmill.models.lineage import frame_of, primary_of
from lightmill.testing.exposures import BIAS

__all__ = ["make_reference", "make_references"]

_COPIED = (
    "telescope", "instrument.name", "instrument.detector", "exposure.nframes", "exposure.groupgap",
    "subarray.name", "subarray.xstart", "subarray.ystart", "subarray.xsize", "subarray.ysize",
    "subarray.fastaxis", "subarray.slowaxis",
)  # fmt: skip


def make_reference(reftype: str, like: Model, value: Any = None, **meta: Any) -> Model:
    """Return a reference file that fits an exposure.

    Parameters
    ----------
    reftype : str
        ``mask``, ``gain`` …
    like : Model
        The exposure: its instrument, detector and frame are taken.
    value : array_like, optional
        What the reference says: one number for all pixels, or all numbers.
        Without it, what changes nothing (and a gain of 1.5, a noise of 5 DN).
    **meta
        Metadata that differ, dots spelled ``__``.

    Returns
    -------
    reference : Model
        Of the class of its type, with the exposure's instrument, detector and frame; not saved.
    """
    makers = {
        "mask": _mask,
        "saturation": _saturation,
        "superbias": _superbias,
        "ipc": _ipc,
        "linearity": _linearity,
        "dark": _dark,
        "reset": _reset,
        "rscd": _rscd,
        "gain": _gain,
        "readnoise": _readnoise,
    }
    if reftype not in makers:
        raise UnknownNameError("reference type", reftype, makers)
    facts = {path: like.meta.get(path) for path in _COPIED}
    facts = {path: one for path, one in facts.items() if one is not None}
    facts["reftype"] = reftype.upper()
    facts["useafter"] = "2030-01-01T00:00:00"
    facts |= {path.replace("__", "."): one for path, one in meta.items()}
    return makers[reftype](like, value, facts)


def make_references(like: Model, **values: Any) -> dict[str, Model]:
    """Return a reference file of every type for an exposure.

    Parameters
    ----------
    like : Model
        The exposure.
    **values
        Reference type → what it says; see `make_reference`.

    Returns
    -------
    references : dict
        Reference type → model.
    """
    types = (
        "mask", "saturation", "superbias", "ipc", "linearity", "dark", "reset", "rscd", "gain",
        "readnoise",
    )  # fmt: skip
    for name in values:
        if name not in types:
            raise UnknownNameError("reference type", name, types)
    return {reftype: make_reference(reftype, like, values.get(reftype)) for reftype in types}


def _image(like: Model, value: Any, default: float, dtype: Any = np.float32) -> np.ndarray:
    value = default if value is None else value
    return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype), frame_of(like)))


def _clear(like: Model) -> np.ndarray:
    return np.zeros(frame_of(like), np.uint32)


def _mask(like: Model, value: Any, meta: dict[str, Any]) -> Model:
    return MaskModel(meta=meta, dq=_image(like, value, 0, np.uint32))


def _saturation(like: Model, value: Any, meta: dict[str, Any]) -> Model:
    return SaturationModel(meta=meta, data=_image(like, value, 60000.0), dq=_clear(like))


def _superbias(like: Model, value: Any, meta: dict[str, Any]) -> Model:
    return SuperbiasModel(meta=meta, data=_image(like, value, BIAS), dq=_clear(like))


def _ipc(like: Model, value: Any, meta: dict[str, Any]) -> Model:  # noqa: ARG001
    kernel = np.zeros((3, 3), np.float32)
    kernel[1, 1] = 1.0
    return IpcModel(meta=meta, data=kernel if value is None else np.asarray(value, np.float32))


def _linearity(like: Model, value: Any, meta: dict[str, Any]) -> Model:
    """`value`: the coefficients of all pixels, lowest power first, or (n, ny, nx)."""
    terms = np.asarray([0.0, 1.0] if value is None else value, np.float32)
    if terms.ndim == 1:
        terms = np.broadcast_to(terms[:, None, None], (len(terms), *frame_of(like)))
    return LinearityModel(meta=meta, coeffs=np.ascontiguousarray(terms), dq=_clear(like))


def _dark(like: Model, value: Any, meta: dict[str, Any]) -> Model:
    """`value`: the dark current [DN/group], or (ngroups, ny, nx)."""
    groups = like.array(primary_of(like)).shape[1]
    value = np.asarray(0.0 if value is None else value, np.float32)
    if value.ndim == 0:
        steps = np.arange(1, groups + 1, dtype=np.float32)[:, None, None]
        value = np.broadcast_to(value * steps, (groups, *frame_of(like)))
    return DarkModel(meta=meta, data=np.ascontiguousarray(value), dq=_clear(like))


def _reset(like: Model, value: Any, meta: dict[str, Any]) -> Model:
    """`value`: the anomaly [DN] of each group of each integration, or (nints, ngroups, ny, nx)."""
    value = np.asarray(np.zeros((1, 1)) if value is None else value, np.float32)
    if value.ndim == 2:
        value = np.broadcast_to(value[:, :, None, None], (*value.shape, *frame_of(like)))
    return ResetModel(meta=meta, data=np.ascontiguousarray(value), dq=_clear(like))


def _rscd(like: Model, value: Any, meta: dict[str, Any]) -> Model:
    """`value`: the groups to leave out of the first, and of later integrations."""
    first, later = (0, 0) if value is None else value
    table = np.array(
        [(like.meta.subarray.name, like.meta.exposure.readpatt, later, first)],
        dtype=[
            ("subarray", "S16"),
            ("readpatt", "S16"),
            ("group_skip", "i4"),
            ("group_skip1", "i4"),
        ],
    )
    return RscdModel(meta=meta, rscd_group_skip_table=table)


def _gain(like: Model, value: Any, meta: dict[str, Any]) -> Model:
    return GainModel(meta=meta, data=_image(like, value, 1.5))


def _readnoise(like: Model, value: Any, meta: dict[str, Any]) -> Model:
    """`value`: the noise of the difference of two reads [DN]."""
    return ReadnoiseModel(meta=meta, data=_image(like, value, 5.0 * np.sqrt(2.0)))
