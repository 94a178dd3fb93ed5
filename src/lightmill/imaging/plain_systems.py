"""World coordinate systems evaluated with NumPy alone: of an exposure, and of a mosaic.

They stand in for `gwcs.WCS` where places are all that is wanted. Importing the packages that make
such objects costs more than resampling an exposure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.imaging import transforms
from lightmill.imaging.wcs_transforms import pixel_to_sky, plane_wcs
from lightmill.models import wcs_of
from lightmill.models.asdf_blocks import written_out
from lightmill.models.asdf_tree import ObjectNode, Tagged

__all__ = ["NodeSystem", "TangentSystem", "system_of"]

Pair = tuple[np.ndarray, np.ndarray]


def system_of(model: Any) -> Any:
    """Return the world coordinate system of an image, made without packages where that is possible.

    Parameters
    ----------
    model : Model

    Returns
    -------
    wcs : NodeSystem, gwcs.WCS, astropy.wcs.WCS or None
        The first kind that can say where its pixels are; all have ``pixel_to_world_values``.
    """
    node, tree = model.meta.get("wcs"), model.foreign.asdf
    if type(node) is Tagged and tree is not None and tree.blocks():
        node = written_out(node, tree.content, tree.standard())
    plain = NodeSystem.of(node)
    return wcs_of(model) if plain is None else plain


class NodeSystem:
    """The system of an image, evaluated from the nodes of its tree.

    Parameters
    ----------
    node : Tagged
        Of a gwcs.WCS that leads to ICRS.

    Raises
    ------
    Unsupported
        If a part of it is not known here.
    """

    def __init__(self, node: Tagged) -> None:
        if isinstance(node, ObjectNode):  # the packages have made it, and can evaluate it
            raise transforms.Unsupported(node)
        steps = node.value["steps"]
        world = steps[-1].value["frame"]
        reference = world.value.get("reference_frame") if isinstance(world, Tagged) else None
        if "/icrs-" not in getattr(reference, "tag", ""):
            raise transforms.Unsupported(node)
        self.node = node
        self.bounding_box = transforms.bounding_box(steps[0].value["transform"])
        self.forward_transform(0.0, 0.0)

    @classmethod
    def of(cls, node: Any) -> NodeSystem | None:
        """Return the system of a node; None if it takes the packages to evaluate it."""
        try:
            return cls(node)
        except (transforms.Unsupported, AttributeError, KeyError, IndexError, TypeError):
            return None

    def forward_transform(self, x: Any, y: Any) -> Pair:
        """Return right ascension and declination [deg] of pixels, also outside the image."""
        return pixel_to_sky(self.node, x, y)

    @property
    def available_frames(self) -> list[str]:
        """Names of its frames, from the detector to the sky."""
        frames = (step.value["frame"] for step in self.node.value["steps"])
        return [str(one.value["name"] if isinstance(one, Tagged) else one) for one in frames]

    def pixel_to_world_values(self, x: Any, y: Any) -> Pair:
        """Return right ascension and declination [deg] of pixels; NaN outside of the limits."""
        ra, dec = self.forward_transform(x, y)
        if self.bounding_box is None:
            return ra, dec
        (x0, x1), (y0, y1) = self.bounding_box
        x, y = np.asarray(x), np.asarray(y)
        outside = (x < x0) | (x > x1) | (y < y0) | (y > y1)
        return np.where(outside, np.nan, ra), np.where(outside, np.nan, dec)

    @property
    def backward_transform(self) -> Any:
        """There is none: the inverse is found by iteration."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class TangentSystem:
    """A tangent plane: the system of a mosaic.

    Attributes
    ----------
    crval : (float, float)
        Right ascension and declination of the tangent point [deg].
    crpix : (float, float)
        Its pixel, from 0.
    step : float
        Side of a pixel [deg].
    matrix : (2, 2) ndarray of float64
        From pixels to the plane, without scale.
    shape : (int, int)
        Rows and columns.
    """

    crval: tuple[float, float]
    crpix: tuple[float, float]
    step: float
    matrix: np.ndarray
    shape: tuple[int, int]

    @property
    def bounding_box(self) -> transforms.Box:
        """The edges of the outermost pixels, in x and in y."""
        ny, nx = self.shape
        return (-0.5, nx - 0.5), (-0.5, ny - 0.5)

    @property
    def array_shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.shape

    def forward_transform(self, x: Any, y: Any) -> Pair:
        """Return right ascension, 0 … 360, and declination [deg] of pixels."""
        pixels = np.asarray(x), np.asarray(y)
        ra, dec = transforms.plane_to_sky(pixels, self.crval, self.crpix, self.matrix * self.step)
        return ra, dec

    def backward_transform(self, ra: Any, dec: Any) -> Pair:
        """Return pixels of the sky; NaN for the half of it that no tangent plane shows."""
        a = np.deg2rad(np.asarray(ra)) - np.deg2rad(self.crval[0])
        d, d0 = np.deg2rad(np.asarray(dec)), np.deg2rad(self.crval[1])
        depth = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(a)
        depth = np.where(depth > 0, depth, np.nan)
        east = np.cos(d) * np.sin(a) / depth
        north = (np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(a)) / depth
        inverse = np.linalg.inv(np.deg2rad(self.matrix * self.step))
        x = inverse[0, 0] * east + inverse[0, 1] * north + self.crpix[0]
        y = inverse[1, 0] * east + inverse[1, 1] * north + self.crpix[1]
        return x, y

    def node(self, array_tag: str) -> Tagged:
        """Return the node of the gwcs.WCS that means the same.

        Parameters
        ----------
        array_tag : str
            What arrays are tagged in the file it goes into.
        """
        return plane_wcs(
            self.crval, self.crpix, self.step, self.matrix, self.shape, array_tag=array_tag
        )
