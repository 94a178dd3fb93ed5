"""Cosmic rays as steps in a ramp: the two-point-difference search.

References
----------
.. [1] Anderson, R. E. & Gordon, K. D. 2011, PASP, 123, 1237.
.. [2] Brandt, T. D. 2024, PASP, 136, 045005.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from lightmill.errors import ShapeError, UnknownNameError
from lightmill.kernels import _arrays
from lightmill.kernels._library import address, kernel

__all__ = ["METHODS", "flag_jumps"]

METHODS = {"peer": 0, "signed": 1}
_DO_NOT_USE = 1


class _Parameters(ctypes.Structure):
    """Mirrors ``lm_jump_parameters`` of lightmill/jump.h."""

    _fields_ = [
        *(
            (name, ctypes.c_double)
            for name in (
                "rejection_threshold",
                "three_group_rejection_threshold",
                "four_group_rejection_threshold",
                "min_jump_to_flag_neighbors",
                "max_jump_to_flag_neighbors",
                "after_jump_flag_e1",
                "after_jump_flag_e2",
                "n_frames",
            )
        ),
        *(
            (name, ctypes.c_size_t)
            for name in (
                "after_jump_flag_n1",
                "after_jump_flag_n2",
                "min_diffs_single_pass",
                "minimum_sigclip_groups",
                "usable_groups",
            )
        ),
        ("flag_4_neighbors", ctypes.c_int),
        ("only_use_ints", ctypes.c_int),
        ("method", ctypes.c_int),
        ("diff_times", ctypes.c_void_p),
    ]


_flag_jumps = kernel("lm_flag_jumps", "p s p s p p p p n n", answers=True)


def flag_jumps(
    data: np.ndarray,
    groupdq: np.ndarray,
    pixeldq: np.ndarray,
    gain: np.ndarray,
    readnoise: np.ndarray,
    *,
    nframes: float,
    group_time: float = 1.0,
    rejection_threshold: float = 4.0,
    three_group_rejection_threshold: float = 6.0,
    four_group_rejection_threshold: float = 5.0,
    flag_4_neighbors: bool = True,
    min_jump_to_flag_neighbors: float = 10.0,
    max_jump_to_flag_neighbors: float = 1000.0,
    after_jump_flag_dn1: float = 0.0,
    after_jump_flag_n1: int = 0,
    after_jump_flag_dn2: float = 0.0,
    after_jump_flag_n2: int = 0,
    median_gain: float | None = None,
    min_diffs_single_pass: int = 10,
    only_use_ints: bool = True,
    minimum_sigclip_groups: int = 100,
    method: str = "signed",
    diff_times: Sequence[float] | None = None,
    usable_groups: int | None = None,
    count_rows: tuple[int, int] | None = None,
) -> int:
    """Flag the groups in which charge arrived at once.

    The noise of a difference of two groups is Poisson noise of the pixel's median difference
    plus read noise; a difference too many sigma from the others is a jump of its second group
    [1]_.
    From `minimum_sigclip_groups` integrations on, a difference is compared with the same
    difference of the other integrations instead.

    Parameters
    ----------
    data : (nints, ngroups, ny, nx) ndarray of float32
        Signal [DN]; not changed.
    groupdq : (nints, ngroups, ny, nx) ndarray of uint8
        JUMP_DET is set in place, and removed from groups DO_NOT_USE or SATURATED.
    pixeldq : (ny, nx) ndarray of uint32
        Pixels DO_NOT_USE are not searched ("signed"), so that they flag no neighbours.
    gain : (ny, nx) ndarray of float32
        [electron / DN]; nothing is found where it is NaN.
    readnoise : (ny, nx) ndarray of float32
        Noise of the difference of two reads [DN].
    nframes : float
        Reads averaged in a group.
    group_time : float
        Time between groups [s]; only `diff_times` is measured in it.
    rejection_threshold, three_group_rejection_threshold, four_group_rejection_threshold : float
        Threshold for four and more, two, and three usable differences [sigma].
    flag_4_neighbors : bool
        Flag the four neighbours of jumps of more than `min_jump_to_flag_neighbors` and less
        than `max_jump_to_flag_neighbors` [sigma].
    after_jump_flag_dn1, after_jump_flag_dn2 : float
        Jumps of at least this [DN at `median_gain`] also flag later groups,
    after_jump_flag_n1, after_jump_flag_n2 : int
        so many of them.
    median_gain : float, optional
        Median gain of the whole frame [electron / DN]; of `gain` when not given.
    min_diffs_single_pass : int
        "peer": from this number of differences in an integration on, outliers of all are flagged
        at once; below it the worst is removed and the rest looked at again, as "signed" always
        does.
    only_use_ints : bool
        Compare with the same difference of other integrations only, not with all differences.
    minimum_sigclip_groups : int
        Number of integrations (or groups of all, without `only_use_ints`) to compare with.
    method : {"signed", "peer"}
        "signed": the deviation of a signed difference from the generalised least-squares mean
        of all, in units of its own noise [2]_, so that a threshold means its false-alarm rate
        whatever the number of groups and the kind of noise. Thresholds for two and three
        differences are scaled: the defaults (6, 5, 4) all mean 4 sigma, 6.3e-5 of the
        differences.  "peer": absolute differences and a median without the largest, as in the
        pipelines in use.
    diff_times : sequence of float, optional
        Time from each group to the next [s], for uneven ramps.
    usable_groups : int, optional
        Groups that are not DO_NOT_USE everywhere in the frame; counted in `groupdq` when not
        given. Give it when `groupdq` is a band of a frame.
    count_rows : (int, int), optional
        Rows (first, end) whose jumps are counted; all when not given.

    Returns
    -------
    int
        Jumps found, without neighbours and later groups.

    Raises
    ------
    ShapeError
        Arrays that do not belong together, or fewer than two groups.
    UnknownNameError
        No such `method`.

    Notes
    -----
    A band of rows gives the bits of the whole frame but for its first and last row, which need
    the row beyond for `flag_4_neighbors`.
    """
    if method not in METHODS:
        raise UnknownNameError("jump method", method, METHODS)
    shape = _arrays.ramp(data, "data")
    dq_shape = _arrays.ramp(groupdq, "groupdq", np.uint8, data.shape)
    _, ngroups, ny, nx = data.shape
    yx = (ny, nx)
    pixeldq, *_ = _arrays.planes(pixeldq, "pixeldq", np.uint32, yx, 2)
    gain, *_ = _arrays.planes(gain, "gain", np.float32, yx, 2)
    readnoise, *_ = _arrays.planes(readnoise, "readnoise", np.float32, yx, 2)
    times = None
    if diff_times is not None:
        times = np.ascontiguousarray(np.asarray(diff_times, dtype=float) / group_time, np.float32)
        if times.shape != (ngroups - 1,):
            raise ShapeError(
                "diff_times must hold one time per difference",
                found=times.shape,
                expected=(ngroups - 1,),
            )
    if usable_groups is None:
        usable_groups = count_usable_groups(groupdq)
    if median_gain is None:
        with_gain = gain[np.isfinite(gain)]
        median_gain = float(np.median(with_gain)) if with_gain.size else 1.0
    parameters = _Parameters(
        rejection_threshold,
        three_group_rejection_threshold,
        four_group_rejection_threshold,
        min_jump_to_flag_neighbors,
        max_jump_to_flag_neighbors,
        after_jump_flag_dn1 * median_gain,
        after_jump_flag_dn2 * median_gain,
        nframes,
        after_jump_flag_n1,
        after_jump_flag_n2,
        min_diffs_single_pass,
        minimum_sigclip_groups,
        usable_groups,
        flag_4_neighbors,
        only_use_ints,
        METHODS[method],
        address(times),
    )
    found = _flag_jumps(
        address(data),
        shape,
        address(groupdq),
        dq_shape,
        address(pixeldq),
        address(gain),
        address(readnoise),
        ctypes.addressof(parameters),
        *(count_rows or (0, ny)),
    )
    return int(found)  # type: ignore[call-overload]  # a kernel that answers answers a count


def count_usable_groups(groupdq: np.ndarray) -> int:
    """Count the groups that are not DO_NOT_USE in every pixel of every integration.

    Parameters
    ----------
    groupdq : (nints, ngroups, ny, nx) ndarray of uint8
        Flags of the whole frame.

    Returns
    -------
    int
        From 0 to ngroups.
    """
    return sum(
        any(not (plane & _DO_NOT_USE).all() for plane in groupdq[:, group])
        for group in range(groupdq.shape[1])
    )
