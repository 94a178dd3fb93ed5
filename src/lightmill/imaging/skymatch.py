"""Measure the sky of exposures, so that it is the same in all of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lightmill.errors import ConfigurationError, DataError, UnknownNameError
from lightmill.imaging.overlap import TangentPlane, edge_of, may_overlap
from lightmill.imaging.plain_systems import system_of
from lightmill.imaging.sky_level import (
    Cells,
    Clipping,
    bad_bits,
    cells_of,
    differences,
    level,
    levels,
    pixel_noise,
    sample,
)
from lightmill.models import CalModel, Exposures, Region
from lightmill.models.lineage import as_class
from lightmill.pipeline import Beside, Skipped, Step, param

__all__ = ["MatchSky"]

log = logging.getLogger("lightmill.imaging")
BANDS, BAND_ROWS = 32, 4  # of rows that the noise is measured from
POINTS = 9  # along each axis, that the polynomials between pixels and the sky are fitted to


@dataclass(frozen=True)
class _Sky:
    """What is kept of one exposure of one detector."""

    values: np.ndarray | None  # sample of its pixels, for levels
    cells: Cells | None  # its cells, for differences


class MatchSky(Step):
    """Find the sky level of each exposure, absolute or as it differs from the others.

    Detectors exposed together share one level. The level is recorded, and subtracted if asked for.
    """

    name = "skymatch"
    reads, writes = Exposures, Exposures

    @dataclass(frozen=True)
    class Parameters:
        skymethod: Literal["local", "global", "match", "global+match", "user"] = param(
            "match",
            "level of each exposure; the lowest of all; differences where exposures overlap; "
            "these and the lowest level; or the values in skylist",
        )
        match_down: bool = param(True, "matched levels start at the lowest sky; else the highest")
        subtract: bool = param(False, "subtract the sky; otherwise it is recorded")
        skylist: str | None = param(None, "file of lines 'exposure level', for the method user")
        stepsize: int | None = param(None, "no effect: overlaps are found cell by cell", ge=1)
        skystat: Literal["median", "midpt", "mean", "mode"] = param(
            "mode", "statistic of the sky; of differences the mean or else the median"
        )
        dqbits: str | None = param(
            "~DO_NOT_USE+NON_SCIENCE", "flags that good pixels may have; after ~ those they may not"
        )
        lower: float | None = param(None, "least value of a good pixel")
        upper: float | None = param(None, "largest value of a good pixel")
        nclip: int = param(5, "how often values far from the sky are left out", ge=0)
        lsigma: float = param(4.0, "how far that is below the sky", ge=0, unit="sigma")
        usigma: float = param(4.0, "how far that is above the sky", ge=0, unit="sigma")
        binwidth: float = param(0.1, "bins of the histogram for the mode", ge=0, unit="sigma")
        in_memory: bool = param(True, "no effect: exposures stay in their files")

    def apply(self, exposures: Exposures) -> Exposures | Skipped | Beside:
        """Measure every exposure, compare those that overlap, solve for the levels."""
        for model, name in zip(exposures.science, exposures.names, strict=True):
            self._check(model, name)
        groups = list(exposures.groups().values())
        method = self.parameters.skymethod
        if method == "user":
            skies = self._given(exposures.names)
            return self._recorded(exposures, skies)
        if method == "match" and len(groups) < 2:
            return Skipped(exposures, "there is one exposure: no other sky to match")
        measured, outlines = self._measured(exposures)
        clipping = self._clipping()
        deltas = np.zeros(len(groups))
        if "match" in method:
            deltas = self._matched(groups, measured, outlines, exposures.names)
            if not np.isfinite(deltas).any() and method == "match":
                return Skipped(exposures, "no two exposures have sky in common")
        if method == "match":
            found = deltas
        else:
            each = np.array(
                [
                    level(
                        np.concatenate([_values(measured[k]) for k in members]),
                        self.parameters.skystat,
                        clipping,
                    )[0]
                    for members in groups
                ]
            )
            if not np.isfinite(each).any():
                return Skipped(exposures, "no exposure has a good pixel")
            deltas = np.where(np.isfinite(deltas), deltas, 0.0)
            found = each if method == "local" else deltas + np.nanmin(each - deltas)
            found = np.where(np.isfinite(each), found, np.nan)
        skies = [float("nan")] * len(exposures)
        for value, members in zip(found, groups, strict=True):
            for k in members:
                skies[k] = float(value)
        return self._recorded(exposures, skies)

    # -- measuring -------------------------------------------------------------------------

    def _measured(self, exposures: Exposures) -> tuple[list[_Sky], list[np.ndarray]]:
        """Return what is kept of every exposure, and its outline in the common plane."""
        if "match" not in self.parameters.skymethod:
            return exposures.each(lambda model: self._sky(model, None), "measure the sky"), []
        grids, skies, outlines = {}, [], []
        for model, name in zip(exposures.science, exposures.names, strict=True):
            wcs = system_of(model)
            if wcs is None:
                raise DataError(
                    "the exposure does not say where on the sky it is",
                    place=name,
                    expected="world coordinates",
                    remedy="run assign_wcs first, or choose --skymethod=local",
                )
            ny, nx = model.array("data").shape[-2:]
            x, y = np.meshgrid(np.linspace(0, nx - 1, POINTS), np.linspace(0, ny - 1, POINTS))
            grids[id(model)] = np.stack([x.ravel(), y.ravel()], axis=1)
            skies.append(wcs.pixel_to_world_values(x.ravel(), y.ravel()))
            outlines.append(wcs.pixel_to_world_values(*edge_of((ny, nx), 4)))
        plane = TangentPlane.of(*(np.concatenate(axis) for axis in zip(*skies, strict=True)))
        places = {
            id(model): (grids[id(model)], plane.project(*sky))
            for model, sky in zip(exposures.science, skies, strict=True)
        }
        # sources must be cut off at the same height in all exposures
        noises = np.array(exposures.each(self._noise))
        noise = float(np.nanmax(noises)) if np.isfinite(noises).any() else 0.0
        kept = exposures.each(
            lambda model: self._sky(model, places[id(model)], noise), "measure the sky"
        )
        return kept, [plane.project(*outline) for outline in outlines]

    def _noise(self, model: Any) -> float:
        """Return the noise of a pixel, from some rows."""
        ny, nx = model.array("data").shape[-2:]
        step = max(BAND_ROWS, ny // BANDS)
        rows = [(y0, min(y0 + BAND_ROWS, ny)) for y0 in range(0, ny, step)]
        return pixel_noise([self._pixels(model.cut(Region(y0, y1, 0, nx))) for y0, y1 in rows])

    def _pixels(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return an image, and which of its pixels are bad."""
        image = np.asarray(model.array("data"), np.float32)
        bad = ~np.isfinite(image)
        useless = bad_bits(self.parameters.dqbits)
        if useless and model.has("dq"):
            bad |= (np.asarray(model.array("dq")) & np.uint32(useless)) != 0
        return image, bad

    def _sky(
        self,
        model: Any,
        place: tuple[np.ndarray, np.ndarray] | None,
        noise: float | None = None,
    ) -> _Sky:
        """Measure one exposure; what is read of it is let go."""
        image, bad = self._pixels(model)
        values = sample(image, bad) if self.parameters.skymethod != "match" else None
        cells = None if place is None else cells_of(image, bad, *place, self._clipping(), noise)
        return _Sky(values, cells)

    def _clipping(self) -> Clipping:
        parameters = self.parameters
        return Clipping(
            parameters.lower, parameters.upper, parameters.nclip,
            parameters.lsigma, parameters.usigma, parameters.binwidth,
        )  # fmt: skip

    def _matched(
        self,
        groups: list[list[int]],
        measured: Sequence[_Sky],
        outlines: Sequence[np.ndarray],
        names: Sequence[str],
    ) -> np.ndarray:
        """Return the level of each group less the lowest (or highest); NaN where none overlaps."""
        cells = [[_cells(measured[k]) for k in members] for members in groups]
        where = [[outlines[k] for k in members] for members in groups]
        pairs = {}
        for i in range(len(groups)):
            for j in range(i + 1, len(groups)):
                if not may_overlap(where[i], where[j]):
                    continue
                difference, error, count = differences(cells[i], cells[j], self.parameters.skystat)
                if count:
                    pairs[i, j] = difference, error
                    log.debug(
                        "sky of %s less that of %s: %.6g +- %.2g, %d cells",
                        names[groups[i][0]], names[groups[j][0]], difference, error, count,
                    )  # fmt: skip
        found, sets = levels(len(groups), pairs, lowest=self.parameters.match_down)
        if len(sets) > 1:
            log.warning(
                "exposures form %d sets that do not overlap: their skies are matched within each set",
                len(sets),
            )
        return found

    # -- results ---------------------------------------------------------------------------

    def _recorded(self, exposures: Exposures, skies: Sequence[float]) -> Exposures | Beside:
        """Return exposures that say what their sky is, or are without it."""
        models = []
        skipped: dict[str, str] = {}
        for model, name, sky in zip(exposures.science, exposures.names, skies, strict=True):
            if not np.isfinite(sky):
                skipped[name] = "the sky is not known: no good pixel, or none in common with others"
                log.warning("%s: %s", name, skipped[name])
                models.append(model)
                continue
            image = as_class(model, CalModel) or model  # count rates have no keywords of the sky
            before = image.meta.background.get("level") if self.parameters.subtract else None
            log.info("%s: sky %.6g", name, sky)
            meta = {
                "background.level": sky + (before or 0.0),
                "background.subtracted": self.parameters.subtract,
                "background.method": self.parameters.skymethod,
            }
            if self.parameters.subtract:
                data = np.asarray(model.array("data"), np.float32) - np.float32(sky)
                models.append(image.evolve(data=data, meta=meta))
            else:
                models.append(image.evolve(meta=meta))
        result = exposures.evolve(models)
        return Beside(result, skipped=skipped) if skipped else result

    def _check(self, model: Any, name: str) -> None:
        """Refuse exposures whose sky was subtracted, where it would only be recorded now."""
        background = model.meta.get("background.subtracted") if "meta" in dir(model) else None
        if background and not self.parameters.subtract:
            raise DataError(
                "the sky of this exposure was subtracted before",
                place=name,
                found="BKGSUB = T",
                expected="an exposure as it was calibrated",
                remedy="choose --subtract=true, or begin with the calibrated exposures",
            )

    def _given(self, names: Sequence[str]) -> list[float]:
        """Return the user's levels of the exposures."""
        path = self.parameters.skylist
        try:
            lines = Path(path or "").read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                "the list of sky levels cannot be read",
                place="skymatch.skylist",
                found=path or "no name",
                expected="a text file with lines: name of an exposure, its level",
            ) from error
        found: dict[str, float] = {}
        for line in lines:
            words = line.split("#")[0].replace(",", " ").split()
            if not words:
                continue
            try:
                found[_stem(words[0])] = float(words[1])
            except (IndexError, ValueError) as error:
                raise ConfigurationError(
                    "a line of the list of sky levels cannot be understood",
                    place=path, found=line, expected="name of an exposure, its level",
                ) from error  # fmt: skip
        for name in names:
            if _stem(name) not in found:
                raise UnknownNameError("exposure", name, found, place=path)
        return [found[_stem(name)] for name in names]


def _stem(name: str) -> str:
    """Return the name of an exposure without extension and kind of product."""
    from lightmill.pipeline.naming import base_name

    return base_name(Path(name).name)[0]


def _values(sky: _Sky) -> np.ndarray:
    return np.zeros(0) if sky.values is None else sky.values


def _cells(sky: _Sky) -> Cells:
    if sky.cells is None:  # only where the method matches, which measures them
        raise TypeError("no cells were measured")
    return sky.cells
