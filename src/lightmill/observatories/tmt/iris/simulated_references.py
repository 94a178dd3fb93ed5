"""References of simulated detectors, in the form the observatory's pipeline of 2021 has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lightmill.models import Region
from lightmill.observatories.tmt.iris.simulated_detector import Camera, Pixels

__all__ = ["write_references"]

# Flags of the masks of 2021, by the names of their DQ_DEF table.
FLAGS = {
    "DO_NOT_USE": 1, "HOT": 2048, "DEAD": 1024, "NO_FLAT_FIELD": 1 << 18, "REFERENCE_PIXEL": 1 << 31
}  # fmt: skip


def write_references(
    directory: str | Path,
    camera: Camera,
    pixels: Pixels,
    detector: str,
    filter_: str,
    *,
    seed: int = 0,
) -> dict[str, Path]:
    """Write dark, flat, mask, linearity coefficients and drizzle parameters in the form of 2021.

    Returns
    -------
    references : dict
        Type → file. Dark and flat are measured with small errors; pixels that could not be are NaN.
        The table of drizzle parameters is that of all detectors.
    """
    from astropy.io import fits

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng((seed, 77))
    shape = pixels.flat.shape
    edge = camera.is_reference(Region(0, shape[0], 0, shape[1]))
    blind = pixels.flat == 0
    dead = blind & ~edge
    noise = 1.0 if camera.noise else 0.0
    dark_error, flat_error = 0.004, 0.0005
    dark = pixels.dark + noise * rng.normal(0, dark_error, shape)
    flat = pixels.flat + noise * rng.normal(0, flat_error, shape)
    dark[dead] = flat[blind] = np.nan
    dark[edge] = 0.0
    dq = np.where(dead, FLAGS["DO_NOT_USE"] | FLAGS["DEAD"], 0).astype(np.uint32)
    dq |= np.where(pixels.dark > 1.0, FLAGS["HOT"], 0).astype(np.uint32)
    dq |= np.where(edge, FLAGS["REFERENCE_PIXEL"], 0).astype(np.uint32)
    linearity = np.zeros((5, *shape), np.float32)
    linearity[1] = pixels.curvature
    said = {"DETECTOR": detector, "FILTER": filter_, "PUPIL": "CLEAR"}
    planes: dict[str, list[Any]] = {
        "dark": [("SCI", dark), ("ERR", np.full(shape, noise * dark_error))],
        "flat": [
            ("SCI", flat),
            ("ERR", np.full(shape, noise * flat_error)),
            ("DQ", np.where(blind, FLAGS["NO_FLAT_FIELD"], 0).astype(np.uint32)),
        ],
        "mask": [("DQ", dq)],
    }
    names = {"dark": "TMTDarkModel", "flat": "TMTFlatModel", "mask": "TMTMaskModel"}
    made = {}
    for kind in (*planes, "nonlincoeff", "drizpars"):
        of_all = kind == "drizpars"
        header = fits.Header(
            {
                "TELESCOP": "TMT", "INSTRUME": "IRIS", **(dict.fromkeys(said, "ANY") if of_all else said),
                "REFTYPE": kind.upper(), "PEDIGREE": "SIMULATION", "AUTHOR": "Lightmill",
                "DESCRIP": f"Simulated {kind}",
                "USEAFTER": str(camera.reference_header["USEAFTER"]), "SUBARRAY": "FULL",
                "SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": shape[1], "SUBSIZE2": shape[0],
            }
        )  # fmt: skip
        if kind in names:
            header["DATAMODL"] = names[kind]
        whose = "IRIS" if of_all else f"{detector}_{filter_}"
        path = directory / f"{whose}_{kind}.fits"
        hdus: list[Any] = [
            fits.PrimaryHDU(linearity if kind == "nonlincoeff" else None, header=header)
        ]
        hdus += [
            fits.ImageHDU(one if one.dtype == np.uint32 else one.astype(np.float32), name=name)
            for name, one in planes.get(kind, ())
        ]
        if kind in {"mask", "flat"}:
            hdus.append(_flag_table())
        if of_all:
            hdus.append(_drizzle_table())
        fits.HDUList(hdus).writeto(path, overwrite=True)
        made[kind] = path
    return made


def _flag_table() -> Any:
    """Return the table that says what the bits of a DQ image are called."""
    from astropy.io import fits

    rows = [(value.bit_length() - 1, value, name, "") for name, value in FLAGS.items()]
    kinds = [("BIT", "i4"), ("VALUE", "i8"), ("NAME", "S40"), ("DESCRIPTION", "S80")]
    return fits.BinTableHDU(np.array(rows, np.dtype(kinds)), name="DQ_DEF")


def _drizzle_table() -> Any:
    """Return drizzle parameters: the more exposures, the smaller the drops."""
    from astropy.io import fits

    rows = [
        (1, "ANY", 1.0, "square", "INDEF", "exptime", 10),
        (4, "ANY", 0.8, "square", "INDEF", "exptime", 10),
    ]
    kinds = [("numimages", "i2"), ("filter", "S12"), ("pixfrac", "f4"), ("kernel", "S10"),
             ("fillval", "S10"), ("wht_type", "S10"), ("stepsize", "i4")]  # fmt: skip
    return fits.BinTableHDU(np.array(rows, np.dtype(kinds)), name="DRIZPARS")
