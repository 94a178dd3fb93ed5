"""The kinds of data every observatory has; each is a schema and a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lightmill.models.model import Model

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "AbVegaOffsetModel",
    "ApcorrModel",
    "AreaModel",
    "CalIntsModel",
    "CalModel",
    "ChisqModel",
    "CubeModel",
    "DarkImageModel",
    "DarkModel",
    "DistortionModel",
    "DrizParsModel",
    "FilterOffsetModel",
    "FitOptModel",
    "FlatModel",
    "GainModel",
    "IpcModel",
    "LinearityModel",
    "MaskModel",
    "PhotomModel",
    "RampModel",
    "RateIntsModel",
    "RateModel",
    "ReadnoiseModel",
    "RectificationModel",
    "ReferenceModel",
    "ResampledModel",
    "ResetModel",
    "RscdModel",
    "SaturationModel",
    "SegmentationModel",
    "SkyMaskIntsModel",
    "SkyMaskModel",
    "SuperbiasModel",
    "UncalModel",
    "class_named",
    "class_of_reftype",
    "define",
]

_classes: dict[str, type[Model]] = {"Model": Model}
_reftypes: dict[str, type[Model]] = {}


def define(model: type[Model]) -> type[Model]:
    """Make a class known by its name and its reference type; usable as a decorator."""
    _classes[model.model_type] = model
    reftype = getattr(model, "reftype", "")
    if reftype:
        _reftypes[reftype] = model
    return model


def class_named(name: str) -> type[Model] | None:
    """Return one of our classes by name, or None."""
    return _classes.get(name)


def class_of_reftype(reftype: str) -> type[Model] | None:
    """Return the class of a reference type, ``DARK``, or None."""
    return _reftypes.get(reftype.strip().lower())


class _Exposure(Model):
    """An exposure in any state."""

    if TYPE_CHECKING:
        data: np.ndarray
        int_times: np.ndarray | None


@define
class UncalModel(_Exposure):
    """Raw counts as they came from the detector [DN].

    ``data`` (integration, group, y, x), uint16 or float32; optional
    ``zeroframe`` (integration, y, x), ``refout``; tables ``group``, ``int_times``.
    """

    schema: ClassVar[str] = "uncal-1.0.0"
    model_type: ClassVar[str] = "UncalModel"

    if TYPE_CHECKING:
        zeroframe: np.ndarray | None
        refout: np.ndarray | None
        group: np.ndarray | None


@define
class RampModel(_Exposure):
    """Ramps on their way to count rates [DN].

    ``data`` float32 and ``groupdq`` uint8 (integration, group, y, x),
    ``pixeldq`` uint32 (y, x), optional ``zeroframe``, ``average_dark_current`` (y, x).
    """

    schema: ClassVar[str] = "ramp-1.0.0"
    model_type: ClassVar[str] = "RampModel"

    if TYPE_CHECKING:
        pixeldq: np.ndarray | None
        groupdq: np.ndarray | None
        zeroframe: np.ndarray | None
        refout: np.ndarray | None
        average_dark_current: np.ndarray | None
        group: np.ndarray | None


@define
class RateModel(_Exposure):
    """Count rates of an exposure [DN/s], with errors, flags and variances, (y, x)."""

    schema: ClassVar[str] = "rate-1.0.0"
    model_type: ClassVar[str] = "RateModel"

    if TYPE_CHECKING:
        err: np.ndarray | None
        dq: np.ndarray | None
        var_poisson: np.ndarray | None
        var_rnoise: np.ndarray | None


@define
class RateIntsModel(RateModel):
    """Count rates of every integration [DN/s], (integration, y, x)."""

    schema: ClassVar[str] = "rateints-1.0.0"
    model_type: ClassVar[str] = "RateIntsModel"
    ending: ClassVar[str] = "ints"  # of product types, where the observatory has such ones


@define
class CalModel(RateModel):
    """A calibrated image, (y, x); its unit is in ``meta.bunit_data``.

    ``area`` is the area of each pixel relative to the nominal one. The world coordinate system
    is no array: see `lightmill.models.wcs_of`.
    """

    schema: ClassVar[str] = "cal-1.0.0"
    model_type: ClassVar[str] = "CalModel"

    if TYPE_CHECKING:
        area: np.ndarray | None
        var_flat: np.ndarray | None


@define
class CalIntsModel(CalModel):
    """Calibrated images of every integration, (integration, y, x); ``area`` (y, x)."""

    schema: ClassVar[str] = "calints-1.0.0"
    model_type: ClassVar[str] = "CalIntsModel"
    ending: ClassVar[str] = "ints"


@define
class CubeModel(_Exposure):
    """Spectra of a field [DN/s]: ``data``, ``err``, ``dq`` (channel, y, x), ``wavelength`` [um].

    Channels are of equal width: keywords of the third axis say so, too.
    """

    schema: ClassVar[str] = "cube-1.0.0"
    model_type: ClassVar[str] = "CubeModel"

    if TYPE_CHECKING:
        err: np.ndarray | None
        dq: np.ndarray | None
        wavelength: np.ndarray | None


@define
class ResampledModel(_Exposure):
    """Images put together on one grid, (y, x); its unit is in ``meta.bunit_data``.

    ``con`` (plane, y, x): bit n of plane p is set where input 32 p + n contributes; ``wht`` the
    weight; ``exptime`` [s] the exposure time of all inputs that contribute; the table ``hdrtab``
    what each input says of itself, a column for each keyword.
    """

    schema: ClassVar[str] = "i2d-1.0.0"
    model_type: ClassVar[str] = "ResampledModel"

    if TYPE_CHECKING:
        err: np.ndarray | None
        con: np.ndarray | None
        wht: np.ndarray | None
        exptime: np.ndarray | None
        hdrtab: np.ndarray | None
        var_poisson: np.ndarray | None
        var_rnoise: np.ndarray | None
        var_flat: np.ndarray | None


@define
class SegmentationModel(_Exposure):
    """Which source each pixel belongs to: ``data`` uint32 (y, x), 0 where there is none."""

    schema: ClassVar[str] = "segm-1.0.0"
    model_type: ClassVar[str] = "SegmentationModel"


@define
class FitOptModel(_Exposure):
    """The fit of every segment between two jumps, (integration, segment, y, x); zero where none is.

    ``slope`` and ``sigslope`` [DN/s], ``var_poisson``, ``var_rnoise`` [(DN/s)²], ``yint`` and
    ``sigyint`` [DN], ``weights`` [s²/DN²]; ``pedestal`` (integration, y, x) [DN]; ``crmag``
    (integration, jump, y, x) [DN].
    """

    schema: ClassVar[str] = "fitopt-1.0.0"
    model_type: ClassVar[str] = "FitOptModel"

    if TYPE_CHECKING:
        slope: np.ndarray
        sigslope: np.ndarray | None
        var_poisson: np.ndarray | None
        var_rnoise: np.ndarray | None
        yint: np.ndarray | None
        sigyint: np.ndarray | None
        pedestal: np.ndarray | None
        weights: np.ndarray | None
        crmag: np.ndarray | None


class ChisqModel(_Exposure):
    """Chi squared about the line fitted to each pixel, (y, x); files hold it as any image."""

    schema: ClassVar[str] = "chisq-1.0.0"
    model_type: ClassVar[str] = "RateModel"


class SkyMaskModel(_Exposure):
    """Pixels that see nothing but sky, 1 or 0, (y, x); files hold it as any image."""

    schema: ClassVar[str] = "skymask-1.0.0"
    model_type: ClassVar[str] = "RateModel"


class SkyMaskIntsModel(SkyMaskModel):
    """The same for every integration, (integration, y, x)."""

    model_type: ClassVar[str] = "RateIntsModel"


@define
class ReferenceModel(Model):
    """A reference file of a kind that has no class of its own."""

    schema: ClassVar[str] = "reference-1.0.0"
    model_type: ClassVar[str] = "ReferenceModel"
    reftype: ClassVar[str] = ""

    if TYPE_CHECKING:
        data: np.ndarray
        dq: np.ndarray | None


@define
class MaskModel(ReferenceModel):
    """Pixels that are always bad: ``dq`` uint32 (y, x)."""

    schema: ClassVar[str] = "mask-1.0.0"
    model_type: ClassVar[str] = "MaskModel"
    reftype: ClassVar[str] = "mask"


@define
class SaturationModel(ReferenceModel):
    """Counts at which a pixel saturates [DN], (y, x)."""

    schema: ClassVar[str] = "saturation-1.0.0"
    model_type: ClassVar[str] = "SaturationModel"
    reftype: ClassVar[str] = "saturation"


@define
class SuperbiasModel(ReferenceModel):
    """Mean signal right after a reset [DN], (y, x)."""

    schema: ClassVar[str] = "superbias-1.0.0"
    model_type: ClassVar[str] = "SuperbiasModel"
    reftype: ClassVar[str] = "superbias"


@define
class IpcModel(ReferenceModel):
    """Deconvolution kernel of inter-pixel capacitance, one or one per pixel."""

    schema: ClassVar[str] = "ipc-1.0.0"
    model_type: ClassVar[str] = "IpcModel"
    reftype: ClassVar[str] = "ipc"


@define
class LinearityModel(ReferenceModel):
    """Coefficients of the correction for non-linearity, (coefficient, y, x)."""

    schema: ClassVar[str] = "linearity-1.0.0"
    model_type: ClassVar[str] = "LinearityModel"
    reftype: ClassVar[str] = "linearity"

    if TYPE_CHECKING:
        coeffs: np.ndarray
        inv_coeffs: np.ndarray | None


@define
class DarkModel(ReferenceModel):
    """Signal collected without light [DN], per group, perhaps per integration."""

    schema: ClassVar[str] = "dark-1.0.0"
    model_type: ClassVar[str] = "DarkModel"
    reftype: ClassVar[str] = "dark"

    if TYPE_CHECKING:
        average_dark_current: np.ndarray | None


@define
class DarkImageModel(ReferenceModel):
    """Dark signal of a frame that is one image: ``data``, ``err`` float32, ``dq`` uint32 (y, x).

    It has no reference type of its own: its files say DARK, as those of ramps do, and name their
    kind in DATAMODL.
    """

    schema: ClassVar[str] = "dark-image-1.0.0"
    model_type: ClassVar[str] = "DarkImageModel"

    if TYPE_CHECKING:
        err: np.ndarray | None


@define
class ResetModel(ReferenceModel):
    """Signal that a reset leaves in the first groups [DN]."""

    schema: ClassVar[str] = "reset-1.0.0"
    model_type: ClassVar[str] = "ResetModel"
    reftype: ClassVar[str] = "reset"


@define
class RscdModel(ReferenceModel):
    """Groups to leave out after a reset: table by subarray and readout pattern."""

    schema: ClassVar[str] = "rscd-1.0.0"
    model_type: ClassVar[str] = "RscdModel"
    reftype: ClassVar[str] = "rscd"

    if TYPE_CHECKING:
        rscd_group_skip_table: np.ndarray


@define
class GainModel(ReferenceModel):
    """Electrons per count [electron/DN], (y, x)."""

    schema: ClassVar[str] = "gain-1.0.0"
    model_type: ClassVar[str] = "GainModel"
    reftype: ClassVar[str] = "gain"


@define
class ReadnoiseModel(ReferenceModel):
    """Noise of the difference of two reads [DN], (y, x)."""

    schema: ClassVar[str] = "readnoise-1.0.0"
    model_type: ClassVar[str] = "ReadnoiseModel"
    reftype: ClassVar[str] = "readnoise"


@define
class RectificationModel(ReferenceModel):
    """Where the light of each spatial element of a spectrograph falls (rectification matrix).

    Flux 1 of element e in column c adds ``weights[e, r, c]`` to row ``rows[e, c] + r``; its
    wavelength is ``wavelength[e, c]`` [um], its place in a cube ``position[e]``, x and y.
    Elements are in the order of their rows.
    """

    schema: ClassVar[str] = "rectmat-1.0.0"
    model_type: ClassVar[str] = "RectificationModel"
    reftype: ClassVar[str] = "rectmat"

    if TYPE_CHECKING:
        weights: np.ndarray
        rows: np.ndarray
        wavelength: np.ndarray
        position: np.ndarray


@define
class FlatModel(ReferenceModel):
    """Response of each pixel to uniform light, relative, (y, x)."""

    schema: ClassVar[str] = "flat-1.0.0"
    model_type: ClassVar[str] = "FlatModel"
    reftype: ClassVar[str] = "flat"

    if TYPE_CHECKING:
        err: np.ndarray | None


@define
class AreaModel(ReferenceModel):
    """Area of each pixel relative to the nominal one, (y, x)."""

    schema: ClassVar[str] = "area-1.0.0"
    model_type: ClassVar[str] = "AreaModel"
    reftype: ClassVar[str] = "area"


@define
class PhotomModel(ReferenceModel):
    """Surface brightness of a count rate, by filter: table with photmjsr [MJy/sr per DN/s]."""

    schema: ClassVar[str] = "photom-1.0.0"
    model_type: ClassVar[str] = "PhotomModel"
    reftype: ClassVar[str] = "photom"

    if TYPE_CHECKING:
        phot_table: np.ndarray
        timecoeff_linear: np.ndarray | None
        timecoeff_exponential: np.ndarray | None
        timecoeff_powerlaw: np.ndarray | None


@define
class ApcorrModel(ReferenceModel):
    """Aperture corrections, by filter: radius [pixel] of an encircled energy, factor, sky annulus."""

    schema: ClassVar[str] = "apcorr-1.0.0"
    model_type: ClassVar[str] = "ApcorrModel"
    reftype: ClassVar[str] = "apcorr"

    if TYPE_CHECKING:
        apcorr_table: np.ndarray


@define
class DrizParsModel(ReferenceModel):
    """Parameters of drizzling, by filter and number of exposures: a table."""

    schema: ClassVar[str] = "drizpars-1.0.0"
    model_type: ClassVar[str] = "DrizParsModel"
    reftype: ClassVar[str] = "drizpars"

    if TYPE_CHECKING:
        drizpars_table: np.ndarray


@define
class DistortionModel(ReferenceModel):
    """From pixels to the telescope's frame: ``content(model, "model")`` is the transform."""

    schema: ClassVar[str] = "distortion-1.0.0"
    model_type: ClassVar[str] = "DistortionModel"
    reftype: ClassVar[str] = "distortion"


@define
class FilterOffsetModel(ReferenceModel):
    """Shift of the image that each filter makes [pixel]: ``content(model, "filters")``."""

    schema: ClassVar[str] = "filteroffset-1.0.0"
    model_type: ClassVar[str] = "FilterOffsetModel"
    reftype: ClassVar[str] = "filteroffset"


@define
class AbVegaOffsetModel(ReferenceModel):
    """From AB to Vega magnitudes, by filter: ``content(model, "abvega_offset")`` is a table."""

    schema: ClassVar[str] = "abvegaoffset-1.0.0"
    model_type: ClassVar[str] = "AbVegaOffsetModel"
    reftype: ClassVar[str] = "abvegaoffset"
