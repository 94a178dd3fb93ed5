"""Exposures of a detector that does not exist, made from physical quantities."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lightmill.models import RampModel, UncalModel
from lightmill.models.dq import PIXEL
from lightmill.testing.observatory.glowcam import INSTRUMENT

__all__ = ["Jump", "make_ramp", "make_uncal", "use_observatory"]

Jump = tuple[int, int, int, int, float]
"""Integration, group, row, column and charge [DN] of a cosmic ray."""

BIAS = 5000.0  # raw counts a pixel starts from [DN]


@functools.cache
def use_observatory() -> None:
    """Make the invented observatory known, as an installed plug-in's is."""
    from lightmill import app

    app.register(INSTRUMENT)


def make_ramp(
    rate: Any = 10.0,
    *,
    n_groups: int = 8,
    group_time: float = 10.0,
    n_ints: int = 1,
    shape: tuple[int, int] = (6, 8),
    n_frames: int = 1,
    group_gap: int = 0,
    pedestal: Any = 0.0,
    gain: float = 1.5,
    read_noise: float = 5.0,
    jumps: Sequence[Jump] = (),
    saturate: float | None = None,
    seed: int | None = None,
) -> RampModel:
    """Return the ramp of a steady source, after the corrections of the detector.

    Parameters
    ----------
    rate : float or (ny, nx) array_like
        Count rate [DN/s].
    n_groups : int
        Groups in an integration.
    group_time : float
        Time from group to group, and from the reset to the first group [s].
    n_ints : int
        Integrations.
    shape : (int, int)
        Rows and columns.
    n_frames, group_gap : int
        Frames averaged in a group, and dropped between two; told in the
        metadata, the signal is that of the group's end.
    pedestal : float or (ny, nx) array_like
        Signal at the reset [DN].
    gain : float
        Electrons per count; used by the photon noise.
    read_noise : float
        Noise of one read [DN].
    jumps : sequence of (integration, group, row, column, DN)
        Cosmic rays: charge that arrives before that group is read.
    saturate : float, optional
        Full well [DN]: the signal stays there, and the groups are flagged.
    seed : int, optional
        Of the photon and read noise; without a seed there is none.

    Returns
    -------
    ramp : RampModel
        All flags clear but those of saturated groups.
    """
    data = _signal(rate, n_groups, group_time, n_ints, shape, gain, read_noise, seed)
    data += np.asarray(pedestal, np.float64)
    for integration, group, row, column, charge in jumps:
        data[integration, group:, row, column] += charge
    groupdq = np.zeros(data.shape, np.uint8)
    if saturate is not None:
        full = np.logical_or.accumulate(data >= saturate, axis=1)
        data[full] = saturate
        groupdq[full] |= np.uint8(PIXEL["SATURATED"])
    return RampModel(
        meta=_meta(n_groups, group_time, n_ints, shape, n_frames, group_gap),
        data=data.astype(np.float32),
        groupdq=groupdq,
        pixeldq=np.zeros(shape, np.uint32),
    )


def make_uncal(
    rate: Any = 10.0,
    *,
    n_groups: int = 8,
    group_time: float = 10.0,
    n_ints: int = 1,
    shape: tuple[int, int] = (6, 8),
    n_frames: int = 1,
    group_gap: int = 0,
    bias: Any = BIAS,
    gain: float = 1.5,
    read_noise: float = 5.0,
    jumps: Sequence[Jump] = (),
    saturate: float = 60000.0,
    seed: int | None = None,
) -> UncalModel:
    """Return the raw counts of a steady source.

    Parameters
    ----------
    rate : float or (ny, nx) array_like
        Count rate [DN/s]; reference pixels collect nothing.
    n_groups : int
        As of `make_ramp`; so are those below that say no more.
    group_time : float
        [s].
    n_ints : int
        Integrations.
    shape : (int, int)
        Of the frame; its border of 4 pixels is dark in a full one.
    n_frames, group_gap : int
        Told in the metadata.
    bias : float or (ny, nx) array_like
        Counts at the reset [DN].
    gain, read_noise : float
        [electron/DN], [DN].
    jumps : sequence of (integration, group, row, column, DN)
        Cosmic rays.
    saturate : float
        Counts at which a pixel is full [DN].
    seed : int, optional
        Of all noise.

    Returns
    -------
    uncal : UncalModel
        Whole counts, uint16.
    """
    meta = _meta(n_groups, group_time, n_ints, shape, n_frames, group_gap)
    lit = np.broadcast_to(np.asarray(rate, np.float64), shape).copy()
    if meta["subarray.name"] == "FULL":
        border = np.ones(shape, bool)
        border[4:-4, 4:-4] = False
        lit[border] = 0.0
    data = _signal(lit, n_groups, group_time, n_ints, shape, gain, read_noise, seed)
    data += np.asarray(bias, np.float64)
    for integration, group, row, column, charge in jumps:
        data[integration, group:, row, column] += charge
    counts = np.clip(np.rint(data), 0, min(saturate, 65535)).astype(np.uint16)
    return UncalModel(meta=meta, data=counts)


def _signal(
    rate: Any,
    n_groups: int,
    group_time: float,
    n_ints: int,
    shape: tuple[int, int],
    gain: float,
    read_noise: float,
    seed: int | None,
) -> np.ndarray:
    """Return the signal collected at the end of each group [DN], (nints, ngroups, ny, nx)."""
    rate = np.broadcast_to(np.asarray(rate, np.float64), shape)
    if seed is None:
        times = group_time * np.arange(1, n_groups + 1)
        return np.repeat((times[:, None, None] * rate)[None], n_ints, axis=0)
    dice = np.random.default_rng(seed)
    size = (n_ints, n_groups, *shape)
    electrons = dice.poisson(np.clip(rate * group_time * gain, 0, None), size)
    return np.cumsum(electrons, axis=1) / gain + dice.normal(0.0, read_noise, size)


def _meta(
    n_groups: int,
    group_time: float,
    n_ints: int,
    shape: tuple[int, int],
    n_frames: int,
    group_gap: int,
) -> dict[str, Any]:
    use_observatory()
    ny, nx = shape
    name = "SMALL" if max(shape) <= 32 else "LARGE"
    detector = INSTRUMENT.detector(name)
    assert detector is not None
    full = shape == (detector.rows, detector.columns)
    rows_free = detector.rows - detector.reference_bottom - detector.reference_top
    columns_free = detector.columns - detector.reference_left - detector.reference_right
    return {
        "telescope": INSTRUMENT.observatory.name,
        "filename": "lantern001_uncal.fits",
        "date": "2031-05-04T03:02:01.000",
        "instrument.name": INSTRUMENT.name,
        "instrument.detector": name,
        "exposure.type": "GLOW_IMAGE",
        "exposure.readpatt": "STEADY",
        "exposure.nints": n_ints,
        "exposure.ngroups": n_groups,
        "exposure.nframes": n_frames,
        "exposure.groupgap": group_gap,
        "exposure.frame_time": group_time / (n_frames + group_gap),
        "exposure.group_time": group_time,
        "exposure.integration_start": 1,
        "exposure.integration_end": n_ints,
        "exposure.noutputs": detector.outputs if full else 1,
        "subarray.name": "FULL" if full else "WINDOW",
        "subarray.xstart": 1 if full or nx > columns_free else detector.reference_left + 1,
        "subarray.ystart": 1 if full or ny > rows_free else detector.reference_bottom + 1,
        "subarray.xsize": nx,
        "subarray.ysize": ny,
        "subarray.fastaxis": 1,
        "subarray.slowaxis": 2,
    }
