"""Data models: what a product holds, from FITS and ASDF files and back."""

from __future__ import annotations

from lightmill.models import dq
from lightmill.models.classes import (
    ChisqModel,
    DarkModel,
    FitOptModel,
    GainModel,
    IpcModel,
    LinearityModel,
    MaskModel,
    RampModel,
    RateIntsModel,
    RateModel,
    ReadnoiseModel,
    ReferenceModel,
    ResetModel,
    RscdModel,
    SaturationModel,
    SkyMaskIntsModel,
    SkyMaskModel,
    SuperbiasModel,
    UncalModel,
    class_named,
    class_of_reftype,
    define,
)
from lightmill.models.lazy import ArraySource, LazyArray
from lightmill.models.model import Model
from lightmill.models.namespace import Namespace
from lightmill.models.opening import open, read_header
from lightmill.models.output import atomic, directory_aside, remove_abandoned, synchronise
from lightmill.models.overlay import register_overlay
from lightmill.models.regions import Region

__all__ = [
    "ArraySource",
    "ChisqModel",
    "DarkModel",
    "FitOptModel",
    "GainModel",
    "IpcModel",
    "LazyArray",
    "LinearityModel",
    "MaskModel",
    "Model",
    "Namespace",
    "RampModel",
    "RateIntsModel",
    "RateModel",
    "ReadnoiseModel",
    "ReferenceModel",
    "Region",
    "ResetModel",
    "RscdModel",
    "SaturationModel",
    "SkyMaskIntsModel",
    "SkyMaskModel",
    "SuperbiasModel",
    "UncalModel",
    "atomic",
    "class_named",
    "class_of_reftype",
    "define",
    "directory_aside",
    "dq",
    "open",
    "read_header",
    "register_overlay",
    "remove_abandoned",
    "synchronise",
]
