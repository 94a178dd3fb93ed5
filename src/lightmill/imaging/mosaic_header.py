"""What the metadata of a mosaic say: those of its first exposure, blended with the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lightmill.imaging.plain_systems import TangentSystem
from lightmill.models import Exposures, ResampledModel, put_wcs
from lightmill.models.asdf_tree import array_tag
from lightmill.models.exposures import group_of
from lightmill.models.lineage import force

__all__ = ["blended", "mosaic_of"]

MULTIPLE = "MULTIPLE"  # the field's word where exposures differ

# Of all exposures: path → how their values are blended.
_BLEND: dict[str, Callable[[list[Any]], Any]] = {
    "observation.date": min,
    "observation.time": min,
    "observation.date_beg": min,
    "observation.date_end": max,
    "exposure.start_time": min,
    "exposure.start_time_mjd": min,
    "exposure.end_time": max,
    "exposure.end_time_mjd": max,
    "exposure.start_time_tdb": min,
    "exposure.end_time_tdb": max,
    "exposure.mid_time": lambda values: sum(values) / len(values),
    "exposure.mid_time_mjd": lambda values: sum(values) / len(values),
    "exposure.mid_time_tdb": lambda values: sum(values) / len(values),
    "exposure.integration_start": min,
    "exposure.integration_end": max,
}
_SEVERAL = ("detector", "module", "channel", "filter", "grating", "band")
# Of each exposure taken together counted once: times add up.
_SUMS = (
    "exposure_time",
    "effective_exposure_time",
    "measurement_time",
    "duration",
    "elapsed_exposure_time",
)


def blended(
    models: Sequence[Any], *, blend: bool = True, exposures: Exposures | None = None
) -> dict[str, Any]:
    """Return the metadata that are not those of the first exposure alone.

    Parameters
    ----------
    models : sequence of Model
    blend : bool
        Also dates, detectors and filters; else times only.
    exposures : Exposures, optional
        Where they come from: tells the association.

    Returns
    -------
    changes : dict
        Path → value.
    """
    changes: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    for number, model in enumerate(models):
        groups.setdefault(group_of(model, f"exposure {number}"), model)
    for name in _SUMS:
        times = [model.meta.get(f"exposure.{name}") for model in groups.values()]
        if all(time is not None for time in times):
            changes[f"exposure.{name}"] = float(sum(times))
    changes["resample.pointings"] = len(groups)
    if "exposure.exposure_time" in changes:
        changes["resample.product_exposure_time"] = changes["exposure.exposure_time"]
    if blend:
        for path, rule in _BLEND.items():
            values = [model.meta.get(path) for model in models]
            known = [value for value in values if value is not None]
            if known:
                changes[path] = rule(known)
        for name in _SEVERAL:
            values = [model.meta.get(f"instrument.{name}") for model in models]
            if len(set(values)) > 1:
                changes[f"instrument.{name}"] = MULTIPLE
    if exposures is not None and exposures.path is not None and exposures.association:
        changes["asn.table_name"] = exposures.path.name
        pool = exposures.association.get("asn_pool")
        if pool is not None:
            changes["asn.pool_name"] = str(pool)
    return changes


def mosaic_of(
    first: Any, planes: dict[str, Any], changes: dict[str, Any], wcs: Any
) -> ResampledModel:
    """Return the mosaic of planes and metadata.

    Parameters
    ----------
    first : CalModel
        The first exposure; metadata that nobody changes are its own.
    planes : dict
        Name → array or ArraySource.
    changes : dict
        Path → value.
    wcs : gwcs.WCS, astropy.wcs.WCS or TangentSystem
        Of the mosaic.
    """
    model = ResampledModel(meta=first.meta, **planes)
    for path in model.meta.flat():  # true of an image on its detector only
        if path.startswith(("wcsinfo.", "background.")):
            model.meta[path] = None
    for path, value in changes.items():
        force(model, path, value)
    unit = first.meta.get("bunit_data")
    for path in ("bunit_data", *(["bunit_err"] if "err" in planes else [])):
        if unit is not None:  # exposures may leave it out, all of them
            force(model, path, unit)
    if isinstance(wcs, TangentSystem):
        force(model, "wcs", wcs.node(array_tag()))
        return model
    mosaic: ResampledModel = put_wcs(model, wcs)  # type: ignore[assignment]
    return mosaic
