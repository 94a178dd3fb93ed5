"""``lightmill run``: process exposures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightmill.cli.catalog import names_of_steps
from lightmill.cli.products import step_lines
from lightmill.cli.progress import shown_progress, somebody_looks
from lightmill.errors import UsageError

if TYPE_CHECKING:
    from lightmill.pipeline.runner import Outcome

__all__ = ["EPILOG", "parsed", "run"]

EPILOG = (
    "Any parameter can be given as --name=value or --steps.STEP.name=value, and any reference"
    " file as --override-TYPE=FILE; underscores and dashes are the same. `lightmill steps NAME`"
    " lists them."
)
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "1", "0"})


def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="Pipeline, step, module:Class or parameter file.",
            autocompletion=names_of_steps,
        ),
    ],
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT", help="Exposures; and --PARAMETER=VALUE.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="STEP", help="Leave a step out. Repeatable.")
    ] = None,
    start_at: Annotated[
        str | None,
        typer.Option("--start-at", "--start_at", metavar="STEP", help="Begin with this step."),
    ] = None,
    stop_after: Annotated[
        str | None,
        typer.Option("--stop-after", "--stop_after", metavar="STEP", help="End with this step."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Use results kept by earlier runs.")
    ] = False,
    references: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of reference files.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Named set of parameters.")
    ] = None,
    save_parameters: Annotated[
        Path | None,
        typer.Option(
            "--save-parameters",
            "--save_parameters",
            metavar="FILE",
            help="Write the parameters in effect (.asdf, .yaml).",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "--output_dir", metavar="DIR", help="Folder of the products."),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option("--cache-dir", metavar="DIR", help="Folder of kept results (DIR/.lightmill)."),
    ] = None,
    scratch_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of intermediate arrays."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; compute nothing.")
    ] = False,
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", min=1, help="Inputs worked on at the same time.")
    ] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads for each input; default: all processors.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Log every detail.")] = False,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR.")
    ] = None,
    log_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the log there, too.")
    ] = None,
    log_stream: Annotated[
        str, typer.Option(metavar="STREAM", help="stdout, stderr or null.")
    ] = "stderr",
    log_json: Annotated[bool, typer.Option("--log-json", help="Log as JSON events.")] = False,
    logcfg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Log configuration file.", hidden=True)
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    no_observatory: Annotated[  # noqa: ARG001 - parameters never come from a server here
        bool, typer.Option("--disable-crds-steppars", hidden=True)
    ] = False,
) -> int:
    """Process exposures through a pipeline or a step.

    Prints one line per input with what became of it.
    """
    files, parameters, overrides = parsed(inputs or [])
    steps = [name for name in skip or [] if name.lower() not in _WORDS]
    for word in skip or []:
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

    from lightmill import app
    from lightmill.pipeline.logs import configured, note_platform

    with configured(**logging), shown_progress(shown=bar) as progress:
        note_platform()
        outcomes = app.run(
            target.rpartition("::")[2],  # strun's package::alias
            files,
            parameters=parameters,
            overrides=overrides,
            references=references,
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
    return _told(files, outcomes, as_json=as_json, quiet=quiet, dry_run=dry_run)


def parsed(typed: list[str]) -> tuple[list[Path], dict[str, Any], dict[str, str]]:
    """Return inputs, parameters and override files from what was typed.

    Parameters
    ----------
    typed : list of str
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


def _told(
    files: list[Path], outcomes: list[Outcome], *, as_json: bool, quiet: bool, dry_run: bool
) -> int:
    """Print what became of each input; return the exit status of the first failure, or 0."""
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    if as_json:
        told = [_as_dict(*pair) for pair in zip(files, outcomes, strict=True)]
        print(json.dumps({"outcomes": told}, indent=2, default=str))
    for file, outcome in zip(files, outcomes, strict=True):
        if outcome.error is not None:
            print(f"{file}: FAILED\n{outcome.error.story()}", file=sys.stderr)
        elif not (quiet or as_json):
            print(_line(file, outcome, dry_run=dry_run))
    if len(outcomes) > 1 and failed and not quiet:
        print(f"{len(failed)} of {len(outcomes)} inputs failed", file=sys.stderr)
    return failed[0].exit_status if failed else 0


def _line(file: Path, outcome: Outcome, *, dry_run: bool) -> str:
    products = [str(path) for path in outcome.written]
    line = f"{file.name}: {outcome.status}"
    if dry_run:
        steps = [line for note in outcome.record.get("steps", []) for line in step_lines(note)]
        return "\n".join([f"{file.name}: would run", *steps, *(f"  → {p}" for p in products)])
    if outcome.reason:
        line += f" ({outcome.reason})"
    if products:
        line += " → " + ", ".join(products)
    wall = outcome.record.get("wall_s")
    return f"{line}  {wall:.1f} s" if isinstance(wall, int | float) else line


def _as_dict(file: Path, outcome: Outcome) -> dict[str, Any]:
    return {
        "input": str(file),
        "status": str(outcome.status),
        "reason": outcome.reason,
        "written": [str(path) for path in outcome.written],
        "error": None if outcome.error is None else outcome.error.as_dict(),
        "record": outcome.record,
    }
