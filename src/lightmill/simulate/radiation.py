"""Particles that cross a detector while it is exposed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightmill.simulate.detector import Detector
from lightmill.simulate.facts import InstrumentFacts
from lightmill.simulate.scene import Effects, stream

__all__ = ["HIT", "NEIGHBOUR", "SHOWER", "SNOWBALL", "Events", "draw_events"]

HIT, NEIGHBOUR, SNOWBALL, SHOWER = 0, 1, 2, 3

JUMP_COLUMNS = [
    ("integ", "i4"),
    ("group", "i4"),
    ("y", "i4"),
    ("x", "i4"),
    ("charge_e", "f4"),
    ("kind", "i2"),
]
LARGE_COLUMNS = [
    ("integ", "i4"),
    ("group", "i4"),
    ("y", "f4"),
    ("x", "f4"),
    ("rcore", "f4"),
    ("rjump", "f4"),
]


@dataclass
class Events:
    """All charge that particles leave in an exposure.

    Attributes
    ----------
    jumps : structured array
        integ, group (the first that shows the charge), y, x, charge_e, kind.
    snowballs, showers : structured array
        integ, group, y, x, rcore, rjump: the large events.
    """

    jumps: np.ndarray
    snowballs: np.ndarray
    showers: np.ndarray
    _order: np.ndarray
    _frames: np.ndarray

    def in_frame(self, integration: int, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows' flat key and charge [electron] that arrive in one frame."""
        key = (integration << 32) + frame
        low, high = np.searchsorted(self._frames, [key, key + 1])
        picked = self.jumps[self._order[low:high]]
        return picked, picked["charge_e"]


def draw_events(
    facts: InstrumentFacts,
    detector: Detector,
    effects: Effects,
    *,
    frame_time: float,
    nints: int,
    ngroups: int,
    nframes: int,
    groupgap: int,
    seed: int,
) -> Events:
    """Draw the particles of an exposure.

    A particle crosses at a random angle, leaves charge along its straight
    track and a little of it in the neighbours. Snowballs fill a round core and
    leave a halo; showers are faint and wide.
    """
    r = facts.radiation
    shape = detector.is_reference.shape
    stride = nframes + groupgap
    frames = ngroups * stride - groupgap
    area = detector.is_reference.size * (r.pixel_pitch * 1e-4) ** 2  # cm2
    parts: list[np.ndarray] = []
    large: dict[int, list[tuple[float, ...]]] = {SNOWBALL: [], SHOWER: []}
    for integration in range(nints):
        rng = stream(seed, f"particles {integration}")
        count = rng.poisson(r.flux * effects.cosmic_rays * area * frame_time * frames)
        parts.append(_tracks(rng, facts, shape, count, integration, frames))
        kilosecond_megapixels = detector.is_reference.size / 1e6 * frame_time * frames / 1e3
        for kind, rate in (
            (SNOWBALL, r.snowballs * effects.snowballs),
            (SHOWER, r.showers * effects.showers),
        ):
            for _ in range(rng.poisson(rate * kilosecond_megapixels)):
                frame = int(rng.integers(0, frames))
                make = _snowball if kind == SNOWBALL else _shower
                event, record = make(rng, facts, shape, integration, frame)
                parts.append(event)
                large[kind].append((integration, _group_of(frame, nframes, stride), *record))
    every = np.concatenate(parts)
    every = every[~detector.is_reference[every["y"], every["x"]]]
    jumps = np.zeros(len(every), JUMP_COLUMNS)
    for name in ("integ", "y", "x", "charge_e", "kind"):
        jumps[name] = every[name]
    jumps["group"] = _group_of(every["frame"], nframes, stride)
    keys = (every["integ"].astype(np.int64) << 32) + every["frame"]
    order = np.argsort(keys, kind="stable")
    snowballs, showers = (np.array(large[k], LARGE_COLUMNS) for k in (SNOWBALL, SHOWER))
    return Events(jumps, snowballs, showers, order, keys[order])


_EVENT = [
    ("integ", "i4"),
    ("frame", "i4"),
    ("y", "i4"),
    ("x", "i4"),
    ("charge_e", "f4"),
    ("kind", "i2"),
]


def _group_of(frame, nframes, stride):
    """Group that first contains charge of a frame; dropped frames belong to the next one."""
    group, place = np.divmod(frame, stride)
    return group + (place >= nframes)


def _tracks(rng, facts, shape, count, integration, frames) -> np.ndarray:
    r = facts.radiation
    depth = r.thickness / r.pixel_pitch
    cosine = np.sqrt(rng.random(count))  # flat surface, isotropic flux
    length = np.minimum(depth * np.sqrt(1 / np.maximum(cosine, 1e-3) ** 2 - 1), 15)
    path = np.hypot(length, depth) / depth
    charge = r.charge * rng.lognormal(0, r.charge_scatter, count) * np.minimum(path, 20)
    charge = np.clip(charge, 20, 2e5)
    angle = rng.uniform(0, 2 * np.pi, count)
    y0, x0 = rng.uniform(-0.5, shape[0] - 0.5, count), rng.uniform(-0.5, shape[1] - 0.5, count)
    frame = rng.integers(0, frames, count)
    steps = 1 + np.ceil(length * 3).astype(int)
    which = np.repeat(np.arange(count), steps)
    place = (np.arange(len(which)) - np.repeat(np.cumsum(steps) - steps, steps) + 0.5) / steps[
        which
    ]
    y = np.rint(y0[which] + place * (length * np.sin(angle))[which]).astype(np.int64)
    x = np.rint(x0[which] + place * (length * np.cos(angle))[which]).astype(np.int64)
    # one entry per crossed pixel, then the neighbours' share
    ny, nx = shape
    inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
    which, y, x, q = which[inside], y[inside], x[inside], (charge / steps)[which[inside]]
    keys, entry = np.unique((which * ny + y) * nx + x, return_inverse=True)
    q = np.bincount(entry, q, minlength=len(keys))
    which, y, x = keys // (ny * nx), keys // nx % ny, keys % nx
    rows = [_events(integration, frame[which], y, x, q * (1 - 4 * r.diffusion), HIT)]
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        yn, xn = y + dy, x + dx
        ok = (yn >= 0) & (yn < ny) & (xn >= 0) & (xn < nx)
        key = ((which * ny + yn) * nx + xn)[ok]
        share = _events(integration, frame[which[ok]], yn[ok], xn[ok], q[ok] * r.diffusion, HIT)
        share["kind"][~np.isin(key, keys)] = NEIGHBOUR
        rows.append(share)
    return _summed(np.concatenate(rows), shape)


def _summed(events: np.ndarray, shape) -> np.ndarray:
    """Add up the entries of one frame and pixel; a direct hit names the sum."""
    if not len(events):
        return events
    pixel = events["y"].astype(np.int64) * shape[1] + events["x"]
    key = events["frame"].astype(np.int64) * (shape[0] * shape[1]) + pixel
    order = np.lexsort((events["kind"], key))
    key, events = key[order], events[order]
    first = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    out = events[first].copy()
    out["charge_e"] = np.add.reduceat(events["charge_e"], first)
    return out


def _events(integration, frame, y, x, charge, kind) -> np.ndarray:
    out = np.zeros(len(y), _EVENT)
    out["integ"], out["frame"], out["y"], out["x"] = integration, frame, y, x
    out["charge_e"], out["kind"] = charge, kind
    return out


def _disc(shape, y, x, reach):
    yy, xx = np.mgrid[
        max(0, int(y - reach)) : min(shape[0], int(y + reach) + 2),
        max(0, int(x - reach)) : min(shape[1], int(x + reach) + 2),
    ]
    return yy.ravel(), xx.ravel()


def _snowball(rng, facts, shape, integration, frame):
    y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
    core = rng.uniform(2.5, 6.5)
    reach = core * rng.uniform(2.2, 3.2)
    well = facts.pixels.full_well * facts.pixels.gain
    yy, xx = _disc(shape, y, x, reach)
    r = np.hypot(yy - y, xx - x)
    halo = 0.25 * well * np.exp(-(r - core) / (0.35 * (reach - core)))
    charge = np.where(r < core, 1.6 * well, np.where(r < reach, halo, 0))
    kept = charge > 0
    event = _events(integration, frame, yy[kept], xx[kept], charge[kept], SNOWBALL)
    return event, (y, x, core, reach)


def _shower(rng, facts, shape, integration, frame):
    y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
    long = rng.uniform(8, 30)
    short = long * rng.uniform(0.4, 1.0)
    angle = rng.uniform(0, np.pi)
    peak = 12 * facts.pixels.read_noise * facts.pixels.gain * rng.uniform(0.5, 2.0)
    yy, xx = _disc(shape, y, x, 2.5 * long)
    u = (xx - x) * np.cos(angle) + (yy - y) * np.sin(angle)
    v = (yy - y) * np.cos(angle) - (xx - x) * np.sin(angle)
    r = np.hypot(u / long, v / short)
    charge = rng.poisson(peak * np.exp(-0.5 * r**2))
    kept = (charge > 0) & (r < 2.5)
    event = _events(integration, frame, yy[kept], xx[kept], charge[kept], SHOWER)
    return event, (y, x, short, long)
