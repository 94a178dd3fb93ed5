"""Coordinates written into a picture, in letters of five by seven pixels: no font has to be there."""

from __future__ import annotations

import functools

import numpy as np

__all__ = ["HIGH", "haloed", "written"]

HIGH, _WIDE = 7, 5  # pixels of a letter
_LETTERS = {
    "0": ".###. #...# #..## #.#.# ##..# #...# .###.",
    "1": "..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###.",
    "2": ".###. #...# ....# ...#. ..#.. .#... #####",
    "3": "##### ...#. ..#.. ...#. ....# #...# .###.",
    "4": "...#. ..##. .#.#. #..#. ##### ...#. ...#.",
    "5": "##### #.... ####. ....# ....# #...# .###.",
    "6": "..##. .#... #.... ####. #...# #...# .###.",
    "7": "##### ....# ...#. ..#.. .#... .#... .#...",
    "8": ".###. #...# #...# .###. #...# #...# .###.",
    "9": ".###. #...# #...# .#### ....# ...#. .##..",
    "h": "#.... #.... #.##. ##..# #...# #...# #...#",
    "µ": "..... #...# #...# #...# #..## ##.#. #....",
    "m": "..... ..... ##.#. #.#.# #.#.# #.#.# #.#.#",
    "s": "..... ..... .#### #.... .###. ....# ####.",
    "°": ".##.. #..#. #..#. .##.. ..... ..... .....",
    "′": "..#.. ..#.. .#... ..... ..... ..... .....",
    "″": ".#.#. .#.#. #.#.. ..... ..... ..... .....",
    "+": "..... ..#.. ..#.. ##### ..#.. ..#.. .....",
    "-": "..... ..... ..... ##### ..... ..... .....",
    ".": "..... ..... ..... ..... ..... .##.. .##..",
}


def written(text: str, zoom: int) -> np.ndarray:
    """Return the pixels of a text, the upper row first.

    Parameters
    ----------
    text : str
        Digits, ``h m s µ ° ′ ″ + -`` and full stops.
    zoom : int
        Pixels of the picture a pixel of a letter is wide and high.

    Returns
    -------
    ink : (ny, nx) ndarray of bool
        Seven pixels high and, with the gaps, six wide a letter, each times `zoom`.

    Raises
    ------
    KeyError
        If there is no such letter.
    """
    gap = np.zeros((HIGH, 1), bool)
    columns = [part for letter in text for part in (_letter(letter), gap)]
    return np.kron(np.hstack(columns[:-1]), np.ones((zoom, zoom), bool))


def haloed(ink: np.ndarray, width: int) -> np.ndarray:
    """Return ink in a wider frame, and all that is near it, to set it off from what is behind.

    Parameters
    ----------
    ink : (ny, nx) ndarray of bool
    width : int
        How far the halo reaches [pixel].

    Returns
    -------
    halo : (ny + 2 width, nx + 2 width) ndarray of bool
        The ink's middle is its own.
    """
    halo = np.zeros((ink.shape[0] + 2 * width, ink.shape[1] + 2 * width), bool)
    for dy in range(2 * width + 1):
        for dx in range(2 * width + 1):
            halo[dy : dy + ink.shape[0], dx : dx + ink.shape[1]] |= ink
    return halo


@functools.cache
def _letter(letter: str) -> np.ndarray:
    rows = _LETTERS[letter].split()
    return np.array([[dot == "#" for dot in row] for row in rows], bool)
