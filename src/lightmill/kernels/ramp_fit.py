"""Count rates of ramps: least squares over segments, and the likelihood of all differences.

References
----------
.. [1] Fixsen, D. J., et al. 2000, PASP, 112, 1350.
.. [2] Brandt, T. D. 2024, PASP, 136, 045004 and 045005.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lightmill.errors import ShapeError, UnknownNameError, UsageError
from lightmill.kernels import _arrays
from lightmill.kernels._library import address, kernel

__all__ = ["RampFit", "Segments", "empty_fit", "fit_ramps", "fit_ramps_likelihood", "read_times_of"]


class Segments(NamedTuple):
    """What became of the segments between jumps; zero where there is none. All float32.

    (nints, nsegments, ny, nx), in order of time: `slope` and its `sigslope` [DN/s], `var_poisson`
    and `var_rnoise` [(DN/s)²], `yint` and `sigyint` [DN], the signal at the time of the first
    group, `weights` [s²/DN²], 1 / `var_rnoise`.  The sigmas are what read noise alone does to the
    line that was fitted, whatever `variances` says.
    `crmag` (nints, njumps, ny, nx): differences into the groups flagged JUMP_DET [DN].
    `pedestal` (nints, ny, nx): signal at the reset [DN], from the first group that can be used.
    """

    slope: np.ndarray
    sigslope: np.ndarray
    var_poisson: np.ndarray
    var_rnoise: np.ndarray
    yint: np.ndarray
    sigyint: np.ndarray
    weights: np.ndarray
    crmag: np.ndarray
    pedestal: np.ndarray


class RampFit(NamedTuple):
    """Rates of the exposure (ny, nx) and of its integrations (nints, ny, nx).

    `slope` and `err` in DN/s, the variances in (DN/s)², all float32; `dq` uint32. Where there is
    no rate: NaN, zero error and variances, DO_NOT_USE. `chisq` only from the likelihood fit,
    `segments` only from least squares, when asked for.
    """

    slope: np.ndarray
    err: np.ndarray
    dq: np.ndarray
    var_poisson: np.ndarray
    var_rnoise: np.ndarray
    int_slope: np.ndarray | None
    int_err: np.ndarray | None
    int_dq: np.ndarray | None
    int_var_poisson: np.ndarray | None
    int_var_rnoise: np.ndarray | None
    chisq: np.ndarray | None = None
    int_chisq: np.ndarray | None = None
    segments: Segments | None = None


class _Planes(ctypes.Structure):
    """Mirrors ``lm_rate_planes``."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("slope", "err", "var_poisson", "var_rnoise", "dq")),
        ("int_stride", ctypes.c_size_t),
    ]


class _OlsParameters(ctypes.Structure):
    """Mirrors ``lm_ols_parameters``."""

    _fields_ = [
        *((name, ctypes.c_double) for name in ("group_time", "frame_time", "n_frames")),
        *((name, ctypes.c_size_t) for name in ("first_group", "last_group")),
        *(
            (name, ctypes.c_int)
            for name in (
                "suppress_one_group",
                "unweighted",
                "dark_in_electrons",
                "exact_variances",
            )
        ),
        ("group_times", ctypes.c_void_p),
        ("zeroframe", ctypes.c_void_p),
        ("zeroframe_stride", ctypes.c_size_t),
    ]


class _SegmentPlanes(ctypes.Structure):
    """Mirrors ``lm_segment_planes``."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("n_segments", "n_jumps")),
        *((name, ctypes.c_void_p) for name in Segments._fields),
        ("first_group_age", ctypes.c_double),
    ]


class _LikelihoodParameters(ctypes.Structure):
    """Mirrors ``lm_likelihood_parameters``."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("mean_times", "taus", "n_reads")),
        *((name, ctypes.c_double) for name in ("one_omit", "two_omit")),
        *((name, ctypes.c_size_t) for name in ("first_group", "last_group")),
        *((name, ctypes.c_int) for name in ("dark_in_electrons", "jump_masks_both", "flag_groups")),
    ]


_fit_likelihood = kernel("lm_fit_ramps_likelihood", "p s p s p p p p p p p p p n")
_fit_ramps = kernel("lm_fit_ramps", "p s p s p p p p p p p p")

_JUMP_DET, _PERSISTENCE = 4, 32
_PLANES = ("slope", "err", "dq", "var_poisson", "var_rnoise")


def empty_fit(
    nints: int, ny: int, nx: int, *, integrations: bool = True, chisq: bool = False
) -> RampFit:
    """Return the arrays a fit is written to; cut rows of them for the bands of a frame."""

    def planes(*shape: int) -> list[np.ndarray]:
        return [np.empty(shape, np.uint32 if n == "dq" else np.float32) for n in _PLANES]

    arrays: dict[str, Any] = dict(zip(_PLANES, planes(ny, nx), strict=True))
    each: dict[str, Any] = dict.fromkeys(f"int_{name}" for name in _PLANES)
    if integrations:
        each = dict(zip(each, planes(nints, ny, nx), strict=True))
    if chisq:
        arrays["chisq"] = np.empty((ny, nx), np.float32)
    if chisq and integrations:
        each["int_chisq"] = np.empty((nints, ny, nx), np.float32)
    return RampFit(**arrays, **each)


def fit_ramps(
    data: np.ndarray,
    groupdq: np.ndarray,
    pixeldq: np.ndarray,
    gain: np.ndarray,
    readnoise: np.ndarray,
    average_dark: np.ndarray | None = None,
    *,
    group_time: float,
    frame_time: float | None = None,
    nframes: float = 1,
    suppress_one_group: bool = True,
    zeroframe: np.ndarray | None = None,
    weighting: str = "optimal",
    variances: str = "bound",
    dark_in: str = "e",
    first_group: int = 0,
    last_group: int | None = None,
    group_times: Sequence[float] | None = None,
    drop_frames: int = 0,
    integrations: bool = True,
    segments: bool = False,
    out: RampFit | None = None,
) -> RampFit:
    """Fit the segments between jumps by weighted least squares.

    Parameters
    ----------
    data : (nints, ngroups, ny, nx) ndarray of float32
        Signal at the end of each group [DN].
    groupdq : (nints, ngroups, ny, nx) ndarray of uint8
        Groups with any flag but PERSISTENCE are left out; JUMP_DET alone starts a segment.
    pixeldq : (ny, nx) ndarray of uint32
        Pixels DO_NOT_USE get no rate.
    gain : (ny, nx) ndarray of float32
        [electron / DN]; NaN or not positive: no rate, NO_GAIN_VALUE.
    readnoise : (ny, nx) ndarray of float32
        Noise of the difference of two reads [DN].
    average_dark : (ny, nx) ndarray of float32, optional
        Dark rate that was subtracted, for its Poisson noise [electron / s or DN / s: `dark_in`].
    group_time : float
        Time from group to group [s].
    frame_time : float, optional
        Time of one read [s]; `group_time` / `nframes` when not given.
    nframes : float
        Reads averaged in a group.
    suppress_one_group : bool
        Give no rate to integrations with one good group; otherwise its signal over the
        time it was exposed.
    zeroframe : (nints, ny, nx) ndarray of float32, optional
        First reads [DN] for integrations saturated in every group; 0 where there is none.
    weighting : {"optimal", "uniform"}
        Weights that grow towards the ends with the signal to noise ratio, or equal ones.
    variances : {"bound", "estimate"}
        "bound": the variances of the best estimates for Poisson noise alone and for read noise
        alone, as the pipelines in use report them. "estimate": of the weighted slope itself.
    dark_in : {"e", "dn"}
        Unit of `average_dark`: electron/s or DN/s.
    first_group, last_group : int
        The groups outside are not looked at, as if they did not exist.
    group_times : sequence of float, optional
        Time of each group [s] where they are uneven.
    drop_frames : int
        Reads dropped before the first group; moves the pedestal only.
    integrations : bool
        Return the rates of the integrations too.
    segments : bool
        Return what became of each segment, too; about five times slower.
    out : RampFit, optional
        Arrays to write to (`empty_fit`), or whole rows of them.

    Returns
    -------
    RampFit
        `out`, or new arrays.

    Raises
    ------
    ShapeError
        Arrays that do not belong together.
    UnknownNameError
        No such `weighting`, `variances` or unit.

    Notes
    -----
    A band of rows gives the bits of the whole frame.
    """
    _one_of("weighting", weighting, ("optimal", "uniform"))
    _one_of("kind of variances", variances, ("bound", "estimate"))
    _one_of("unit of the dark rate", dark_in, ("e", "dn"))
    shape, dq_shape, inputs = _inputs(data, groupdq, pixeldq, gain, readnoise, average_dark)
    nints, ngroups, ny, nx = data.shape
    yx = (ny, nx)
    zero_stride = 0
    if zeroframe is not None:
        zeroframe, _, zero_stride = _arrays.planes(zeroframe, "zeroframe", np.float32, yx, 3)
    times = None
    if group_times is not None:
        times = np.ascontiguousarray(group_times, dtype=float)
        if times.shape != (ngroups,):
            raise ShapeError(
                "group_times must hold one time per group", found=times.shape, expected=(ngroups,)
            )
    parameters = _OlsParameters(
        group_time,
        group_time / nframes if frame_time is None else frame_time,
        nframes,
        first_group,
        ngroups - 1 if last_group is None else last_group,
        suppress_one_group,
        weighting == "uniform",
        dark_in == "e",
        variances == "estimate",
        address(times),
        address(zeroframe),
        zero_stride,
    )
    if out is None:
        out = empty_fit(nints, ny, nx, integrations=integrations)
    exposure, each = _outputs(out, nints, yx)
    planes = None
    if segments:
        groups = slice(parameters.first_group, parameters.last_group + 1)
        report = _empty_segments(data[:, groups], groupdq[:, groups])
        out = out._replace(segments=report)
        age = parameters.frame_time * ((nframes + 1) / 2 + drop_frames)
        counts = report.slope.shape[1], report.crmag.shape[1]
        planes = _SegmentPlanes(*counts, *(address(array) for array in report), age)
    _fit_ramps(
        address(data),
        shape,
        address(groupdq),
        dq_shape,
        *(address(array) for array in inputs),
        ctypes.addressof(parameters),
        ctypes.addressof(exposure),
        None if each is None else ctypes.addressof(each),
        None if planes is None else ctypes.addressof(planes),
    )
    return out


def _empty_segments(data: np.ndarray, groupdq: np.ndarray) -> Segments:
    good = ((groupdq & ~np.uint8(_PERSISTENCE)) == 0) & np.isfinite(data)
    starts = good.copy()
    starts[:, 1:] &= ~good[:, :-1]
    nsegments = max(int(starts.sum(axis=1).max()), 1)
    njumps = int(((groupdq[:, 1:] & _JUMP_DET) != 0).sum(axis=1).max(initial=0))
    nints, _, ny, nx = data.shape
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(Segments._fields, (nints, nsegments, ny, nx))
    shapes |= {"crmag": (nints, njumps, ny, nx), "pedestal": (nints, ny, nx)}
    return Segments(**{name: np.zeros(shape, np.float32) for name, shape in shapes.items()})


def read_times_of(
    ngroups: int, *, frame_time: float, nframes: int, groupgap: int
) -> list[list[float]]:
    """Return the times of the reads of each group of an even pattern [s], from the reset."""
    return [
        [(group * (nframes + groupgap) + read + 1) * frame_time for read in range(nframes)]
        for group in range(ngroups)
    ]


def fit_ramps_likelihood(
    data: np.ndarray,
    groupdq: np.ndarray,
    pixeldq: np.ndarray,
    gain: np.ndarray,
    readnoise: np.ndarray,
    average_dark: np.ndarray | None = None,
    *,
    read_times: Sequence[Sequence[float]] | None = None,
    group_time: float | None = None,
    frame_time: float | None = None,
    nframes: int = 1,
    detect_jumps: bool = True,
    one_omit: float = 20.25,
    two_omit: float = 23.8,
    flag_groups: bool = False,
    jump_masks: str = "auto",
    dark_in: str = "e",
    first_group: int = 0,
    last_group: int | None = None,
    integrations: bool = True,
    out: RampFit | None = None,
) -> RampFit:
    """Fit the likelihood of the differences of groups, and leave out those that jumped.

    Optimal for every count rate: Poisson noise, which neighbouring differences share within
    their groups, and read noise, which they share with opposite sign, are one tridiagonal
    covariance [1]_.  The search leaves out the difference whose omission lowers chi² most, or two
    that share a group of several reads, while that drop is beyond the limits [1]_.

    Parameters
    ----------
    data, groupdq, pixeldq, gain, readnoise, average_dark : ndarray
        As for `fit_ramps`.  JUMP_DET alone spoils the difference into its group.
    read_times : sequence of sequence of float, optional
        Times of the reads averaged in each group [s]; uneven ramps are as good as even ones.
    group_time, frame_time, nframes : float, float, int
        Make an even pattern when `read_times` is not given; `frame_time` defaults to
        `group_time` / `nframes`.
    detect_jumps : bool
        Search for jumps.
    one_omit, two_omit : float
        Drop of chi² that makes a jump, of one difference and of two; the defaults are 4.5 sigma.
    flag_groups : bool
        Set JUMP_DET in `groupdq` for the jumps found.
    jump_masks : {"auto", "both"}
        "auto": a flagged jump spoils the difference after it only if its group has several
        reads, among which it may lie; "both": in any case.
    dark_in : {"e", "dn"}
        Unit of `average_dark`: electron/s or DN/s.
    first_group, last_group : int
        The groups outside are not looked at, as if they did not exist.
    integrations : bool
        Return the rates of the integrations too.
    out : RampFit, optional
        Arrays to write to (`empty_fit`), or whole rows of them.

    Returns
    -------
    RampFit
        With `chisq` and `int_chisq`, the chi² about the fit; `dq` has JUMP_DET for jumps found.

    Raises
    ------
    ShapeError
        Arrays that do not belong together, or fewer than two groups.
    UsageError
        Times that do not increase.
    UnknownNameError
        No such `jump_masks` or unit.

    References
    ----------
    .. [1] Brandt, T. D. 2024, PASP, 136, 045004 and 045005.
    """
    _one_of("rule for masking jumps", jump_masks, ("auto", "both"))
    _one_of("unit of the dark rate", dark_in, ("e", "dn"))
    shape, dq_shape, inputs = _inputs(data, groupdq, pixeldq, gain, readnoise, average_dark)
    nints, ngroups, ny, nx = data.shape
    yx = (ny, nx)
    if read_times is None:
        if group_time is None:
            raise UsageError("a ramp needs read_times or group_time")
        frame_time = group_time / nframes if frame_time is None else frame_time
        read_times = [
            [group * group_time + read * frame_time for read in range(nframes)]
            for group in range(ngroups)
        ]
    if len(read_times) != ngroups:
        raise ShapeError(
            "read_times must hold the reads of every group", found=len(read_times), expected=ngroups
        )
    counts = np.array([len(times) for times in read_times], dtype=float)
    means = np.array([np.mean(times) for times in read_times])
    taus = np.array([_variance_time(np.asarray(times, dtype=float)) for times in read_times])
    parameters = _LikelihoodParameters(
        address(means),
        address(taus),
        address(counts),
        one_omit if detect_jumps else 0.0,
        two_omit,
        first_group,
        ngroups - 1 if last_group is None else last_group,
        dark_in == "e",
        jump_masks == "both",
        flag_groups,
    )
    if out is None:
        out = empty_fit(nints, ny, nx, integrations=integrations, chisq=True)
    exposure, each = _outputs(out, nints, yx)
    chisq, int_chisq, int_chisq_stride = out.chisq, out.int_chisq, 0
    if chisq is not None:
        _arrays.image(chisq, "chisq", np.float32, yx)
    if int_chisq is not None:
        int_chisq, _, int_chisq_stride = _arrays.planes(int_chisq, "int_chisq", np.float32, yx, 3)
    _fit_likelihood(
        address(data),
        shape,
        address(groupdq),
        dq_shape,
        *(address(array) for array in inputs),
        ctypes.addressof(parameters),
        ctypes.addressof(exposure),
        None if each is None else ctypes.addressof(each),
        address(chisq),
        address(int_chisq),
        int_chisq_stride,
    )
    return out


def _variance_time(times: np.ndarray) -> float:
    """Return the time τ that makes the Poisson variance of a group's mean (rate × τ)."""
    n = len(times)
    return float((2 * n - 1 - 2 * np.arange(n)) @ times) / n**2


def _one_of(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise UnknownNameError(kind, name, known)


def _inputs(data, groupdq, pixeldq, gain, readnoise, average_dark):
    shape = _arrays.ramp(data, "data")
    dq_shape = _arrays.ramp(groupdq, "groupdq", np.uint8, data.shape)
    yx = data.shape[-2:]
    images = [_arrays.planes(pixeldq, "pixeldq", np.uint32, yx, 2)[0]]
    for array, name in ((gain, "gain"), (readnoise, "readnoise")):
        images.append(_arrays.planes(array, name, np.float32, yx, 2)[0])
    if average_dark is None:
        images.append(None)
    else:
        images.append(_arrays.planes(average_dark, "average_dark", np.float32, yx, 2)[0])
    return shape, dq_shape, images


def _outputs(out: RampFit, nints: int, yx: tuple[int, int]) -> tuple[_Planes, _Planes | None]:
    exposure, each = _Planes(), None
    for name in _PLANES:
        dtype = np.uint32 if name == "dq" else np.float32
        setattr(exposure, name, address(_arrays.image(getattr(out, name), name, dtype, yx)))
    if out.int_slope is None:
        return exposure, None
    each = _Planes()
    for name in _PLANES:
        array = getattr(out, "int_" + name)
        dtype = np.uint32 if name == "dq" else np.float32
        if array is None or array.dtype != dtype or array.shape != (nints, *yx):
            raise ShapeError(f"int_{name} does not fit the ramp", expected=(nints, *yx))
        walked, _, stride = _arrays.planes(array, f"int_{name}", dtype, yx, 3)
        if walked is not array or each.int_stride not in (0, stride):
            raise ShapeError("planes of integrations must be whole rows of like arrays")
        each.int_stride = stride
        setattr(each, name, address(array))
    return exposure, each
