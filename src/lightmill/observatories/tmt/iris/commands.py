"""``lightmill iris``: simulate the imager, and follow its detectors as they are read."""

from __future__ import annotations

from pathlib import Path

import click

from lightmill.commands import Commands, argument, command

__all__ = ["commands"]

_HERE = __name__
_LIVE = f"{__package__}.live.commands"


@click.group("iris", cls=Commands, no_args_is_help=True, places={
    "simulate": f"{_HERE}:simulate", "play": f"{_LIVE}:play", "live": f"{_LIVE}:live",
})  # fmt: skip
def commands() -> None:
    """Simulate IRIS, and follow its detectors as they are read."""


@command("simulate")
@argument("folder", metavar="DIR", type=click.Path(path_type=Path), help="Folder to write to.")
@click.option(
    "--mode", type=click.Choice(["IMG", "SLICER", "LENSLET"]), default="IMG", show_default=True,
    help="Imager, or one exposure of a small field with the spectrograph.",
)  # fmt: skip
@click.option(
    "--size", type=click.IntRange(64, 4096), default=512, show_default=True, metavar="N",
    help="Rows and columns of a detector.",
)  # fmt: skip
@click.option(
    "--detector", "detectors", type=click.Choice(["IMG1", "IMG2", "IMG3", "IMG4"]), multiple=True,
    default=["IMG1"], show_default=True, help="Detector of the imager; repeatable.",
)  # fmt: skip
@click.option("--filter", "filter_", default="K", show_default=True, metavar="NAME", help="Filter.")
@click.option(
    "--sampling", type=click.Choice(["UTR", "CDS", "MCDS"]), default="UTR", show_default=True,
    help="How reads are to become a frame.",
)  # fmt: skip
@click.option("--reads", type=click.IntRange(2), default=10, show_default=True, metavar="N",
              help="Reads of a ramp.")  # fmt: skip
@click.option("--skies", type=click.IntRange(0), default=3, show_default=True, metavar="N",
              help="Exposures of empty sky.")  # fmt: skip
@click.option("--darks", type=click.IntRange(0), default=0, show_default=True, metavar="N",
              help="Exposures without light.")  # fmt: skip
@click.option("--flats", type=click.IntRange(0), default=0, show_default=True, metavar="N",
              help="Exposures of even light.")  # fmt: skip
@click.option(
    "--zenith-distance", type=click.FloatRange(0, 80), metavar="DEG",
    help="See the spectrograph's field through air, this far from the zenith.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, metavar="N",
              help="Decides everything drawn at random.")  # fmt: skip
def simulate(
    folder: Path,
    mode: str,
    size: int,
    detectors: tuple[str, ...],
    filter_: str,
    sampling: str,
    reads: int,
    skies: int,
    darks: int,
    flats: int,
    zenith_distance: float | None,
    seed: int,
) -> int:
    """Make raw exposures of four dithers of a field, with references and truth.

    Prints the exposures. Rules that choose the references are in DIR/crds.
    """
    if mode != "IMG":
        from lightmill.observatories.tmt.iris import simulate_ifs

        spectrograph = simulate_ifs.SLICER if mode == "SLICER" else simulate_ifs.LENSLET
        sight = None
        if zenith_distance is not None:
            sight = simulate_ifs.Sight(zenith_distance, parallactic_angle=50.0)
        one, _ = simulate_ifs.observe_ifs(
            folder,
            spectrograph,
            sight=sight,
            filter=filter_,
            sampling=sampling,
            reads=reads,
            seed=seed,
        )
        click.echo(one.uncal)
        return 0
    from lightmill.observatories.tmt.iris.simulate import Camera, observe

    made, _ = observe(
        folder, camera=Camera(size=size), detectors=detectors, filter=filter_, sampling=sampling,
        reads=reads, skies=skies, darks=darks, flats=flats, seed=seed,
    )  # fmt: skip
    for one in made:
        click.echo(one.uncal)
    return 0
