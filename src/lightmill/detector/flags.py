"""Steps that say which groups and pixels cannot be used, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError, ShapeError
from lightmill.kernels import arithmetic, flags
from lightmill.kernels.saturation import flag_saturation, flag_zeroframe, halo_rows
from lightmill.models import (
    MaskModel,
    RampModel,
    RscdModel,
    SaturationModel,
    SuperbiasModel,
)
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Skipped, Step, param

__all__ = [
    "FlagChargeMigration",
    "FlagFirstFrame",
    "FlagFirstGroups",
    "FlagLastFrame",
    "FlagSaturation",
    "InitializeDq",
]

DO_NOT_USE = PIXEL["DO_NOT_USE"]
SATURATED = PIXEL["SATURATED"]
FLUX_ESTIMATED = PIXEL["FLUX_ESTIMATED"]


class InitializeDq(Step):
    """Start the data quality of every pixel from what is known of the detector."""

    name = "dq_init"
    reads, writes = RampModel, RampModel
    references = {"mask": MaskModel}
    rows = True
    flags_groups = True

    @dataclass(frozen=True)
    class Parameters:
        user_supplied_dq: str | None = param(None, "file with flags to add to the reference's")

    def survey(self, rows: Any, **references: Any) -> Any:  # noqa: ARG002
        """Open the user's own flags."""
        if self.parameters.user_supplied_dq is None:
            return None
        from lightmill import models

        own = models.open(self.parameters.user_supplied_dq)
        if not own.has("dq"):
            raise ConfigurationError(
                "the file has no DQ image",
                place=f"dq_init.user_supplied_dq = {self.parameters.user_supplied_dq}",
                expected="an extension DQ",
            )
        if own.array("dq").shape[-2:] != rows.frame:
            raise ShapeError(
                "the user's flags do not fit the data",
                place=self.parameters.user_supplied_dq,
                found=own.array("dq").shape,
                expected=rows.frame,
            )
        return own.dq

    def apply(self, ramp: RampModel, *, mask: MaskModel, survey: Any = None) -> RampModel:
        """OR the mask into the pixels' flags, DO_NOT_USE into every group's."""
        dq = mask.dq
        if survey is not None:
            y0, y1, x0, x1 = ramp.region
            dq = dq | survey[y0:y1, x0:x1].astype(np.uint32)
        arithmetic.flag_or(ramp.pixeldq, dq)
        unusable = (dq & DO_NOT_USE).astype(np.uint8)
        if unusable.any():
            arithmetic.group_or(ramp.groupdq, unusable)
        return ramp


class FlagSaturation(Step):
    """Flag the groups in which a pixel is full, and what it spills into."""

    name = "saturation"
    reads, writes = RampModel, RampModel
    references = {"saturation": SaturationModel, "superbias": SuperbiasModel}
    optional = frozenset({"superbias"})
    rows = True
    flags_groups = True

    @dataclass(frozen=True)
    class Parameters:
        n_pix_grow_sat: int = param(1, "pixels around a saturated one to flag too", ge=0, le=50)
        use_readpatt: bool = param(True, "find saturation hidden in averaged frames")

    def halo_rows(self, model: Any, **references: Any) -> int:  # noqa: ARG002
        """Return how far saturated pixels flag around them."""
        averaged = (model.meta.exposure.nframes or 1) > 1 and self.parameters.use_readpatt
        return halo_rows(self.parameters.n_pix_grow_sat, has_dilution=averaged)

    def apply(
        self, ramp: RampModel, *, saturation: SaturationModel, superbias: SuperbiasModel | None
    ) -> RampModel:
        """Compare raw signal with the pixel's threshold, group by group."""
        exposure = ramp.meta.exposure
        nframes = exposure.nframes or 1
        ngroups = ramp.data.shape[1]
        reads = np.arange(ngroups * nframes, dtype=np.float64).reshape(ngroups, nframes) + 1
        bias = None if superbias is None else superbias.data
        pattern = self.parameters.use_readpatt
        flag_saturation(
            ramp.data,
            ramp.groupdq,
            ramp.pixeldq,
            saturation.data,
            saturation.dq,
            grow=self.parameters.n_pix_grow_sat,
            dilution=(reads.mean(1) / reads[:, -1]).tolist() if pattern and nframes > 1 else None,
            bias=bias if pattern else None,
            read_means=reads.mean(1).tolist() if pattern else None,
            read_lasts=reads[:, -1].tolist() if pattern else None,
            nframes=nframes,
        )
        if ramp.has("zeroframe"):
            zero = np.array(ramp.zeroframe)
            flag_zeroframe(
                zero,
                saturation.data,
                self.parameters.n_pix_grow_sat,
                reference_dq=saturation.dq,
            )
            ramp = ramp.evolve(zeroframe=zero)
        return ramp


class FlagFirstFrame(Step):
    """Leave the first group of each integration out."""

    name = "firstframe"
    reads, writes = RampModel, RampModel
    rows = True
    leaves_groups_out = True
    flags_groups = True
    skip_by_default = True

    @dataclass(frozen=True)
    class Parameters:
        bright_use_group1: bool = param(True, "keep it where the third group is saturated")

    def apply(self, ramp: RampModel) -> RampModel | Skipped:
        """Flag group 0 DO_NOT_USE when more than three groups were taken."""
        if ramp.data.shape[1] <= 3:
            return Skipped(ramp, "three groups or fewer")
        first = ramp.groupdq[:, 0]
        if self.parameters.bright_use_group1:
            bright = (ramp.groupdq[:, 2] & SATURATED) != 0
            bright &= (first & SATURATED) == 0
            first |= np.where(bright, 0, DO_NOT_USE).astype(np.uint8)
            ramp.pixeldq[bright.any(axis=0)] |= np.uint32(FLUX_ESTIMATED)
        else:
            first |= np.uint8(DO_NOT_USE)
        return ramp


class FlagLastFrame(Step):
    """Leave the last group of each integration out: the reset of the neighbouring rows disturbs it."""

    name = "lastframe"
    reads, writes = RampModel, RampModel
    rows = True
    leaves_groups_out = True
    flags_groups = True

    def apply(self, ramp: RampModel) -> RampModel | Skipped:
        """Flag the last group DO_NOT_USE when more than two groups were taken."""
        if ramp.data.shape[1] <= 2:
            return Skipped(ramp, "two groups or fewer")
        ramp.groupdq[:, -1] |= np.uint8(DO_NOT_USE)
        return ramp


class FlagFirstGroups(Step):
    """Leave the groups out that the reset switch charge decay disturbs."""

    name = "rscd"
    reads, writes = RampModel, RampModel
    references = {"rscd": RscdModel}
    rows = True
    leaves_groups_out = True
    flags_groups = True

    def apply(self, ramp: RampModel, *, rscd: RscdModel) -> RampModel | Skipped:
        """Flag as many first groups as the reference says, fewer where a pixel saturates soon."""
        ngroups = ramp.data.shape[1]
        if ngroups < 3:
            return Skipped(ramp, "fewer than three groups")
        counts = groups_to_leave_out(ramp, rscd)
        if counts is None:
            return Skipped(ramp, "the reference has no row for this subarray and read pattern")
        if ngroups <= 5:
            counts = (min(counts[0], 1), min(counts[1], 1))  # none stays none
        first, later = (max(0, min(n, ngroups - 3)) for n in counts)
        start = ramp.meta.exposure.integration_start or 1
        flags.flag_first_groups(ramp.groupdq, ramp.pixeldq, first if start == 1 else later, later)
        return ramp


def groups_to_leave_out(ramp: RampModel, rscd: RscdModel) -> tuple[int, int] | None:
    """Return the groups to leave out of the first and of later integrations."""
    subarray = str(ramp.meta.subarray.name or "").upper()
    pattern = str(ramp.meta.exposure.readpatt or "").upper()
    for row in rscd.rscd_group_skip_table:
        names = {n.lower(): n for n in row.dtype.names}
        text = [_text(row[names[n]]).upper() for n in ("subarray", "readpatt")]
        if text == [subarray, pattern]:
            return int(row[names["group_skip1"]]), int(row[names["group_skip"]])
    return None


def _text(value: Any) -> str:
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()


class FlagChargeMigration(Step):
    """Leave out the groups in which a bright pixel pushes charge into its neighbours."""

    name = "charge_migration"
    reads, writes = RampModel, RampModel
    rows = True
    skip_by_default = True

    @dataclass(frozen=True)
    class Parameters:
        signal_threshold: float = param(
            25000.0, "signal above which charge migrates", ge=0, unit="DN"
        )

    def halo_rows(self, model: Any, **references: Any) -> int:  # noqa: ARG002
        """Its four neighbours."""
        return 1

    def apply(self, ramp: RampModel) -> RampModel | Skipped:
        """Flag a bright group and all later ones, of the pixel and its four neighbours [1]_.

        References
        ----------
        .. [1] Goudfrooij, P., et al. 2024, PASP, 136, 014503.
        """
        if ramp.data.shape[1] < 3:
            return Skipped(ramp, "fewer than three groups")
        flags.flag_charge_migration(ramp.data, ramp.groupdq, self.parameters.signal_threshold)
        return ramp
