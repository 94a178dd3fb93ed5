"""From count rates to calibrated images, mosaics and catalogs: the steps every imager shares."""

from lightmill.imaging.assign_wcs import AssignWcs
from lightmill.imaging.background import SubtractBackground
from lightmill.imaging.flat_field import CorrectFlatField
from lightmill.imaging.outlier_detection import DetectOutliers
from lightmill.imaging.photom import CalibrateFlux
from lightmill.imaging.resample import Resample
from lightmill.imaging.skymatch import MatchSky
from lightmill.imaging.source_catalog import SourceCatalog
from lightmill.imaging.tweakreg import AlignExposures

__all__ = [
    "AlignExposures",
    "AssignWcs",
    "CalibrateFlux",
    "CorrectFlatField",
    "DetectOutliers",
    "MatchSky",
    "Resample",
    "SourceCatalog",
    "SubtractBackground",
]
