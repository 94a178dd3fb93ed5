"""From frames of a spectrograph to spectra and cubes."""

from lightmill.spectroscopy.build_cube import BuildCube

__all__ = ["BuildCube"]
