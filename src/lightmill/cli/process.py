"""``lightmill run``: process exposures."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.catalog import names_of_steps
from lightmill.cli.commands import argument, command
from lightmill.cli.products import step_lines
from lightmill.cli.progress import shown_progress, somebody_looks
from lightmill.errors import LightmillError, UsageError

if TYPE_CHECKING:
    from lightmill.pipeline.runner import Outcome

__all__ = ["EPILOG", "parsed", "run"]

EPILOG = (
    "Any parameter can be given as --name=value or --steps.STEP.name=value, and any reference"
    " file as --override-TYPE=FILE; underscores and dashes are the same. `lightmill steps NAME`"
    " lists them."
)
_PATH = click.Path(path_type=Path)
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "1", "0"})


@command(
    "run",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True},
    epilog=EPILOG,
)
@argument(
    "target",
    metavar="WHAT",
    shell_complete=names_of_steps,
    help="Pipeline, step, module:Class or parameter file.",
)
@argument("inputs", metavar="[INPUT]...", nargs=-1, help="Exposures; and --PARAMETER=VALUE.")
@click.option("--skip", multiple=True, metavar="STEP", help="Leave a step out. Repeatable.")
@click.option("--start-at", "--start_at", metavar="STEP", help="Begin with this step.")
@click.option("--stop-after", "--stop_after", metavar="STEP", help="End with this step.")
@click.option("--resume", is_flag=True, help="Use results kept by earlier runs.")
@click.option("--references", type=_PATH, metavar="DIR", help="Folder of reference files.")
@click.option(
    "--crds-path",
    "--crds_path",
    type=_PATH,
    metavar="DIR",
    help="Cache of rules and reference files ($CRDS_PATH).",
)
@click.option("--context", metavar="NAME", help="Rules to choose references by ($CRDS_CONTEXT).")
@click.option("--lock", type=_PATH, metavar="FILE", help="Use nothing but what this file pins.")
@click.option(
    "--no-parameter-references",
    "--disable-crds-steppars",
    "no_parameter_references",
    is_flag=True,
    help="Take no parameters that rules choose.",
)
@click.option("--profile", metavar="NAME", help="Named set of parameters.")
@click.option(
    "--save-parameters",
    "--save_parameters",
    type=_PATH,
    metavar="FILE",
    help="Write the parameters in effect (.asdf, .yaml).",
)
@click.option(
    "--output-dir", "--output_dir", type=_PATH, metavar="DIR", help="Folder of the products."
)
@click.option(
    "--cache-dir", type=_PATH, metavar="DIR", help="Folder of kept results (DIR/.lightmill)."
)
@click.option("--scratch-dir", type=_PATH, metavar="DIR", help="Folder of intermediate arrays.")
@click.option(
    "--record",
    "record_file",
    type=_PATH,
    metavar="FILE",
    help="Write as JSON what --json prints, also if it fails: steps, parameters, references.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done; compute nothing.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Inputs worked on at the same time.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads for each input; default: all processors.",
)
@click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Log every detail.")
@click.option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR.")
@click.option("--log-file", type=_PATH, metavar="FILE", help="Write the log there, too.")
@click.option(
    "--log-stream",
    metavar="STREAM",
    default="stderr",
    show_default=True,
    help="stdout, stderr or null.",
)
@click.option("--log-json", is_flag=True, help="Log as JSON events.")
@click.option("--logcfg", type=_PATH, metavar="FILE", help="Log configuration file.", hidden=True)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def run(
    target: str,
    inputs: tuple[str, ...],
    skip: tuple[str, ...],
    start_at: str | None,
    stop_after: str | None,
    resume: bool,
    references: Path | None,
    crds_path: Path | None,
    context: str | None,
    lock: Path | None,
    no_parameter_references: bool,
    profile: str | None,
    save_parameters: Path | None,
    output_dir: Path | None,
    cache_dir: Path | None,
    scratch_dir: Path | None,
    record_file: Path | None,
    dry_run: bool,
    jobs: int,
    threads: int | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    log_level: str | None,
    log_file: Path | None,
    log_stream: str,
    log_json: bool,
    logcfg: Path | None,
    debug: bool,
) -> int:
    """Process exposures through a pipeline or a step.

    Prints one line per input with what became of it.
    """
    files, parameters, overrides = parsed(inputs)
    steps = [name for name in skip if name.lower() not in _WORDS]
    for word in skip:
        if word.lower() in _WORDS:  # strun's --skip=true
            parameters["skip"] = _text(word)
    if not files:
        raise UsageError(
            "no input is given",
            expected=f"lightmill run {target} INPUT…",
            remedy="name the exposures to process",
        )
    level = log_level or ("DEBUG" if verbose or debug else None)
    bar = level is None and not (quiet or as_json or log_json) and somebody_looks()
    logging = _logging(logcfg, level or ("WARNING" if quiet or bar or as_json else "INFO"))
    if not logcfg:
        logging |= {"stream": None if log_stream == "null" else log_stream, "json": log_json}
    if log_file:
        logging["file"] = log_file

    _import_numpy_alone()
    from lightmill import app
    from lightmill.pipeline.logs import configured, note_platform

    with (
        configured(**logging),
        shown_progress(shown=bar) as progress,
        _recorded_failure(record_file, files),
    ):
        note_platform()
        outcomes = app.run(
            target.rpartition("::")[2],  # strun's package::alias
            files,
            parameters=parameters,
            overrides=overrides,
            references=references,
            crds_path=crds_path,
            context=context,
            lock=lock,
            parameter_references=not no_parameter_references,
            profile=profile,
            skip=steps,
            start_at=start_at,
            stop_after=stop_after,
            resume=resume,
            save_parameters=save_parameters,
            output_dir=output_dir,
            jobs=jobs,
            dry_run=dry_run,
            progress=progress,
            cache_dir=cache_dir,
            threads=threads,
            scratch_dir=scratch_dir,
        )
    if record_file:
        _write_record(record_file, outcomes)
    return _told(outcomes, as_json=as_json, quiet=quiet, dry_run=dry_run)


def _import_numpy_alone() -> None:
    """Import numpy without the threads of its linear algebra, which no step uses.

    They wait in a busy loop when they start: 60 ms of CPU time. The variable is read when the
    library is loaded and removed again, so that commands a hook starts do not inherit it.
    """
    name = "OPENBLAS_NUM_THREADS"
    if name in os.environ:
        return
    os.environ[name] = "1"
    try:
        import numpy as np  # noqa: F401
    finally:
        del os.environ[name]


def parsed(typed: Sequence[str]) -> tuple[list[Path], dict[str, Any], dict[str, str]]:
    """Return inputs, parameters and override files from what was typed.

    Parameters
    ----------
    typed : sequence of str
        Inputs and free options: ``--name=value`` or ``--name value``.

    Returns
    -------
    inputs : list of Path
        In the order typed.
    parameters : dict
        Dotted name → text.
    overrides : dict
        Reference type → file.
    """
    inputs: list[Path] = []
    parameters: dict[str, Any] = {}
    overrides: dict[str, str] = {}
    words = iter(typed)
    for word in words:
        if word == "--":
            inputs.extend(Path(rest) for rest in words)
            break
        if not word.startswith("--"):
            if word.startswith("-") and not Path(word).exists():
                raise UsageError("no such option", found=word, remedy="parameters take two dashes")
            inputs.append(Path(word))
            continue
        name, equals, value = word[2:].partition("=")
        if not equals:
            value = next(words, "")
            if not value or value.startswith("--"):
                raise UsageError(
                    "the parameter has no value",
                    place=f"--{name}",
                    expected=f"--{name}=VALUE",
                    remedy=f"--{name}=true, if you mean to switch it on",
                )
        key = name.replace("-", "_")
        if key.startswith("override_"):
            overrides[key.removeprefix("override_")] = value
        else:
            parameters[key] = _text(value)
    return inputs, parameters, overrides


def _text(value: str) -> Any:
    from lightmill.pipeline.spelling import Text

    return Text(value)


def _logging(logcfg: Path | None, level: str) -> dict[str, Any]:
    if logcfg is None:
        return {"level": level}
    from lightmill.pipeline.logs import read_log_cfg

    return {"level": level, **read_log_cfg(logcfg)}


@contextlib.contextmanager
def _recorded_failure(path: Path | None, files: list[Path]) -> Iterator[None]:
    """Write the record of a single run that fails; of several, each has its outcome."""
    try:
        yield
    except LightmillError as error:
        if path:
            from lightmill.pipeline.outcome import Outcome, Status

            name, record = str(files[0]), error.record or {}
            failed = Outcome(Status.FAILED, error=error, input=name, record=record)
            with contextlib.suppress(LightmillError):  # what failed first is what is told
                _write_record(path, [failed])
        raise


def _write_record(path: Path, outcomes: list[Outcome]) -> None:
    from lightmill.models import atomic

    told = {"outcomes": [_as_dict(outcome) for outcome in outcomes]}
    with atomic(path) as file:
        file.write(json.dumps(told, indent=1, default=str).encode())


def _told(outcomes: list[Outcome], *, as_json: bool, quiet: bool, dry_run: bool) -> int:
    """Print what became of each input; return the exit status of the first failure, or 0."""
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    if as_json:
        told = [_as_dict(outcome) for outcome in outcomes]
        print(json.dumps({"outcomes": told}, indent=2, default=str))
    for outcome in outcomes:
        if outcome.error is not None:
            print(f"{outcome.input}: FAILED\n{outcome.error.story()}", file=sys.stderr)
        elif not (quiet or as_json):
            print(_line(outcome, dry_run=dry_run))
    if len(outcomes) > 1 and failed and not quiet:
        print(f"{len(failed)} of {len(outcomes)} inputs failed", file=sys.stderr)
    return failed[0].exit_status if failed else 0


def _line(outcome: Outcome, *, dry_run: bool) -> str:
    products = [str(path) for path in outcome.written]
    line = f"{outcome.input}: {outcome.status}"
    if dry_run:
        steps = [line for note in outcome.record.get("steps", []) for line in step_lines(note)]
        return "\n".join([f"{outcome.input}: would run", *steps, *(f"  → {p}" for p in products)])
    if outcome.reason:
        line += f" ({outcome.reason})"
    if products:
        line += " → " + ", ".join(products)
    wall = outcome.record.get("wall_s")
    return f"{line}  {wall:.1f} s" if isinstance(wall, int | float) else line


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    return {
        "input": outcome.input,
        "status": str(outcome.status),
        "reason": outcome.reason,
        "written": [str(path) for path in outcome.written],
        "error": None if outcome.error is None else outcome.error.as_dict(),
        "record": outcome.record,
    }
