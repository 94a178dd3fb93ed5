"""``lightmill ops init``, ``watch`` and ``ingest``: what writes the store by itself."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.ops.deliveries import deliveries_of, delivery_options
from lightmill.cli.ops.engines import engine_of, engine_options
from lightmill.cli.ops.place import FILE, Site, root_option, site_of
from lightmill.errors import ConfigurationError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from lightmill.operations import Observing
    from lightmill.workflow.arrivals import Gate
    from lightmill.workflow.conditions import Conditions, Expectations
    from lightmill.workflow.engines import Engine
    from lightmill.workflow.service import Service, Ticked

__all__ = ["ingest", "init", "planner_of", "service_of", "watch"]


@command("init")
@root_option
@click.option("--store", default="", metavar="URL", help="PostgreSQL, for instance; else a file.")
@click.option("--observatory", default="", metavar="NAME", help="Whose rules and pipelines.")
@click.option(
    "--run", "words", multiple=True, metavar="WORD",
    help="A word for every `lightmill run`, as --references=DIR; repeatable.",
)  # fmt: skip
@click.option(
    "--redo", type=click.Choice(["at once", "on approval"]), default="at once", show_default=True,
    help="When what was made of a file is made again, if a newer one arrives.",
)  # fmt: skip
@click.option(
    "--bad-data", type=click.Choice(["quarantine", "stop"]),
    help="What becomes of an exposure that a job finds to be bad: it is set aside and the rest goes "
    "on without it, or all that needs it waits for an operator. By default as the observatory "
    "says, else it is set aside.",
)  # fmt: skip
@click.option("--attempts", default=3, show_default=True, type=click.IntRange(1), metavar="N",
              help="Jobs until one that fails for a passing reason is given up.")  # fmt: skip
def init(
    root: Path,
    store: str,
    observatory: str,
    words: tuple[str, ...],
    redo: str,
    bad_data: str | None,
    attempts: int,
) -> None:
    """Make a folder into an observatory's, or bring its store up to date."""
    import yaml

    from lightmill.workflow.store import create_store

    root.mkdir(parents=True, exist_ok=True)
    path = root / FILE
    if path.exists() and (store or observatory or words):
        raise UsageError(
            "the folder is an observatory's already", place=path, remedy="change the file"
        )
    if not path.exists():
        _home(observatory)  # that there is one
        told = [_from_anywhere(word) for word in words]
        facts = {"store": store, "observatory": observatory, "run": told}
        path.write_text(yaml.safe_dump(facts, sort_keys=False), encoding="utf-8")
    site = site_of(root)
    create_store(site.place)
    opened = site.opened()
    bad_data = bad_data or planner_of(site).facts.get("bad_data", "quarantine")
    opened.set(policy={"redo": redo, "attempts": attempts, "bad_data": bad_data})
    opened.close()
    print(f"{root} is ready: lightmill ops watch FOLDER --root {root}")


def _from_anywhere(word: str) -> str:
    """Return a word with the path in it made absolute: jobs run in folders of their own.

    A path is what has a slash, or is the value of an option for one, and leads somewhere now.
    """
    name, equals, value = word.partition("=")
    if not equals:
        name, value = "", word
    is_path = "/" in value or name.endswith(("-path", "-dir")) or name.startswith("--override")
    if is_path and value and Path(value).exists():
        return f"{name}{equals}{Path(value).resolve()}"
    return word


@command("watch")
@argument("folder", metavar="[FOLDER]", required=False,
          type=click.Path(path_type=Path, file_okay=False),
          help="Where files are delivered; without it, only jobs are looked after.")  # fmt: skip
@root_option
@delivery_options
@click.option("--intake-only", is_flag=True,
              help="Take in what is delivered, and leave the jobs to another process.")  # fmt: skip
@engine_options
@click.option("--until-idle", type=click.FloatRange(0), metavar="SECONDS",
              help="End when there was nothing to do for so long.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def watch(
    folder: Path | None,
    root: Path,
    intake_only: bool,
    until_idle: float | None,
    quiet: bool,
    **more: Any,
) -> None:
    """Run an observatory: take in what is delivered, and process it."""
    import logging

    site = site_of(root)
    if folder is None and intake_only:
        raise UsageError("there is nothing to take in", remedy="name the folder of deliveries")
    planner = planner_of(site)
    conditions, expectations, where = deliveries_of(planner, more)
    service = service_of(
        site,
        gate=None if folder is None else _gate(site, folder, conditions),
        expectations=expectations,
        engine=None if intake_only else engine_of(site.root, **where),
    )
    logging.basicConfig(format="%(asctime)s %(message)s")  # of what is away, full or refused
    stopped = _Stopped()
    told = None if quiet else _Told(service).turn
    try:
        service.run(until_idle=until_idle, told=told, is_over=stopped)
        if told is not None:
            _tell_short(service)
            _tell_failed(service, root)
    finally:
        service.close()


@command("ingest")
@argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path),
          help="Files; they stay where they are.")  # fmt: skip
@root_option
@click.option("--move", is_flag=True, help="Take them away from where they are.")
def ingest(files: tuple[Path, ...], root: Path, move: bool) -> int:
    """Take files into the archive, as if they had been delivered."""
    service = service_of(site_of(root))
    counts = service.ingest(list(files), keep=not move)
    service.close()
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    return 3 if counts.get("refused") else 0


def service_of(
    site: Site,
    *,
    gate: Gate | None = None,
    expectations: Expectations | None = None,
    engine: Engine | None = None,
) -> Service:
    """Return the service of an observatory; without an engine, it only takes in what is delivered."""
    from lightmill.workflow.service import Service

    planner = planner_of(site)
    return Service(
        site.root,
        site.opened(),
        engine,
        planner,
        gate=gate,
        expectations=expectations or planner.expectations,
    )


def _tell_short(service: Service) -> None:
    """Say which observations are left waiting for exposures."""
    from lightmill.cli.ops.looking import in_words, shortfall_of

    for row in service.store.short_candidates():
        print(in_words(shortfall_of(row)), file=sys.stderr)


def _tell_failed(service: Service, root: Path) -> None:
    """Say how to go on where tasks have failed."""
    count = service.store.status()["tasks"].get("FAILED", 0)
    if count:
        are = "task has" if count == 1 else "tasks have"
        print(f"{count} {are} failed: lightmill ops tasks --state failed --root {root}",
              file=sys.stderr)  # fmt: skip


def _gate(site: Site, folder: Path, conditions: Conditions) -> Gate:
    """Return what watches a folder of deliveries."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.resolve() == site.root or folder.resolve() in site.root.parents:
        raise UsageError(
            "the folder of deliveries holds the observatory's own", place=folder,
            remedy="choose one that holds deliveries alone",
        )  # fmt: skip
    return conditions.gate(folder)


def planner_of(site: Site) -> Observing:
    """Return who knows the rules, pipelines and instruments of an observatory."""
    from lightmill.operations import planner_at

    planner: Observing = planner_at(_home(site.observatory), site.run)
    return planner


def _home(name: str) -> Path:
    """Return the folder of the observatory that is named, or of the only one that can operate.

    An instrument can, too: one whose archive is kept by itself.
    """
    from lightmill import app
    from lightmill.instrument import instruments, observatories

    app.discover()
    homes = {one.name: one.home for one in observatories()}
    homes |= {one.name: one.home for one in instruments()}
    homes = {one: home for one, home in homes.items() if (home / "operations.yaml").exists()}
    if name:
        for known, home in homes.items():
            if known.lower() == name.lower():
                return home
        raise UnknownNameError("observatory that says what runs when data arrive", name, homes)
    if len(homes) != 1:
        raise ConfigurationError(
            "several observatories say what runs when data arrive",
            found=", ".join(sorted(homes)),
            remedy="--observatory NAME",
        )
    return next(iter(homes.values()))


class _Stopped:
    """Says whether somebody asked for the end: by Ctrl-C, or as a service manager does."""

    def __init__(self) -> None:
        self.asked = False
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        del number, frame
        self.asked = True

    def __call__(self) -> bool:
        return self.asked


class _Told:
    """Prints a line when the counts change."""

    def __init__(self, service: Service) -> None:
        self.service, self.last = service, ""

    def turn(self, done: Ticked) -> None:
        """Print what there is now."""
        if not done and self.last:
            return
        status = self.service.store.status()
        parts = [
            f"{name}: "
            + (", ".join(f"{count} {state}" for state, count in counts.items()) or "none")
            for name, counts in status.items()
        ]
        line = "; ".join(parts)
        if line != self.last:
            print(line, flush=True, file=sys.stderr)
            self.last = line
