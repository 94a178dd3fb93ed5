"""From count rates to calibrated images, mosaics and catalogs: the steps every imager shares."""

from lightmill.imaging.assign_wcs import AssignWcs
from lightmill.imaging.background import SubtractBackground
from lightmill.imaging.flat_field import CorrectFlatField
from lightmill.imaging.outlier_detection import DetectOutliers
from lightmill.imaging.photom import CalibrateFlux
from lightmill.imaging.resample import Resample

__all__ = [
    "AssignWcs",
    "CalibrateFlux",
    "CorrectFlatField",
    "DetectOutliers",
    "Resample",
    "SubtractBackground",
]
