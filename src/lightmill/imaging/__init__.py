"""From count rates to calibrated images, mosaics and catalogs: the steps every imager shares."""

from lightmill.imaging.assign_wcs import AssignWcs
from lightmill.imaging.background import SubtractBackground
from lightmill.imaging.combine_frames import CombineFrames
from lightmill.imaging.dark_image import SubtractDarkImage
from lightmill.imaging.fits_wcs import AssignFitsWcs
from lightmill.imaging.flat_field import CorrectFlatField
from lightmill.imaging.normalize import NormalizeImage
from lightmill.imaging.outlier_detection import DetectOutliers
from lightmill.imaging.photom import CalibrateFlux
from lightmill.imaging.reference_making import MakeDark, MakeFlat
from lightmill.imaging.resample import Resample
from lightmill.imaging.sky_subtract import CombineSky, SubtractSky
from lightmill.imaging.skymatch import MatchSky
from lightmill.imaging.source_catalog import SourceCatalog
from lightmill.imaging.tweakreg import AlignExposures

__all__ = [
    "AlignExposures",
    "AssignFitsWcs",
    "AssignWcs",
    "CalibrateFlux",
    "CombineFrames",
    "CombineSky",
    "CorrectFlatField",
    "DetectOutliers",
    "MakeDark",
    "MakeFlat",
    "MatchSky",
    "NormalizeImage",
    "Resample",
    "SourceCatalog",
    "SubtractBackground",
    "SubtractDarkImage",
    "SubtractSky",
]
