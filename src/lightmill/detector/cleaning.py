"""Remove the 1/f noise of the read-out, which shows as stripes along the fast axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lightmill.detector.groups import Integrations, put_integration, room_like
from lightmill.detector.sky import background_mask, sky_model
from lightmill.errors import ConfigurationError, ShapeError
from lightmill.models import Model, RampModel, SkyMaskIntsModel, SkyMaskModel
from lightmill.models.dq import PIXEL
from lightmill.models.lineage import descend, primary_of
from lightmill.pipeline import Beside, SideProduct, Skipped, Step, param
from lightmill.pipeline.spool import Spool

__all__ = ["CleanFlickerNoise", "stripes"]

DO_NOT_USE, SATURATED, JUMP = PIXEL["DO_NOT_USE"], PIXEL["SATURATED"], PIXEL["JUMP_DET"]
NON_SCIENCE = PIXEL["NON_SCIENCE"]
CHANNEL = 512  # columns (along the fast axis) of one output


class CleanFlickerNoise(Step):
    """Subtract the stripes that 1/f noise leaves in each group.

    Between two groups, the median of the sky pixels along the fast axis is the
    noise of that line; it is taken away, the sky level put back [1]_.

    References
    ----------
    .. [1] Rauscher, B. J. 2024, PASP, 136, 015001, for the noise; the median
       method follows C. Willott's image1overf.
    """

    name = "clean_flicker_noise"
    reads, writes = RampModel, RampModel
    references = {"flat": Model}
    optional = frozenset({"flat"})
    skip_by_default = True

    @dataclass(frozen=True)
    class Parameters:
        autoparam: bool = param(False, "choose parameters by the data: not available")
        fit_method: Literal["median", "fft"] = param("median", "how the noise is fitted")
        fit_by_channel: bool = param(False, "fit each output on its own")
        background_method: Literal["median", "model", "median_image"] | None = param(
            "median", "how the sky level is found"
        )
        background_box_size: list[int] | None = param(
            None, "box of the sky model", ge=1, unit="pixel"
        )
        mask_science_regions: bool = param(False, "leave pixels out that are not science")
        apply_flat_field: bool = param(False, "divide by the flat before fitting")
        n_sigma: float = param(
            2.0, "pixels brighter than this above the sky are sources", gt=0, unit="sigma"
        )
        fit_histogram: bool = param(
            False, "find level and noise of the sky by a Gaussian fitted to the histogram"
        )
        single_mask: bool = param(True, "one mask for all integrations")
        user_mask: str | None = param(None, "file of a mask: true where there is sky")
        save_mask: bool = param(False, "save the mask of pixels that see nothing but sky")
        save_background: bool = param(False, "save the sky level of each group")
        save_noise: bool = param(False, "save the noise that was subtracted from each group")

    def uses(self, reftype: str) -> bool:  # noqa: ARG002 - there is one
        """Say whether the flat is divided by."""
        return bool(self.parameters.apply_flat_field)

    def side_products(self) -> tuple[SideProduct, ...]:
        """Return the mask, the sky and the noise, as far as they are asked for."""
        parameters = self.parameters
        asked = {
            "mask": parameters.save_mask,
            "flicker_bkg": parameters.save_background,
            "flicker_noise": parameters.save_noise,
        }
        return tuple(SideProduct(suffix) for suffix, wanted in asked.items() if wanted)

    def apply(self, ramp: RampModel, *, flat: Model | None) -> RampModel | Beside | Skipped:
        """Clean group after group; the first group stays as it is."""
        self._refuse()
        slow = abs(ramp.meta.subarray.slowaxis or 0)
        if slow not in (1, 2):
            return Skipped(ramp, "the read-out direction (SLOWAXIS) is not known")
        store = Integrations(ramp)
        science = np.ones(ramp.array("data").shape[-2:], bool)
        if self.parameters.mask_science_regions:
            science = (ramp.pixeldq & (DO_NOT_USE | NON_SCIENCE)) == 0
        flat_image = self._flat(flat, science.shape)
        rates = [_draft_rate(store, n) for n in range(store.nints)]
        given = self._given_mask(science.shape)
        if self.parameters.single_mask:
            rates = [_mean(rates)] * store.nints
        kept = _Kept(ramp, {product.suffix for product in self.side_products()})
        for number in range(store.nints):
            mask = given if given is not None else self._mask(rates[number], science)
            data, dq = store.read("data", number), store.read("groupdq", number)
            raw = data.copy()
            sky = self._clean(data, raw, dq, mask, flat_image, 0 if slow == 2 else 1)
            store.write("data", number, data)
            if self.side_products():
                kept.keep(number, mask=mask, flicker_bkg=sky, flicker_noise=raw - data)
        cleaned = store.finish()
        if not self.side_products():
            return cleaned
        return Beside(cleaned, kept.products(single=self.parameters.single_mask))

    def _clean(
        self,
        data: np.ndarray,
        raw: np.ndarray,
        dq: np.ndarray,
        mask: np.ndarray,
        flat: Any,
        line_axis: int,
    ) -> np.ndarray:
        """Clean the groups of one integration in `data`; return the sky of each, before the flat."""
        sky = np.zeros(data.shape, np.float32)
        groups = range(1, len(data)) if len(data) > 1 else range(1)
        for group in groups:
            before = raw[group - 1] if len(data) > 1 else 0.0
            image = raw[group] - before
            good = mask & ((dq[group] & (DO_NOT_USE | JUMP)) == 0) & np.isfinite(image)
            fitted = image / flat if flat is not None else image
            background = self._background(fitted, good)
            sky[group] = background if flat is None else background * flat
            residual = fitted - background
            clipped = good & background_mask(residual, good, self.parameters.n_sigma)
            channel = CHANNEL if self.parameters.fit_by_channel else None
            noise = stripes(residual, clipped, line_axis, channel, otherwise=good)
            if flat is not None:
                noise = noise * flat
            cleaned = image - noise
            data[group] = cleaned + (data[group - 1] if len(data) > 1 else 0.0)
        return sky

    def _background(self, image: np.ndarray, good: np.ndarray) -> Any:
        method = self.parameters.background_method
        if method is None or not good.any():
            return np.float32(0)
        clipped = good & background_mask(image, good, self.parameters.n_sigma)
        if method == "model":
            return sky_model(image, clipped, self.parameters.background_box_size or [32, 32])
        return np.float32(np.median(image[clipped])) if clipped.any() else np.float32(0)

    def _mask(self, rate: np.ndarray, science: np.ndarray) -> np.ndarray:
        usable = science & np.isfinite(rate) & (rate != 0)
        n_sigma, fits = self.parameters.n_sigma, self.parameters.fit_histogram
        return usable & background_mask(rate, usable, n_sigma, fit_histogram=fits)

    def _given_mask(self, shape: tuple[int, int]) -> np.ndarray | None:
        if self.parameters.user_mask is None:
            return None
        from lightmill import models

        own = models.open(self.parameters.user_mask)
        mask = np.asarray(own.array(primary_of(own))) != 0
        if mask.ndim > 2:
            mask = mask.reshape(-1, *mask.shape[-2:]).all(axis=0)
        if mask.shape != shape:
            raise ShapeError(
                "the mask does not fit the data",
                place=self.parameters.user_mask,
                found=mask.shape,
                expected=shape,
            )
        return mask

    def _flat(self, flat: Model | None, shape: tuple[int, int]) -> np.ndarray | None:
        if not self.parameters.apply_flat_field or flat is None:
            return None
        image = np.asarray(flat.array(primary_of(flat)), np.float32)
        if image.shape != shape:
            raise ShapeError(
                "the flat does not fit the data", place=flat.path, found=image.shape, expected=shape
            )
        return np.where(np.isfinite(image) & (image > 0), image, np.float32(1))

    def _refuse(self) -> None:
        """Say which of the parameters ask for what is not available yet."""
        parameters = self.parameters
        for name, asked, why in (
            ("fit_method", parameters.fit_method == "fft", "noise is fitted by medians alone"),
            (
                "background_method",
                parameters.background_method == "median_image",
                "the sky of a time series cannot follow its light curve",
            ),
            ("autoparam", parameters.autoparam, "nothing here chooses them by the data"),
        ):
            if asked:
                raise ConfigurationError(
                    f"this is not available yet: {why}",
                    place=f"{self.name}.{name}",
                    found=getattr(parameters, name),
                    expected="the default",
                    remedy="choose the other parameters of the step yourself",
                )


class _Kept:
    """What was found in each integration, for those of it the user wants to see."""

    def __init__(self, ramp: RampModel, wanted: set[str]) -> None:
        self._ramp = ramp
        shape = ramp.array("data").shape
        shapes = {"mask": (shape[0], *shape[-2:]), "flicker_bkg": shape, "flicker_noise": shape}
        self._arrays = {name: room_like(shapes[name], np.dtype(np.float32)) for name in wanted}

    def keep(self, number: int, **found: np.ndarray) -> None:
        """Take what was found in one integration."""
        for name, array in self._arrays.items():
            put_integration(array, number, found[name])

    def products(self, *, single: bool) -> dict[str, Model]:
        """Return the models to be saved; one mask where all integrations have the same."""
        made: dict[str, Model] = {}
        for name, array in self._arrays.items():
            if name == "mask" and single:
                first = array.read(planes=slice(0, 1)) if isinstance(array, Spool) else array[:1]
                made[name] = SkyMaskModel(meta=self._ramp.meta, data=first[0])
            elif name == "mask":
                made[name] = SkyMaskIntsModel(meta=self._ramp.meta, data=array)
            else:
                made[name] = RampModel(meta=self._ramp.meta, data=array)
            descend(made[name], self._ramp)
        return made


def stripes(
    image: np.ndarray,
    good: np.ndarray,
    line_axis: int,
    channel: int | None = None,
    *,
    otherwise: np.ndarray | None = None,
) -> np.ndarray:
    """Return the level of each line of an image, from the median of its good pixels.

    Parameters
    ----------
    image : (ny, nx) ndarray of float32
        What is left when the sky is taken away [DN].
    good : (ny, nx) ndarray of bool
        Pixels that see nothing but sky.
    line_axis : {0, 1}
        Axis that counts the lines (the slow axis).
    channel : int, optional
        Pixels of one output along the line; all the line otherwise.
    otherwise : (ny, nx) ndarray of bool, optional
        Pixels to use in a line of which less than a quarter of them are good: where a stripe is
        stronger than the noise, all of the line looks like a source.

    Returns
    -------
    noise : (ny, nx) ndarray of float32
        Level of each line [DN]; zero where a line has no pixel to use.
    """
    if otherwise is not None:
        along = 1 - line_axis
        few = 4 * good.sum(axis=along, keepdims=True) < otherwise.sum(axis=along, keepdims=True)
        good = np.where(few, otherwise, good)
    values = np.where(good, image, np.nan).astype(np.float32)
    values = values if line_axis == 0 else values.T
    noise = np.zeros(values.shape, np.float32)
    width = channel or values.shape[1]
    for x0 in range(0, values.shape[1], width):
        part = values[:, x0 : x0 + width]
        lines = np.isfinite(part).any(axis=1)
        if lines.any():
            noise[lines, x0 : x0 + width] = np.nanmedian(part[lines], axis=1)[:, None]
    return noise if line_axis == 0 else noise.T


def _draft_rate(store: Integrations, number: int) -> np.ndarray:
    """Return the mean good difference of one integration [DN / group]; NaN where there is none."""
    data, dq = store.read("data", number), store.read("groupdq", number)
    if len(data) == 1:
        return np.where(dq[0] & (DO_NOT_USE | SATURATED), np.nan, data[0])
    bad = (dq[1:] & (DO_NOT_USE | SATURATED | JUMP)) != 0
    bad |= (dq[:-1] & (DO_NOT_USE | SATURATED)) != 0
    total = np.where(bad, 0, np.diff(data, axis=0)).sum(axis=0, dtype=np.float64)
    count = (~bad).sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _mean(images: list[np.ndarray]) -> np.ndarray:
    if len(images) == 1:
        return images[0]
    total, count = np.zeros(images[0].shape), np.zeros(images[0].shape)
    for image in images:
        there = np.isfinite(image)
        total[there] += image[there]
        count += there
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
