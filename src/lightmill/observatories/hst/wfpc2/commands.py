"""``lightmill wfpc2``: associations of WFPC2 exposures, and what they follow from."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lightmill.commands import Commands, argument, command
from lightmill.observatories.hst.wfpc2.previews import DEFAULT_POLICY, POLICIES

__all__ = ["commands"]

_HERE = __name__
_DIFFERS = 3  # exit status, as of other bad data
_STORE = argument("store", help="Folder of the store, or its URL.")
_ARCHIVE = argument(
    "archive", type=click.Path(path_type=Path), help="Folder: archive.sqlite, jitter files."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
_OUTPUT = click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    show_default=True,
    help="Folder of what is made.",
)


@click.group(
    "wfpc2",
    cls=Commands,
    places={
        "submit": f"{_HERE}:submit_command",
        "run": f"{_HERE}:run_command",
        "status": f"{_HERE}:status_command",
        "why": f"{_HERE}:why_command",
        "release": f"{_HERE}:release_command",
        "rules": f"{_HERE}:rules_command",
        "check": f"{_HERE}:check_command",
        "deliver": f"{_HERE}:deliver_command",
        "measure": f"{_HERE}:measure_command",
        "build": f"{_HERE}:build_command",
        "product": f"{_HERE}:product_command",
    },
    no_args_is_help=True,
)
def commands() -> None:
    """Keep associations of WFPC2 exposures true to a changing archive."""


@command("submit")
@_STORE
@_ARCHIVE
@click.option("--delivery", multiple=True, type=int, help="Number of a delivery; by default all.")
@_JSON
def submit_command(store: str, archive: Path, delivery: tuple[int, ...], as_json: bool) -> None:
    """Take deliveries in, and begin the store if there is none."""
    from lightmill.observatories.hst.wfpc2.request import submit

    with _opened(store, create=True, keep=True) as maintained, _instance(archive) as instance:
        taken = submit(maintained, instance, delivery or None)
    if as_json:
        click.echo(json.dumps({"deliveries": taken}))
    else:
        for number, count in taken.items():
            click.echo(f"delivery {number}: {count} arrivals")
        if not taken:
            click.echo("nothing new")


@command("run")
@_STORE
@_ARCHIVE
@click.option(
    "--products",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for association tables and images; without it none are written.",
)
@click.option(
    "--frames",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of calibrated frames (_c0m.fits), to be combined; without it only tables are made.",
)
@click.option(
    "--policy",
    type=click.Choice(list(POLICIES)),
    default=DEFAULT_POLICY,
    show_default=True,
    help="When the product of an association is made again.",
)
@click.option(
    "--again",
    is_flag=True,
    help="Also try jitter files that failed before their time has come; not those in quarantine.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="Fetch jitter files that are missing or damaged: a folder, or a list of addresses.",
)
@click.option(
    "--attempts",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Requests to a server without any progress before a file is given up for now.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Longest silence of a server [s].",
)
@click.option("-q", "--quiet", is_flag=True, help="Do not show how fetching goes on.")
@_JSON
def run_command(
    store: str,
    archive: Path,
    products: Path | None,
    frames: Path | None,
    policy: str,
    again: bool,
    source: Path | None,
    attempts: int,
    timeout: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Do all that is owed: fetch, extract pointings, build associations, make products."""
    import time

    from lightmill.observatories.hst.wfpc2.request import run

    with (
        _opened(store, keep=True) as maintained,
        _instance(archive) as instance,
        _fetching(archive, source, attempts, timeout, shown=not (quiet or as_json)) as fetching,
    ):
        done = run(
            maintained, instance, products=products, frames=frames, policy=policy, again=again,
            fetching=fetching, now=time.time(),
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
        return
    changed = done.associations
    if source is not None:
        click.echo(f"{len(done.fetched)} pairs fetched, {len(done.not_fetched)} not to be had")
    click.echo(
        f"{len(done.extracted)} pointings extracted, {len(done.unreadable)} unreadable; "
        f"{len(done.built)} proposals built, {len(done.failed)} failed; "
        f"associations: {len(changed.new)} new, {len(changed.content_changed)} changed, "
        f"{len(changed.retired)} retired; {len(done.previews[policy])} products made"
    )


@command("status")
@_STORE
@click.option(
    "--whole-log",
    is_flag=True,
    help="First read the log from its beginning; a snapshot that says something else is thrown away.",
)
@_JSON
def status_command(store: str, whole_log: bool, as_json: bool) -> int:
    """Tell how the archive stands: flags, what is owed, what failed and why.

    Leaves with 3 if the snapshot was not what the log says.
    """
    from lightmill.observatories.hst.wfpc2.request import status

    differs = _differs(store) if whole_log else []
    if differs:
        click.echo(f"the snapshot was not what the log says, in {_some(differs)}", err=True)
    with _opened(store) as maintained:
        found = status(maintained.state)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _tell_status(found)
    return _DIFFERS if differs else 0


def _tell_status(found: dict[str, Any]) -> None:
    """Print how an archive stands."""
    click.echo(
        f"{found['exposures']} exposures, {found['associations']} associations of "
        f"{found['members']} members, {found['retired']} retired"
    )
    for flags, count in found["flags"].items():
        click.echo(f"  {flags}: {count}")
    for title in ("to_extract", "to_queue", "to_build"):
        if found[title]:
            click.echo(f"{title.replace('_', ' ')}: {len(found[title])}")
    owed = ", ".join(f"{count} by {name}" for name, count in found["previews_owed"].items())
    click.echo(f"previews owed: {owed}")
    for one in found["requests"]:
        click.echo(f"request {one['request']} of {one['pairs']} pairs: {one['waiting']} wait")
    for one in (*found["unreadable"], *found["failures"]):
        title = one.get("dataset") or one["of"]
        click.echo(f"{title}, tried {one['attempts']} times{_when(one)}: {one['story']}")
    for alarm in found["alarms"]:
        click.echo(f"ALARM {alarm}")


@command("why")
@_STORE
@argument("name", help="Name of an exposure or an association.")
@_JSON
def why_command(store: str, name: str, as_json: bool) -> None:
    """Explain why an exposure is where it is, or who is in an association and why."""
    from lightmill.observatories.hst.wfpc2.explain import explain_association, explain_exposure

    with _opened(store) as maintained:
        explain = explain_association if name[-1:] in {"A", "B"} else explain_exposure
        found = explain(maintained.state, name)
    click.echo(json.dumps(asdict(found), indent=2) if as_json else found.text())


@command("release")
@_STORE
@argument("datasets", nargs=-1, help="Names of jitter datasets or exposures.")
@click.option("--all", "everything", is_flag=True, help="All that are in quarantine.")
def release_command(store: str, datasets: tuple[str, ...], everything: bool) -> None:
    """Have jitter files tried again that failed so often that they were left alone."""
    from lightmill.errors import UnknownNameError, UsageError
    from lightmill.observatories.hst.wfpc2.events import Released
    from lightmill.observatories.hst.wfpc2.exposures import root_of

    if not datasets and not everything:
        raise UsageError("nothing is named to be released", remedy="name datasets, or say --all")
    roots = {root_of(one) for one in datasets}
    with _opened(store) as maintained:
        failed = maintained.state.unreadable
        if unknown := roots - {root for root, _ in failed}:
            raise UnknownNameError("dataset that failed", min(unknown), {one for one, _ in failed})
        chosen = [
            (root, generation)
            for (root, generation), one in sorted(failed.items())
            if root in roots or (everything and one.is_quarantined)
        ]
        for root, generation in chosen:
            maintained.record(Released(f"{root}J", generation))
            click.echo(f"{root}J {generation}: the next run tries it")
    if not chosen:
        click.echo("nothing is in quarantine")


@command("rules")
@_STORE
@click.option("--radius", type=float, help="Largest distance from the leader [arcsec].")
@click.option("--roll", type=float, help="Largest difference of roll [deg].")
@click.option(
    "--split", type=float, help="Exposures closer than this are one pointing [WF4 pixel]."
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    help="Days after an exposure from which it is also associated by its header (type B).",
)
@click.option("--no-grace", is_flag=True, help="Associate by jitter files only.")
@click.option("--adopt", is_flag=True, help="From now on; the next run builds by them.")
@_JSON
def rules_command(
    store: str, no_grace: bool, adopt: bool, as_json: bool, **other: float | None
) -> None:
    """Tell the tolerances, or what others would change; adopt them.

    Without --adopt nothing is changed.
    """
    from dataclasses import replace
    from datetime import UTC, datetime

    from lightmill.observatories.hst.wfpc2.events import Adopted
    from lightmill.observatories.hst.wfpc2.maintenance import would_change

    chosen: dict[str, float | None] = {k: v for k, v in other.items() if v is not None}
    if no_grace:
        chosen["grace"] = None
    today = datetime.now(UTC).date().isoformat()
    with _opened(store) as maintained:
        state = maintained.state
        rules = replace(state.rules, **chosen)
        found = would_change(state, rules, today)
        if adopt and rules != state.rules:
            maintained.record(Adopted(rules))
    if as_json:
        click.echo(json.dumps({"rules": asdict(rules), "would_change": asdict(found)}, indent=2))
        return
    for name, value in asdict(rules).items():
        click.echo(f"{name}: {'none' if value is None else format(value, 'g')}")
    if chosen:
        told = "will" if adopt else "would"
        for what, names in asdict(found).items():
            if names:
                click.echo(f"{told} be {what.replace('_', ' ')}: {len(names)}: {_some(names)}")


@command("deliver")
@_ARCHIVE
@argument("inbox", type=click.Path(path_type=Path, file_okay=False), help="Where operations look.")
@click.option("--delivery", multiple=True, type=int, help="Number of a delivery; by default all.")
def deliver_command(archive: Path, inbox: Path, delivery: tuple[int, ...]) -> None:
    """Put deliveries of an archive's copy where `lightmill ops watch` takes them in.

    Corrections of the database that came with them are printed as the commands that tell them.
    """
    import shlex

    from lightmill.observatories.hst.wfpc2.handover import hand_over

    with _instance(archive) as instance:
        for number in delivery or instance.deliveries:
            handed = hand_over(instance, number, inbox)
            click.echo(f"# delivery {number}: {len(handed.files)} files")
            for name in handed.missing:
                click.echo(f"# delivery {number}: {name} is missing")
            for one in handed.corrections:
                name = f"{one.dataset.lower()}_exposure.json"
                click.echo(f"lightmill ops set {name} {shlex.quote(f'{one.column}={one.value}')}")


@command("measure")
@argument("jit", type=click.Path(path_type=Path), help="Table of a pair, _jit.fits.")
@argument("jif", type=click.Path(path_type=Path), help="Its statistics, _jif.fits.")
@_OUTPUT
def measure_command(jit: Path, jif: Path, output_dir: Path) -> None:
    """Measure the pointing in one pair of jitter files: _pointing.json.

    A piece of `run` on files alone; `lightmill ops` has it run.
    """
    from lightmill.observatories.hst.wfpc2.pieces import measure

    click.echo(measure(jit, jif, output_dir))


@command("build")
@argument("document", type=click.Path(path_type=Path), help="JSON: exposures of a proposal, rules.")
@click.option(
    "--pointings",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="Folder of _pointing.json, one of each exposure.",
)
@_OUTPUT
def build_command(document: Path, pointings: Path, output_dir: Path) -> None:
    """Build the associations of one proposal: an _asn.json of each.

    A piece of `run` on files alone; `lightmill ops` has it run.
    """
    from lightmill.observatories.hst.wfpc2.pieces import build

    for path in build(document, pointings, output_dir):
        click.echo(path)


@command("product")
@argument("association", type=click.Path(path_type=Path), help="Association, _asn.json.")
@click.option(
    "--frames",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of calibrated frames (_c0m.fits), to be combined; without it only the table is made.",
)
@_OUTPUT
def product_command(association: Path, frames: Path | None, output_dir: Path) -> None:
    """Make the products of one association: table, images, picture.

    A piece of `run` on files alone; `lightmill ops` has it run.
    """
    from lightmill.observatories.hst.wfpc2.pieces import make_product

    for path in make_product(association, output_dir, frames):
        click.echo(path)


@command("check")
@argument("folder", type=click.Path(path_type=Path), help="Archive: archive.sqlite, jitter files.")
@_JSON
@click.option(
    "--result",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write all that was made, in the form of truth.json.",
)
def check_command(folder: Path, as_json: bool, result: Path | None) -> int:
    """Replay the deliveries of an archive, and compare with what is known of it.

    Leaves with 3 if anything differs.
    """
    from lightmill.observatories.hst.wfpc2.check import check

    found = check(folder, keep=result is not None)
    if result is not None:
        result.write_text(json.dumps(found.result), encoding="utf-8")
    record = found.as_dict()
    if as_json:
        click.echo(json.dumps(record, indent=2))
    else:
        click.echo(
            f"{record['exposures']} exposures of {record['proposals']} proposals, "
            f"{record['associations']} associations with {record['members']} members"
        )
        for one in found.deliveries:
            click.echo(_line_of(one))
        for line in record["differences"]:
            click.echo(line)
        click.echo(f"{record['mismatches']} mismatches")
    return _DIFFERS if found.differences else 0


def _when(one: dict[str, Any]) -> str:
    """Return when something is tried again, in words."""
    if one.get("quarantined"):
        return ", in quarantine"
    if not one.get("due_at"):
        return ""
    from datetime import UTC, datetime

    return f", again after {datetime.fromtimestamp(one['due_at'], UTC):%Y-%m-%d %H:%M}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (" …" if len(names) > 10 else "")


def _line_of(one: dict[str, Any]) -> str:
    previews = ", ".join(f"{n} by {policy}" for policy, n in one["previews"].items())
    return (
        f"delivery {one['delivery']}: {one['jep_ok']} pointings extracted, "
        f"{one['jep_failed']} unreadable, {one['ab_pep_ids']} proposals built, "
        f"{one['content_changed'] + one['new']} associations new or changed, "
        f"{one['retired']} retired; previews: {previews}"
    )


def _differs(store: str) -> list[str]:
    """Return in what the snapshot of a store is not what the whole log says, and throw it away."""
    from lightmill.observatories.hst.wfpc2.log import EventLog

    log = EventLog(store)
    try:
        if differs := log.compare():
            log.forget()
        return differs
    finally:
        log.leave()


@contextlib.contextmanager
def _opened(store: str, *, create: bool = False, keep: bool = False) -> Iterator[Any]:
    """Open the archive of a store; what is recorded is written when it is closed.

    With `keep` the state is kept beside the log, for the next command to begin with.
    """
    from lightmill.observatories.hst.wfpc2.log import EventLog
    from lightmill.observatories.hst.wfpc2.maintenance import Archive

    log = EventLog(store, create=create)
    try:
        state = log.state()
        maintained = _of_operations(log, keep=keep) or Archive(state, log.append, log.flush)
        yield maintained
        log.flush()
        if keep:
            log.keep(maintained.state)
    finally:
        log.leave()


def _of_operations(log: Any, *, keep: bool) -> Any:
    """Return the archive that operations keep in a store, to be looked at; None if they do not."""
    from lightmill.observatories.hst.wfpc2.keepers import is_kept_by_operations

    if not is_kept_by_operations(log.engine):
        return None
    from lightmill.errors import ConfigurationError
    from lightmill.observatories.hst.wfpc2.maintenance import Archive
    from lightmill.observatories.hst.wfpc2.site import refuse, state_of_site

    if keep:
        refuse()
    if log.last:
        raise ConfigurationError(
            "two keep this archive",
            place=log.engine.url.render_as_string(hide_password=True),
            found="a log of `lightmill wfpc2`, and files that operations took in",
            remedy="begin a store of its own for `lightmill ops`, and deliver there again",
        )
    return Archive(state_of_site(log.engine), refuse)


@contextlib.contextmanager
def _fetching(
    folder: Path, source: Path | None, attempts: int, timeout: float, *, shown: bool
) -> Iterator[Any]:
    """Return what fetches from a source, and show how it goes on; None without one."""
    if source is None:
        yield None
        return
    import threading

    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn

    from lightmill.observatories.hst.wfpc2.fetching import Fetching
    from lightmill.observatories.hst.wfpc2.sources import source_of
    from lightmill.reference.transport import Patience

    columns = (TextColumn("fetching {task.description}"), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        bar = progress.add_task("", total=None)
        bytes_of: dict[str, int] = {}
        guard = threading.Lock()

        def told(name: str, done: int, _: int) -> None:
            with guard:
                progress.advance(bar, done - bytes_of.get(name, 0))
                bytes_of[name] = done
                progress.update(bar, description=f"{name}, file {len(bytes_of)}:")

        patience = Patience(attempts=attempts, timeout=timeout)
        yield Fetching(folder, source_of(source), patience, told if shown else None)


@contextlib.contextmanager
def _instance(folder: Path) -> Iterator[Any]:
    from lightmill.observatories.hst.wfpc2.instance import Instance

    instance = Instance(folder)
    try:
        yield instance
    finally:
        instance.close()
