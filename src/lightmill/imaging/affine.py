"""Linear transformations of a plane, and the one that brings positions onto others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

__all__ = ["LEAST", "Affine", "Geometry", "fit_affine"]

Geometry = Literal["shift", "rshift", "rscale", "general"]
LEAST: dict[str, int] = {"shift": 1, "rshift": 2, "rscale": 2, "general": 3}  # stars of a fit


@dataclass(frozen=True)
class Affine:
    """A linear transformation of the plane: ``matrix @ xy + shift``.

    Attributes
    ----------
    matrix : (2, 2) ndarray
    shift : (2,) ndarray
        [arcsec].
    """

    matrix: np.ndarray = field(default_factory=lambda: np.eye(2))
    shift: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def __call__(self, xy: np.ndarray) -> np.ndarray:
        """Return where positions (n, 2) come to lie."""
        return np.asarray(xy @ self.matrix.T + self.shift)

    def after(self, first: Affine) -> Affine:
        """Return the transformation that is `first`, then this."""
        return Affine(self.matrix @ first.matrix, self.matrix @ first.shift + self.shift)

    @property
    def rotation(self) -> float:
        """Angle from x towards y [deg]."""
        (a, b), (c, d) = self.matrix
        return float(np.degrees(np.arctan2(c - b, a + d)))

    @property
    def scale(self) -> float:
        """Mean magnification."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


def fit_affine(
    xy: np.ndarray,
    reference: np.ndarray,
    geometry: Geometry = "rshift",
    weights: np.ndarray | None = None,
) -> Affine:
    """Return the transformation that brings positions onto others best.

    Parameters
    ----------
    xy, reference : (n, 2) ndarray
        Positions in pairs [arcsec].
    geometry : {'shift', 'rshift', 'rscale', 'general'}
        Shift alone; with rotation; and one scale; or any linear one.
    weights : (n,) ndarray, optional
        Of the pairs; 1 by default.

    References
    ----------
    Rotation: Kabsch, W. 1976, Acta Cryst. A32, 922.
    """
    w = np.ones(len(xy)) if weights is None else np.asarray(weights, np.float64)
    w = w / w.sum()
    from_, to = w @ xy, w @ reference
    a, b = xy - from_, reference - to
    if geometry == "general":
        root = np.sqrt(w)[:, None]
        matrix = np.linalg.lstsq(a * root, b * root, rcond=None)[0].T
    elif geometry == "shift":
        matrix = np.eye(2)
    else:
        cosine, sine = w @ (a * b).sum(axis=1), w @ (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
        length = np.hypot(cosine, sine) or 1.0
        matrix = np.array([[cosine, -sine], [sine, cosine]]) / length
        if geometry == "rscale":
            matrix *= length / ((w @ (a**2).sum(axis=1)) or length)
    return Affine(matrix, to - matrix @ from_)
