"""Flags of a mosaic: those of all pixels that went into each of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lightmill.imaging.drizzle_inputs import part_of
from lightmill.imaging.drizzling import Pixels, Recipe, Sheet, combine
from lightmill.models import Region

__all__ = ["mosaic_flags"]


def mosaic_flags(
    models: Sequence[Any],
    sheets: Sequence[Sheet],
    shape: tuple[int, int],
    recipe: Recipe,
    *,
    stripe_pixels: int,
) -> np.ndarray:
    """Return the flags of all pixels that contribute to each pixel of a mosaic.

    Each flag that a pixel with weight carries is drizzled as the values are: where any of it
    arrives, a pixel that has it contributes. Flags of pixels without weight go nowhere.

    Parameters
    ----------
    models : sequence of CalModel
        The exposures; those without flags have none.
    sheets : sequence of Sheet
        How each is put on the grid.
    shape : (int, int)
        Rows and columns of the mosaic.
    recipe : Recipe
        How values are put together.
    stripe_pixels : int
        Pixels of the mosaic worked on at a time, about.

    Returns
    -------
    flags : (ny, nx) ndarray of uint32
        Zero where nothing contributes.
    """
    flags = np.zeros(shape, np.uint32)
    recipe = replace(recipe, components=(), context=False, fill=0.0)
    for bit in _bits(models):
        marked = [
            replace(sheet, read=_marks(sheet.read, model, bit))
            for model, sheet in zip(models, sheets, strict=True)
        ]
        for y0, stripe in combine(marked, shape, recipe, stripe_pixels=stripe_pixels):
            rows = flags[y0 : y0 + len(stripe["data"])]
            # a drop may have negative parts; where nothing arrives, it is zero exactly
            rows[stripe["data"] != 0] |= bit
    return flags


def _bits(models: Sequence[Any]) -> list[np.uint32]:
    """Return the flags that any exposure has."""
    found = np.uint32(0)
    for model in models:
        if model.has("dq"):
            found |= np.bitwise_or.reduce(np.asarray(model.array("dq"), np.uint32), axis=None)
    return [np.uint32(1 << bit) for bit in range(32) if found >> np.uint32(bit) & np.uint32(1)]


def _marks(
    read: Callable[[Region], Pixels], model: Any, bit: np.uint32
) -> Callable[[Region], Pixels]:
    """Return a reader of one where a pixel has a flag, zero elsewhere; of the same weights."""

    def marks(region: Region) -> Pixels:
        dq = part_of(model, "dq", region)
        weight = read(region).weight
        data = np.zeros_like(weight) if dq is None else ((dq & bit) != 0).astype(np.float32)
        return Pixels(data, weight)

    return marks
