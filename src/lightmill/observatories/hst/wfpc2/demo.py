"""``lightmill demo --scene wfpc2``: an archive that heals itself, and the case of 1997."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.explain import change_of
from lightmill.observatories.hst.wfpc2.exposures import Exposure
from lightmill.observatories.hst.wfpc2.frames import ChipImage, to_leader
from lightmill.observatories.hst.wfpc2.geometry import CHIPS, attitude_of, to_fiducial
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.log import EventLog
from lightmill.observatories.hst.wfpc2.maintenance import Archive
from lightmill.observatories.hst.wfpc2.products import chips_of, frame_path
from lightmill.observatories.hst.wfpc2.rays import READ_NOISE
from lightmill.observatories.hst.wfpc2.replay import replay
from lightmill.observatories.hst.wfpc2.request import run, submit
from lightmill.observatories.hst.wfpc2.simulate import jitter_table, write_jitter
from lightmill.observatories.hst.wfpc2.simulate_archive import dithered, write_archive
from lightmill.observatories.hst.wfpc2.simulate_frames import (
    Field,
    FrameTruth,
    make_field,
    simulate_frame,
    write_frame,
)
from lightmill.simulate.story import Chapter, Plate, Story, Tools

__all__ = ["Observed", "observe", "play", "rays_found", "registration", "star_ratios"]

FIELD = (150.1, 2.2, 100.0)  # deg
STEPS = ((0.0, 0.0), (0.53, 0.11), (0.61, 0.67), (0.12, 0.55))  # arcsec
FIRST, SECOND = "199703100000", "199801050000"
MISTAKE = 0.3  # arcsec, of the first jitter files of one exposure
CUT = (slice(330, 470), slice(330, 470))
EDGE = 12  # pixels at the edge of a chip that not every frame sees


@dataclass(frozen=True)
class Observed:
    """What was simulated.

    Parameters
    ----------
    folder : Path
        The archive, with ``jitter`` and ``frames``.
    exposures : list of Exposure
        Where the telescope looked indeed.
    field : Field
        What was there.
    truths : dict
        Exposure → what its frame was made of.
    """

    folder: Path
    exposures: list[Exposure]
    field: Field
    truths: Mapping[str, FrameTruth]


def play(tools: Tools, directory: Path) -> Story:
    """Observe, associate, correct a pointing, and look at what was made again.

    Parameters
    ----------
    tools : Tools
    directory : Path
        Gets ``archive/``, ``products/`` and the store.

    Returns
    -------
    story : Story
        What came out.
    """
    tools.tell("observe", 0, 3)
    observed = observe(directory / "archive", seed=tools.seed)
    frames, products = observed.folder / "frames", directory / "products"
    log = EventLog(directory / "store", create=True)
    archive, instance = Archive(log.state(), log.append), Instance(observed.folder)
    versions: list[tuple[Association, list[ChipImage]]] = []
    for delivery in instance.deliveries:
        tools.tell(f"delivery {delivery}", 1 + delivery, 3)
        submit(archive, instance, [delivery])
        run(archive, instance, products=products, frames=frames)
        (one,) = archive.state.associations.values()
        versions.append((one, chips_of(one, frames)))
    log.close()
    made = [step.done.previews for step in replay(instance)]
    instance.close()
    return _story(observed, versions, made)


def observe(
    folder: Path,
    *,
    steps: tuple[tuple[float, float], ...] = STEPS,
    wrong: int = 2,
    stars: int = 1500,
    seed: int = 0,
) -> Observed:
    """Write an archive of one dithered field, and its two deliveries.

    Parameters
    ----------
    folder : path
        Of the archive.
    steps : tuple of (float, float)
        Of the telescope along V2 and V3, an exposure each [arcsec].
    wrong : int
        Number of the exposure whose first jitter files are wrong.
    stars : int
        In the field.
    seed : int
        Of all that is drawn at random.

    Returns
    -------
    observed : Observed
        In the first delivery the jitter files of one exposure are wrong by 0.3 arcsec; the second
        brings the right ones, and nothing else.
    """
    for name in ("jitter", "frames"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    exposures = dithered(FIELD, steps)
    field = make_field(
        to_fiducial(attitude_of(*FIELD), [exposures[0].aperture]), stars=stars, seed=seed
    )
    truths, first, second = {}, [], []
    for number, one in enumerate(exposures):
        frame, truths[one.dataset_name] = simulate_frame(one, field, seed=100 * seed + number)
        write_frame(frame_path(folder / "frames", one.dataset_name), one, frame)
        error = MISTAKE / 3600 if number == wrong else 0.0
        first += [(one.dataset_name, FIRST, ()), _jitter(folder, one, FIRST, error, number)]
        if error:
            second.append(_jitter(folder, one, SECOND, 0.0, number))
    write_archive(folder, exposures, {0: first, 1: second})
    return Observed(folder, exposures, field, truths)


def registration(observed: Observed, association: Association) -> float:
    """Return how far a star is from where the shifts say it is, at most [pixel].

    Parameters
    ----------
    observed : Observed
        The truth.
    association : Association
        Its shifts are asked.

    Returns
    -------
    error : float
        Of all stars on all chips in all members.
    """
    worst = 0.0
    leader = observed.truths[association.leader]
    for member in association.members:
        truth = observed.truths[member.dataset]
        for number, chip in enumerate(CHIPS):
            xy, there = truth.places[number], leader.places[number]
            inside = ((xy > 0) & (xy < 799)).all(axis=1)
            columns, rows = xy[inside].T
            place = to_leader(member, chip, (800, 800))
            corner = np.floor([rows, columns]).astype(int) + 1  # and the margin
            # The map is linear: the position of the pixel below, and the rest of the way.
            here = place[tuple(corner)] + (
                (rows % 1)[:, None] * (place[2, 1] - place[1, 1])
                + (columns % 1)[:, None] * (place[1, 2] - place[1, 1])
            )
            worst = max(worst, float(np.hypot(*(here - there[inside]).T).max(initial=0.0)))
    return worst


def rays_found(
    observed: Observed, association: Association, images: list[ChipImage]
) -> tuple[float, float]:
    """Return which share of cosmic rays was left out, and which share of good pixels with them.

    Parameters
    ----------
    observed : Observed
        The truth.
    association : Association
        Of the frames.
    images : list of ChipImage
        Of its chips.

    Returns
    -------
    found, lost : float
        Of pixels hit by more than 5 standard errors of the sky; of pixels not hit at all.
    """
    sigma = np.sqrt(READ_NOISE**2 + observed.field.sky * association.members[0].exptime)
    inner = (slice(None), slice(EDGE, -EDGE), slice(EDGE, -EDGE))
    rays = [observed.truths[m.dataset].rays[inner] for m in association.members]
    out = [np.stack([one.rays[n] for one in images])[inner] for n in range(len(rays))]
    hit = [one > 5 * sigma for one in rays]
    found = sum(int((a & b).sum()) for a, b in zip(hit, out, strict=True))
    lost = sum(int((b & (a == 0)).sum()) for a, b in zip(rays, out, strict=True))
    return found / sum(int(a.sum()) for a in hit), lost / sum(int((a == 0).sum()) for a in rays)


def star_ratios(
    observed: Observed, association: Association, image: ChipImage, chip: str, faintest: float
) -> np.ndarray:
    """Return measured over true brightness of the stars that stand alone.

    Parameters
    ----------
    observed : Observed
        The truth.
    association : Association
        Of the frames.
    image : ChipImage
        Of the chip.
    chip : str
        One of `CHIPS`.
    faintest : float
        Electrons in a second.

    Returns
    -------
    ratios : (n,) ndarray of float64
        Within 6 pixels, the sky from the ring around.
    """
    xy = observed.truths[association.leader].places[CHIPS.index(chip)]
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    chosen = ((xy > 25) & (xy < 775)).all(axis=1) & (apart.min(axis=1) > 16)
    chosen &= observed.field.rates > faintest
    radius = np.hypot(*np.mgrid[-8:9, -8:9])
    found = []
    for (x, y), rate in zip(
        np.rint(xy[chosen]).astype(int), observed.field.rates[chosen], strict=True
    ):
        stamp = image.rate[y - 8 : y + 9, x - 8 : x + 9]
        sky = np.nanmedian(stamp[radius > 6])
        found.append(np.nansum(stamp[radius <= 6] - sky) / rate)
    return np.array(found)


def _jitter(
    folder: Path, one: Exposure, generation: str, wrong: float, seed: int
) -> tuple[str, str, tuple[str, ...]]:
    table = jitter_table(
        one.ra_hdr, one.dec_hdr + wrong, one.pa_v3_hdr, exptime=one.exptime, seed=seed
    )
    pair = write_jitter(folder / "jitter", f"{one.root}J", generation, table)
    return one.dataset_name, generation, tuple(f"jitter/{path.name}" for path in pair)


def _story(
    observed: Observed,
    versions: list[tuple[Association, list[ChipImage]]],
    made: list[dict[str, list[str]]],
) -> Story:
    (before, blurred), (after, sharp) = versions
    off = [registration(observed, one) for one, _ in versions]
    found, lost = rays_found(observed, after, sharp)
    ratio = np.concatenate(
        [star_ratios(observed, after, sharp[n], chip, 8.0) for n, chip in enumerate(CHIPS)]
    )
    frame = _frame(observed, after)
    rows: list[list[Any]] = [["preview is made again by", "first delivery", "second delivery"]]
    rows += [[name, *(len(step[name]) for step in made)] for name in made[0]]
    members = [["member", "quality", "shift on WF3 before", "and after"]]
    members += [
        [a.dataset, a.quality, *("{:+.2f} {:+.2f}".format(*m.shifts[2]) for m in (b, a))]
        for b, a in zip(before.members, after.members, strict=True)
    ]
    return Story(
        title="An archive that heals itself",
        lead="Four exposures of one field are an association. The jitter files of one of them were "
        "wrong, and are archived again: nothing else changes, no date moves, and the product is "
        "made again, because its content is another.",
        figures=[
            (f"{off[1]:.3f}", "pixel: stars from where the shifts put them, at most",
             f"{off[0]:.1f} before the correction"),
            (f"{100 * found:.2f} %", "of cosmic rays left out", f"{1e6 * lost:.0f} ppm of good pixels"),
            (f"{100 * (np.median(ratio) - 1):+.2f} %", "median brightness of stars against the truth",
             f"{len(ratio)} stars that stand alone"),
            (f"{len(made[1]['gen_date_1997'])} / {len(made[1]['content_hash'])}",
             "products made again by the rule of 1997 / by content", "in the second delivery"),
        ],
        chapters=[
            Chapter(
                "The images",
                "A part of WF3: as one exposure saw it; all four together with the wrong pointing; and "
                "with the right one.",
                [Plate(frame[CUT], "One exposure", "With its cosmic rays.", "e/s", contrast=30),
                 Plate(blurred[2].rate[CUT], "Before", "One frame is 3 pixels off.", "e/s", contrast=30),
                 Plate(sharp[2].rate[CUT], "After", "Made again.", "e/s", contrast=30)],
            ),
            Chapter("What moved", "; ".join(change_of(before, after)), table=members),
            Chapter(
                "Who noticed",
                "The generation date of the association is that of its exposures, and none was archived "
                "again.",
                table=[[str(cell) for cell in row] for row in rows],
            ),
        ],
    )  # fmt: skip


def _frame(observed: Observed, association: Association) -> np.ndarray:
    from lightmill.observatories.hst.wfpc2.frames import GAIN, read_frame

    path = frame_path(observed.folder / "frames", association.leader)
    return read_frame(path)[2] * np.float32(GAIN / association.members[0].exptime)
