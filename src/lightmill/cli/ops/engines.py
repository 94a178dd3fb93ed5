"""Where jobs run: what the commands are told of it, and the engine that follows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.errors import UsageError

if TYPE_CHECKING:
    from lightmill.workflow.engines import Engine

__all__ = ["engine_of", "engine_options"]

OPTIONS = (
    click.option("-j", "--cores", type=click.IntRange(1), metavar="N",
                 help="Jobs at the same time; slurm: cores of each pilot."),
    click.option("--engine", type=click.Choice(["local", "dask", "slurm"]), default="local",
                 show_default=True, help="Where jobs run."),
    click.option("--address", metavar="ADDRESS",
                 help="dask: of the scheduler; without it, processes of this machine."),
    click.option("--partition", metavar="NAME", help="slurm: where pilots are asked for."),
    click.option("--pilots", default=1, show_default=True, type=click.IntRange(1), metavar="N",
                 help="slurm: jobs of the batch system that ours run in."),
    click.option("--interface", metavar="NAME",
                 help="slurm: of the network by which pilots reach this machine."),
)  # fmt: skip


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where jobs run; `engine_of` takes them all."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def engine_of(
    root: Path,
    *,
    engine: str = "local",
    cores: int | None = None,
    address: str | None = None,
    partition: str | None = None,
    pilots: int = 1,
    interface: str | None = None,
) -> Engine:
    """Return the engine that options ask for.

    Parameters
    ----------
    root : Path
        Folder of the observatory.
    engine : str
        ``local``, ``dask`` or ``slurm``.
    cores : int, optional
        As the option of this name; so are the others.
    address, partition : str, optional
    pilots : int
    interface : str, optional

    Raises
    ------
    UsageError
        If Slurm is not told where.
    """
    if engine == "dask":
        from lightmill.workflow.engines.dask import DaskEngine

        return DaskEngine(address, cores=cores)
    if engine == "slurm":
        from lightmill.workflow.engines.slurm import SlurmEngine

        if not partition:
            raise UsageError("Slurm needs to be told where", remedy="--partition NAME")
        folder = root / "pilots"
        folder.mkdir(exist_ok=True)
        return SlurmEngine(
            partition, pilots=pilots, cores=cores or 1, folder=folder, interface=interface
        )
    from lightmill.workflow.engines.local import LocalEngine

    return LocalEngine(cores=cores)
