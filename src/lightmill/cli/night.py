"""``lightmill demo`` and ``lightmill simulate``: nights that never were."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.ops.engines import engine_of, engine_options
from lightmill.cli.progress import shown_progress, somebody_looks
from lightmill.errors import LightmillError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from lightmill.simulate import InstrumentFacts, SimulatedCache, SimulatedExposure

__all__ = ["demo", "simulate"]

NIGHTS = {"night": "imaging", "night-tiny": "imaging-tiny"}  # delivered while an observatory runs
PIPELINE = "calwebb_detector1"

_instrument = click.option("--instrument", metavar="NAME", help="Instrument; default: the demo's.")
_seed = click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    default=1,
    show_default=True,
    help="Decides everything drawn at random.",
)
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")


@command("demo")
@argument(
    "directory",
    metavar="[DIR]",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    help="Folder to make.  [default: demo]",
)
@click.option(
    "--scene",
    metavar="NAME",
    default="night",
    show_default=True,
    help="What to observe; night: the field `imaging`, delivered bit by bit.",
)
@_instrument
@_seed
@engine_options
@_quiet
def demo(
    directory: Path, scene: str, instrument: str | None, seed: int, quiet: bool, **where: Any
) -> int:
    """Simulate a small night, process it, write a report."""
    from lightmill.pipeline.logs import configured
    from lightmill.simulate import Scene

    if scene in _leaves_with_demos():
        return _play(scene, directory, seed, quiet=quiet)
    observed = Scene.named(NIGHTS.get(scene, scene))
    facts = _facts(instrument or observed.instrument)
    if where["engine"] != "local" and scene not in NIGHTS:
        raise UsageError(
            "jobs elsewhere need an observatory at work", found=f"--scene {scene}",
            expected=" or ".join(NIGHTS),
        )  # fmt: skip

    bar = somebody_looks() and not quiet
    level = "WARNING" if bar or quiet else "INFO"
    with configured(level, format="%(message)s"), shown_progress(shown=bar) as progress:
        told: dict[str, Any] = {
            "scene": scene,
            "seed": seed,
            "command": " ".join(["lightmill", *sys.argv[1:]]),
            "progress": progress,
        }
        if scene in NIGHTS:
            from lightmill.cli.night_shift import run_night

            told |= {"scene": observed.name, "engine": partial(engine_of, **where)}
            report = run_night(facts, directory, _running, **told)
        elif observed.filters:
            from lightmill.cli.field import run_field

            report = run_field(facts, directory, _running, **told)
        else:
            from lightmill.cli.demo import run_demo

            report = run_demo(facts, directory, _calibrate, **told)
    if not quiet:
        print(f"{report} shows what came out")
        board = directory / "dashboard" / "index.html"
        if scene in NIGHTS and board.exists():
            print(f"{board} shows how the observatory saw the night")
        products = directory / "products"
        mosaic = next(iter(sorted(products.glob("*_i2d.fits"), key=_size)), None)
        product = mosaic or next(iter(sorted(products.glob("*_rate.fits"))), None)
        if mosaic is not None:
            print(f"lightmill view {mosaic} shows it")
        if product is not None:
            print(f"lightmill explain {product} tells how it was made")
    return 0


def _leaves_with_demos() -> dict[str, str]:
    """Return the modules of demonstrations that instruments keep in their folders, by scene."""
    home = Path(__file__).parents[1] / "observatories"
    return {
        path.parent.name: ".".join(("lightmill", "observatories", *path.parts[-3:-1], "demo"))
        for path in sorted(home.glob("*/*/demo.py"))
    }


def _play(scene: str, directory: Path, seed: int, *, quiet: bool) -> int:
    """Play the demonstration of an instrument's folder, and write its report."""
    import importlib

    from lightmill import app
    from lightmill.cli.field import associations_of
    from lightmill.cli.report.story import write_story
    from lightmill.pipeline.logs import configured
    from lightmill.simulate.story import Tools

    app.discover()
    module = importlib.import_module(_leaves_with_demos()[scene])
    bar = somebody_looks() and not quiet
    level = "WARNING" if bar or quiet else "INFO"
    with configured(level, format="%(message)s"), shown_progress(shown=bar) as progress:
        tools = Tools(_running, associations_of, progress or (lambda *_: None), seed)
        story = module.play(tools, directory)
        report = write_story(directory, story, {"command": " ".join(["lightmill", *sys.argv[1:]])})
    if not quiet:
        print(f"{report} shows what came out")
        if story.product is not None:
            print(f"lightmill view {story.product} shows it")
            print(f"lightmill explain {story.product} tells how it was made")
    return 0


def _size(path: Path) -> tuple[int, str]:
    """Order products: mosaics have shorter names than what is made of single exposures."""
    return "_image" in path.name, str(path)


def _running(cache: SimulatedCache | None) -> Any:
    """Return what runs a pipeline with the references of a cache."""
    from lightmill import app

    given: dict[str, Any] = (
        {} if cache is None else {"crds_path": cache.root, "context": cache.context}
    )

    def run(
        pipeline: str,
        path: Path,
        folder: Path,
        progress: Any = None,
        **parameters: Any,
    ) -> Mapping[str, Any]:
        (outcome,) = app.run(
            pipeline, [path], output_dir=folder, parameters=parameters, progress=progress, **given
        )
        if outcome.error is not None:
            raise outcome.error
        made = {one.stem.rpartition("_")[2]: one for one in outcome.written}
        return {**made, "record": outcome.record}

    return run


def _calibrate(
    exposure: SimulatedExposure, cache: SimulatedCache | None, folder: Path
) -> Mapping[str, Any]:
    """Calibrate one exposure, keeping the ramp for the report."""
    from lightmill import app

    uncal = exposure.uncal
    given: dict[str, Any] = (
        {"overrides": {kind: str(path) for kind, path in exposure.references.items()}}
        if cache is None
        else {"crds_path": cache.root, "context": cache.context}
    )
    (outcome,) = app.run(
        PIPELINE, [uncal], output_dir=folder, parameters={"save_calibrated_ramp": True}, **given
    )
    if outcome.error is not None:
        raise outcome.error
    made = {path.stem.rpartition("_")[2]: path for path in outcome.written}
    if "rate" not in made:
        raise LightmillError("the pipeline made no count-rate image", place=uncal, found=made)
    return {**made, "record": outcome.record}


@command("simulate")
@argument("scene", metavar="SCENE", help="Name of a scene.")
@argument("directory", metavar="DIR", type=click.Path(path_type=Path), help="Folder to write to.")
@_instrument
@click.option(
    "--level",
    type=click.Choice(["uncal", "rate"]),
    default="uncal",
    show_default=True,
    help="Raw exposures, or count rates as the first stage would make of them.",
)
@click.option(
    "--filter",
    "filters",
    metavar="NAME",
    multiple=True,
    help="Filter instead of the scene's; may be given several times.",
)
@_seed
@_quiet
def simulate(
    scene: str,
    directory: Path,
    instrument: str | None,
    level: str,
    filters: tuple[str, ...],
    seed: int,
    quiet: bool,
) -> int:
    """Make exposures of a known scene, with references and truth.

    Prints the exposures. Their references are in DIR, for `lightmill run --references DIR`, and
    with rules that choose them in DIR/crds, for `lightmill run --crds-path DIR/crds`.
    """
    from lightmill.cli.demo import write_cache_beside
    from lightmill.simulate import Scene, observe

    facts = _facts(instrument or Scene.named(scene).instrument)
    with shown_progress(shown=somebody_looks() and not quiet) as progress:
        exposures = observe(
            facts,
            scene,
            seed=seed,
            directory=directory,
            level=level,
            progress=progress,
            filters=tuple(name.upper() for name in filters) or None,
        )
        write_cache_beside(facts, exposures, directory)
    if not quiet:
        for one in exposures:
            print(one.uncal)
    return 0


def _facts(name: str | None) -> InstrumentFacts:
    """Return what is known of an instrument, or of the one demonstrations take."""
    from lightmill.simulate import InstrumentFacts

    known = dict(_simulated())
    if name is not None:
        if name.upper() not in known:
            raise UnknownNameError("instrument that can be simulated", name.upper(), known)
        return InstrumentFacts.from_yaml(known[name.upper()])
    every = [InstrumentFacts.from_yaml(path) for path in known.values()]
    chosen = next((facts for facts in every if facts.demo), None)
    if chosen is None:
        raise LightmillError("no instrument is marked for demonstrations", found=sorted(known))
    return chosen


def _simulated() -> Iterator[tuple[str, Path]]:
    from lightmill import app

    for instrument in app.discover().values():
        path = instrument.home / "simulate.yaml"
        if path.exists():
            yield instrument.name.upper(), path
