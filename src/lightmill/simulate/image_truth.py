"""What is true of a simulated image, in the frame of its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.simulate.detector import Detector
from lightmill.simulate.facts import InstrumentFacts
from lightmill.simulate.fits_stream import FitsStream
from lightmill.simulate.imaging_references import Response
from lightmill.simulate.made import CLASS_BITS

__all__ = ["write_image_truth"]


def write_image_truth(
    path: Path,
    facts: InstrumentFacts,
    detector: Detector,
    response: Response,
    light: np.ndarray,
    tables: Mapping[str, np.ndarray],
    keywords: Mapping[str, Any],
) -> None:
    """Write the truth of an exposure of a field on the sky.

    Parameters
    ----------
    path : Path
        The file.
    facts : InstrumentFacts
        The detector, with the filter in the beam.
    detector : Detector
        Its pixels.
    response : Response
        Their answer to light.
    light : (ny, nx) ndarray of float32
        Photo-electrons per second that a pixel detects.
    tables : mapping
        Name to rows.
    keywords : mapping
        Of the primary header; BRIGHT, the factor on the light, is needed.
    """
    d = detector
    sky = facts.optics.sky * keywords["BRIGHT"]
    classes = np.zeros(light.shape, np.uint8)
    classes[d.is_reference] |= CLASS_BITS["reference"]
    for name in ("dead", "hot", "no_linearity", "no_saturation", "bad_gain"):
        classes[d.marks[name]] |= CLASS_BITS[name]
    classes[light > 20 * sky] |= CLASS_BITS["bright"]
    cards = {
        **keywords,
        "SKY": (sky, "Sky in a nominal pixel [electron/s]"),
        "PERJY": (facts.optics.electrons_per_jansky, "Electrons/s of one jansky"),
        **{f"CLASS{bit}": name for name, bit in CLASS_BITS.items()},
    }
    with FitsStream(path, cards) as file:
        file.image("RATE", light / d.gain, {"BUNIT": "DN/s"})
        file.image("DARK", d.dark / d.gain, {"BUNIT": "DN/s"})
        file.image("FSAT", d.full_well, {"BUNIT": "DN"})
        file.image("BIAS", d.bias, {"BUNIT": "DN"})
        file.image("GAIN", d.gain, {"BUNIT": "electron/DN"})
        file.image("CDS", np.sqrt(np.float32(2)) * d.read_noise, {"BUNIT": "DN"})
        file.image("QE", response.efficiency)
        file.image("AREA", response.area)
        file.image("CLASS", classes)
        for name, rows in tables.items():
            file.table(name, rows)
