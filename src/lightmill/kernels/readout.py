"""Reads of a detector into frames: up the ramp or Fowler sampling, one read at a time or whole ramps.

The same C library serves read-out software without Python; see `native/include/lightmill/readout.h`
for numerics and noise.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from lightmill.errors import DataError, ShapeError, UnknownNameError, UsageError
from lightmill.kernels import _arrays
from lightmill.kernels._library import address, kernel, library

__all__ = [
    "Frame",
    "Glimpse",
    "Readout",
    "State",
    "empty_frame",
    "linearize",
    "published_linearity",
    "published_slope",
    "sample_ramps",
]

_TYPES = {"int32": 0, "uint16": 1, "float32": 2}
_SAMPLINGS = {"utr": 0, "cds": 1, "mcds": 1}
_UNITS = {"rate": 0, "counts": 1}
_FORMS = {"polynomial": 0, "gain": 1}


class _Parameters(ctypes.Structure):
    _fields_ = [
        ("n_rows", ctypes.c_size_t),
        ("n_cols", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("sampling", ctypes.c_int),
        ("unit", ctypes.c_int),
        ("n_fowler", ctypes.c_size_t),
        ("n_reads", ctypes.c_size_t),
        ("n_coadds", ctypes.c_size_t),
        ("n_threads", ctypes.c_size_t),
        ("saturation", ctypes.c_void_p),
        ("saturation_level", ctypes.c_float),
        ("coeffs", ctypes.c_void_p),
        ("n_coeffs", ctypes.c_size_t),
        ("coeff_stride", ctypes.c_size_t),
        ("form", ctypes.c_int),
        ("pixeldq", ctypes.c_void_p),
        ("gain", ctypes.c_void_p),
        ("gain_value", ctypes.c_float),
        ("readnoise", ctypes.c_void_p),
        ("readnoise_value", ctypes.c_float),
    ]


class _FramePlanes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("signal", "var_poisson", "var_rnoise", "dq")]


class _State(ctypes.Structure):
    _fields_ = [
        ("n_reads", ctypes.c_size_t),
        ("n_ramps", ctypes.c_size_t),
        ("n_histories", ctypes.c_size_t),
        ("is_complete", ctypes.c_int),
        ("is_full", ctypes.c_int),
    ]


_begin = kernel("lm_readout_begin", "p p")
_add = kernel("lm_readout_add", "p p d p")
_add_and_look = kernel("lm_readout_add_and_look", "p p d p p")
_look = kernel("lm_readout_look", "p p")
_next_ramp = kernel("lm_readout_next_ramp", "p")
_finish = kernel("lm_readout_finish", "p p")
_ramps = kernel("lm_readout_ramps", "p s p p s p p")
_linearize = kernel("lm_readout_linearize", "p n n p p")
_published_slope = kernel("lm_published_uptheramp", "p p n n p")
_published_linearity = kernel("lm_published_nonlin", "p n n n p n p")
_end, _state_of, _bytes = (
    getattr(library, f"lm_readout_{name}") for name in ("end", "state_of", "bytes")
)
_end.argtypes, _end.restype = [ctypes.c_void_p], None
_state_of.argtypes, _state_of.restype = [ctypes.c_void_p, ctypes.c_void_p], None
_bytes.argtypes, _bytes.restype = [ctypes.c_void_p], ctypes.c_size_t


class Frame(NamedTuple):
    """What the reads of an exposure come to; each (ny, nx).

    Where nothing is known `signal` is NaN, the variances are 0, and `dq` has DO_NOT_USE. `dq` has
    SATURATED where a read was too full (the signal is that of the reads before), JUMP_DET where
    one was flagged so, and NO_GAIN_VALUE, with a NaN `var_poisson`, where the gain is not positive.
    """

    signal: np.ndarray
    """float32 [DN / unit of time, or DN]."""
    var_poisson: np.ndarray
    """float32, variance from the statistics of photons [square of the unit of `signal`]."""
    var_rnoise: np.ndarray
    """float32, variance from read noise [square of the unit of `signal`]."""
    dq: np.ndarray
    """uint32 flags."""


class Glimpse(NamedTuple):
    """Of a `Frame` what is looked at while reads come; each (ny, nx)."""

    signal: np.ndarray
    """float32, as in `Frame`."""
    dq: np.ndarray
    """uint32 flags."""


class State(NamedTuple):
    """How far a readout is."""

    nreads: int
    """Reads added to the present ramp."""
    nramps: int
    """Ramps begun, the present one included once it has a read."""
    is_complete: bool
    """The present ramp has the reads that were announced."""
    nhistories: int
    """Different ways in which pixels of this ramp have lost reads; 1: none has."""
    is_full: bool
    """More than the library follows; the pixels beyond have no signal."""


def empty_frame(ny: int, nx: int) -> Frame:
    """Return a frame to be written to.

    Parameters
    ----------
    ny, nx : int
        Rows and columns.

    Returns
    -------
    Frame
        With arrays of undefined content.
    """
    signal, var_poisson, var_rnoise = (np.empty((ny, nx), np.float32) for _ in range(3))
    return Frame(signal, var_poisson, var_rnoise, np.empty((ny, nx), np.uint32))


class Readout:
    """An exposure that is being read out: memory does not depend on the number of reads.

    A read is added by `add`, a frame of all reads so far is there at any time (`look`), and the
    last one's right after the last read (`finish`), which also makes ready for the next exposure.
    Nothing is allocated after the beginning but the frames that are asked for without `out`.
    A readout belongs to one thread at a time and does not survive a fork.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the detector or subarray.
    dtype : {"uint16", "int32", "float32"} or dtype
        Of the reads.
    sampling : {"utr", "cds", "mcds"}
        Up the ramp: slope of all reads by least squares, whatever their times; mean of the last
        `nfowler` reads less that of the first, which for "cds" are one each.
    unit : {"rate", "counts"}
        DN per unit of the read times, or DN: of a ramp from its first to its last read, or the
        difference of the groups; summed over coadds.
    nreads : int, optional
        Reads of one ramp. Needed for "mcds".
    nfowler : int
        Reads in each group of "mcds".
    ncoadds : int
        Ramps of one exposure, at most.
    saturation : (ny, nx) array_like of float32, or float, optional
        Raw counts from which on a read is not used [DN]; NaN: no limit.
    coeffs : (n, ny, nx) array_like of float32, optional
        Non-linearity, lowest power first; usable everywhere (`linearity.prepare`).
    form : {"polynomial", "gain"}
        y = c₀ + c₁x + …, or y = x (1 + c₀ + c₁x + …).
    pixeldq : (ny, nx) array_like of uint32, optional
        Flags to be joined into `dq`.
    gain : (ny, nx) array_like of float32, or float
        [electron / DN].
    readnoise : (ny, nx) array_like of float32, or float
        Of one read [DN].
    nthreads : int
        Threads that share the work of a call.

    Raises
    ------
    ShapeError
        Planes that do not fit.
    UsageError
        Values out of range, "mcds" without `nreads`.
    UnknownNameError
        No such sampling, unit or form.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: Any = "uint16",
        *,
        sampling: str = "utr",
        unit: str = "rate",
        nreads: int | None = None,
        nfowler: int = 1,
        ncoadds: int = 1,
        saturation: Any = None,
        coeffs: Any = None,
        form: str = "polynomial",
        pixeldq: Any = None,
        gain: Any = 1.0,
        readnoise: Any = 0.0,
        nthreads: int = 1,
    ) -> None:
        self.shape = (int(shape[0]), int(shape[1]))
        self._dtype = np.dtype(dtype)
        self._parameters, self._planes = _parameters_of(
            self.shape,
            self._dtype,
            sampling=sampling,
            unit=unit,
            nreads=nreads,
            nfowler=nfowler,
            ncoadds=ncoadds,
            saturation=saturation,
            coeffs=coeffs,
            form=form,
            pixeldq=pixeldq,
            gain=gain,
            readnoise=readnoise,
            nthreads=nthreads,
        )
        self._handle: ctypes.c_void_p | None = None
        handle = ctypes.c_void_p()
        _begin(ctypes.addressof(self._parameters), ctypes.addressof(handle))
        self._handle = handle

    def add(
        self,
        read: np.ndarray,
        time: float,
        dq: np.ndarray | None = None,
        *,
        look: Frame | Glimpse | None = None,
    ) -> None:
        """Add a read.

        Parameters
        ----------
        read : (ny, nx) ndarray
            Counts, of the dtype announced [DN].
        time : float
            When it was taken, in the unit of time of the rate; later than the read before.
        dq : (ny, nx) array_like of uint8, optional
            DO_NOT_USE: the pixel's read is left out. JUMP_DET: charge came at once before it; up
            the ramp a new segment begins, otherwise the pixel is left with what it has.
            SATURATED: as if it were too full.
        look : Frame or Glimpse, optional
            Arrays to which the frame with this read is written: as `look` does, and in less time
            than the two take one after the other.

        Raises
        ------
        ShapeError
            Wrong shape or dtype; nothing has been added.
        DataError
            Not later than the read before; nothing has been added.
        UsageError
            The ramp is complete; nothing has been added.
        """
        read = np.asarray(read)
        if read.dtype != self._dtype or read.shape != self.shape:
            raise ShapeError(
                "a read does not fit its readout",
                found=f"{read.shape} of {read.dtype}",
                expected=f"{self.shape} of {self._dtype}",
            )
        read = np.ascontiguousarray(read)
        if dq is not None:
            dq = np.ascontiguousarray(_arrays.planes(dq, "dq", np.uint8, self.shape, 2)[0])
        if look is None:
            _add(self._opened(), address(read), float(time), address(dq))
            return
        planes = _frame_planes(look, self.shape)
        _add_and_look(
            self._opened(), address(read), float(time), address(dq), ctypes.addressof(planes)
        )

    def look(self, out: Frame | None = None) -> Frame:
        """Return the frame of all reads so far.

        Before the last group of "mcds" has begun, that of the latest read.

        Parameters
        ----------
        out : Frame, optional
            Arrays to write to.

        Returns
        -------
        Frame
            `out`, or new arrays.

        Raises
        ------
        UsageError
            There is no read.
        """
        return self._frame(_look, out)

    def next_ramp(self) -> None:
        """Let the next read begin another ramp of the same exposure, to be coadded.

        Slopes are combined as further segments of one ramp, that is with inverse variances of
        their read noise; differences by the times between their groups. Times begin anew.

        Raises
        ------
        UsageError
            There are `ncoadds` ramps already, or this one has no read.
        """
        _next_ramp(self._opened())

    def finish(self, out: Frame | None = None) -> Frame:
        """Return the frame of the exposure, and make ready for the next one.

        Parameters
        ----------
        out : Frame, optional
            Arrays to write to.

        Returns
        -------
        Frame
            `out`, or new arrays.

        Raises
        ------
        UsageError
            There is no read.
        """
        return self._frame(_finish, out)

    @property
    def state(self) -> State:
        """How far the exposure is."""
        state = _State()
        _state_of(self._opened(), ctypes.addressof(state))
        return State(
            state.n_reads,
            state.n_ramps,
            bool(state.is_complete),
            state.n_histories,
            bool(state.is_full),
        )

    @property
    def nbytes(self) -> int:
        """Memory that the readout holds [byte], all of it from the beginning."""
        return int(_bytes(ctypes.addressof(self._parameters)))

    def close(self) -> None:
        """Give the memory back, and end the threads."""
        if self._handle is not None:
            _end(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()

    def _opened(self) -> ctypes.c_void_p:
        if self._handle is None:
            raise UsageError("the readout is closed")
        return self._handle

    def _frame(self, call: Any, out: Frame | None) -> Frame:
        out, planes = _output(out, self.shape)
        call(self._opened(), ctypes.addressof(planes))
        return out


def sample_ramps(
    reads: np.ndarray,
    times: Sequence[float] | np.ndarray,
    *,
    readdq: np.ndarray | None = None,
    out: Frame | None = None,
    **parameters: Any,
) -> Frame:
    """Return the frame of whole ramps, in one pass over memory.

    The same bits as `Readout` gives read by read.

    Parameters
    ----------
    reads : (nreads, ny, nx) or (nramps, nreads, ny, nx) ndarray of uint16, int32 or float32
        Counts; ramps are coadded [DN].
    times : (nreads,) sequence of float
        When the reads of each ramp were taken; rising.
    readdq : array_like of uint8, like `reads`, optional
        Flags of each read; see `Readout.add`.
    out : Frame, optional
        Arrays to write to.
    **parameters
        As for `Readout`: sampling, unit, nfowler, saturation, coeffs, form, pixeldq, gain,
        readnoise, nthreads.

    Returns
    -------
    Frame
        `out`, or new arrays.

    Raises
    ------
    ShapeError
        Arrays that do not belong together.
    DataError
        Times that do not rise.
    UsageError, UnknownNameError
        See `Readout`.
    """
    reads = _ramps_of(reads, "reads")
    shape = _arrays.ramp(reads, "reads", reads.dtype.type, read_only=True)
    times = _rising(times, reads.shape[1])
    dq_shape = None
    if readdq is not None:
        readdq = np.asarray(readdq, np.uint8)
        readdq = readdq[None] if readdq.ndim == 3 else readdq
        readdq = readdq if readdq.flags.c_contiguous else readdq.copy()
        dq_shape = _arrays.ramp(readdq, "readdq", np.uint8, reads.shape, read_only=True)
    yx = reads.shape[2:]
    parameters |= {"nreads": reads.shape[1], "ncoadds": reads.shape[0]}
    filled, keep = _parameters_of(yx, reads.dtype, **parameters)
    out, planes = _output(out, yx)
    _ramps(
        address(reads),
        shape,
        address(times),
        address(readdq),
        dq_shape,
        ctypes.addressof(filled),
        ctypes.addressof(planes),
    )
    del keep  # the planes lived until here
    return out


def linearize(
    reads: np.ndarray, coeffs: np.ndarray, *, form: str = "polynomial", nthreads: int = 1
) -> np.ndarray:
    """Return reads corrected for non-linearity.

    Parameters
    ----------
    reads : (..., ny, nx) ndarray of uint16, int32 or float32
        Counts [DN].
    coeffs : (n, ny, nx) array_like of float32
        Lowest power first.
    form : {"polynomial", "gain"}
        y = c₀ + c₁x + …, or y = x (1 + c₀ + c₁x + …).
    nthreads : int
        Threads that share the work.

    Returns
    -------
    linear : ndarray of float32, like `reads`
        Computed in float64, rounded once [DN].

    Raises
    ------
    ShapeError
        Arrays that do not belong together.
    """
    reads = np.ascontiguousarray(reads)
    if reads.dtype.name not in _TYPES or reads.ndim < 2 or reads.size == 0:
        raise ShapeError(
            "reads cannot be corrected",
            found=f"{reads.shape} of {reads.dtype}",
            expected=f"(..., ny, nx) of {', '.join(_TYPES)}",
        )
    yx = reads.shape[-2:]
    filled, keep = _parameters_of(yx, reads.dtype, coeffs=coeffs, form=form, nthreads=nthreads)
    linear = np.empty(reads.shape, np.float32)
    npixels = yx[0] * yx[1]
    _linearize(
        address(reads), reads.size // npixels, npixels, ctypes.addressof(filled), address(linear)
    )
    del keep
    return linear


def published_slope(reads: np.ndarray, times: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return up-the-ramp counts as the published readout library computes them, faults included.

    For comparison only: products of times and counts have 32 bits, and wrap.

    Parameters
    ----------
    reads : (nreads, ny, nx) array_like of int32
        Counts [DN].
    times : (nreads,) array_like of int32
        Of the reads.

    Returns
    -------
    counts : (ny, nx) ndarray of float32
        Slope times the time from the first to the last read [DN]; NaN for one read.

    Raises
    ------
    ShapeError
        Arrays that do not belong together.
    """
    reads = np.ascontiguousarray(reads, np.int32)
    times = np.ascontiguousarray(times, np.int32)
    if reads.ndim != 3 or times.shape != reads.shape[:1]:
        raise ShapeError("times do not fit the reads", found=(times.shape, reads.shape))
    counts = np.empty(reads.shape[1:], np.float32)
    _published_slope(address(reads), address(times), len(reads), counts.size, address(counts))
    return counts


def published_linearity(reads: np.ndarray, coeffs: np.ndarray) -> np.ndarray:
    """Return reads corrected as the published readout library does, faults included.

    For comparison only: coefficient planes are read transposed, and the rows of a frame are taken
    to be as long as its columns; pixels that are never written are NaN.

    Parameters
    ----------
    reads : (nreads, ny, nx) array_like of int32, ny <= nx
        Counts [DN].
    coeffs : (5, side, side) array_like of float32
        y = x (1 + c₀ + c₁x + …); the published side is 2048.

    Returns
    -------
    linear : (nreads, ny, nx) ndarray of float32
        [DN].

    Raises
    ------
    ShapeError
        A frame higher than wide, where the original writes outside its array, or larger than
        `side`.
    """
    reads = np.ascontiguousarray(reads, np.int32)
    coeffs = np.ascontiguousarray(coeffs, np.float32)
    if reads.ndim != 3 or coeffs.ndim != 3 or coeffs.shape[0] != 5:
        raise ShapeError("coefficients do not fit", found=(coeffs.shape, reads.shape))
    if coeffs.shape[1] != coeffs.shape[2]:
        raise ShapeError("planes of coefficients must be square", found=coeffs.shape)
    linear = np.empty(reads.shape, np.float32)
    _published_linearity(
        address(reads), *reads.shape, address(coeffs), coeffs.shape[1], address(linear)
    )
    return linear


def _ramps_of(reads: np.ndarray, name: str) -> np.ndarray:
    """Return 4-D reads that C can walk."""
    reads = np.asarray(reads)
    if reads.dtype.name not in _TYPES or reads.ndim not in (3, 4):
        raise ShapeError(
            f"{name} cannot be sampled",
            found=f"{reads.shape} of {reads.dtype}",
            expected=f"(nreads, ny, nx) or (nramps, nreads, ny, nx) of {', '.join(_TYPES)}",
        )
    reads = reads[None] if reads.ndim == 3 else reads
    return reads if _arrays.is_walkable(reads) else reads.copy()


def _rising(times: Sequence[float] | np.ndarray, nreads: int) -> np.ndarray:
    times = np.ascontiguousarray(times, np.float64)
    if times.shape != (nreads,):
        raise ShapeError("there must be a time for each read", found=times.shape, expected=nreads)
    wrong = ~np.isfinite(times)
    wrong[1:] |= ~(np.diff(times) > 0)
    if wrong.any():
        k = int(np.argmax(wrong))
        raise DataError(
            "times of reads must rise",
            place=f"read {k}",
            found=float(times[k]),
            expected=f"later than {float(times[k - 1])}" if k else "a number",
        )
    return times


def _parameters_of(
    yx: tuple[int, ...],
    dtype: np.dtype,
    *,
    sampling: str = "utr",
    unit: str = "rate",
    nreads: int | None = None,
    nfowler: int = 1,
    ncoadds: int = 1,
    saturation: Any = None,
    coeffs: Any = None,
    form: str = "polynomial",
    pixeldq: Any = None,
    gain: Any = 1.0,
    readnoise: Any = 0.0,
    nthreads: int = 1,
) -> tuple[_Parameters, list[np.ndarray]]:
    """Return the parameters as C has them, and the arrays that must outlive them."""
    known = {"sampling": _SAMPLINGS, "unit": _UNITS, "form of non-linearity": _FORMS}
    for (kind, names), name in zip(known.items(), (sampling, unit, form), strict=True):
        if name not in names:
            raise UnknownNameError(kind, name, names)
    if dtype.name not in _TYPES:
        raise UsageError("no such type of reads", found=dtype, expected=", ".join(_TYPES))
    p = _Parameters(*yx, _TYPES[dtype.name], _SAMPLINGS[sampling], _UNITS[unit])
    _check_counts(sampling, nreads, nfowler, ncoadds, nthreads)
    p.n_fowler = {"utr": 0, "cds": 1, "mcds": nfowler}[sampling]
    p.n_reads, p.n_coadds, p.n_threads = nreads or 0, ncoadds, nthreads
    p.form = _FORMS[form]
    keep: list[np.ndarray] = []
    for name, value in (("saturation", saturation), ("gain", gain), ("readnoise", readnoise)):
        _plane_or_value(p, name, value, yx, keep)
    if pixeldq is not None:
        keep.append(np.ascontiguousarray(_arrays.planes(pixeldq, "pixeldq", np.uint32, yx, 2)[0]))
        p.pixeldq = address(keep[-1])
    if coeffs is not None:
        array, _, stride = _arrays.planes(coeffs, "coeffs", np.float32, yx, 3)
        keep.append(array)
        p.coeffs, p.n_coeffs, p.coeff_stride = address(array), len(array), stride
    return p, keep


def _check_counts(
    sampling: str, nreads: int | None, nfowler: int, ncoadds: int, nthreads: int
) -> None:
    if nreads is not None and nreads < 1:
        raise UsageError("a ramp has at least one read", place="nreads", found=nreads)
    if ncoadds < 1 or nthreads < 1:
        raise UsageError("there is at least one coadd, and one thread", found=(ncoadds, nthreads))
    if sampling == "mcds" and (nreads is None or not 1 <= nfowler <= nreads):
        raise UsageError(
            "Fowler sampling needs to know where its last group begins",
            place="nreads, nfowler",
            found=(nreads, nfowler),
            expected="1 <= nfowler <= nreads",
        )


def _plane_or_value(
    p: _Parameters, name: str, value: Any, yx: tuple[int, ...], keep: list[np.ndarray]
) -> None:
    if value is None:
        return
    array = np.asarray(value, np.float32)
    if array.ndim == 0:
        if (name == "readnoise" and not array >= 0) or (name == "gain" and not array > 0):
            raise UsageError("a value is out of range", place=name, found=float(array))
        setattr(p, "saturation_level" if name == "saturation" else f"{name}_value", float(array))
        return
    keep.append(np.ascontiguousarray(_arrays.planes(array, name, np.float32, yx, 2)[0]))
    setattr(p, name, address(keep[-1]))


def _output(out: Frame | None, yx: tuple[int, ...]) -> tuple[Frame, _FramePlanes]:
    if out is None:
        out = empty_frame(*yx)
    return out, _frame_planes(out, yx)


def _frame_planes(out: Frame | Glimpse, yx: tuple[int, ...]) -> _FramePlanes:
    planes = _FramePlanes()
    for name, array in zip(out._fields, out, strict=True):
        dtype = np.uint32 if name == "dq" else np.float32
        setattr(planes, name, address(_arrays.image(array, name, dtype, yx)))
    return planes
