"""The James Webb Space Telescope."""

from pathlib import Path

from lightmill.instrument import Observatory

OBSERVATORY = Observatory("JWST", Path(__file__).parent)
