"""The composition root: finds the instruments, wires the parts, runs what is asked for."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightmill import instrument as instruments_
from lightmill import models
from lightmill.errors import ConfigurationError, LightmillError, UnknownNameError, UsageError
from lightmill.instrument import Instrument, instrument_of
from lightmill.pipeline import Pipeline, Step, parameter_files
from lightmill.pipeline.inputs import Source, meta_of, sources_of
from lightmill.pipeline.memory import keep_freed_memory
from lightmill.pipeline.parameters import accepted
from lightmill.pipeline.pipeline import pipeline_class
from lightmill.pipeline.runner import MISSING_MEMBERS, Options, Outcome, Run, Status
from lightmill.pipeline.settings import Settings, merge, unknown_parameter
from lightmill.pipeline.step import known_steps
from lightmill.reference import References
from lightmill.reference.at_hand import rules_are_at_hand
from lightmill.yaml_files import read_yaml

__all__ = ["StepInfo", "discover", "pipelines", "register", "run", "steps"]

CAPABILITIES = (
    "lightmill.detector",
    "lightmill.imaging",
    "lightmill.spectroscopy",
)  # the packages whose import defines steps


@functools.cache
def discover() -> dict[str, Instrument]:
    """Find every observatory and instrument: our folders, then installed plug-ins.

    Returns
    -------
    instruments : dict
        ``OBSERVATORY/INSTRUMENT`` → Instrument.

    Raises
    ------
    ConfigurationError
        If two define the same instrument, or a plug-in cannot be loaded.
    """
    found: dict[str, tuple[Instrument, str]] = {}
    home = Path(__file__).parent / "observatories"
    for observatory in sorted(p.parent for p in home.glob("*/__init__.py")):
        name = f"lightmill.observatories.{observatory.name}"
        instruments_.register_observatory(importlib.import_module(name).OBSERVATORY)
        for leaf in sorted(p.parent for p in observatory.glob("*/__init__.py")):
            module = f"{name}.{leaf.name}"
            _add(found, importlib.import_module(module).INSTRUMENT, module)
            if (leaf / "models.py").exists():  # kinds of data that only this instrument has
                importlib.import_module(f"{module}.models")
    for point in sorted(_entry_points("lightmill.instruments"), key=lambda p: p.name):
        _add(found, _load(point), f"{point.value} of {point.dist}")
    for observatory_ in instruments_.observatories():
        models.register_overlay(observatory_.name, observatory_.home)
    return {key: instrument for key, (instrument, _) in found.items()}


def _add(found: dict[str, tuple[Instrument, str]], instrument: Instrument, where: str) -> None:
    key = f"{instrument.observatory.name}/{instrument.name}"
    if key in found:
        raise ConfigurationError(
            f"two folders define the instrument {key}",
            found=f"{found[key][1]} and {where}",
            remedy="remove one of them",
        )
    found[key] = (instrument, where)
    instruments_.register_observatory(instrument.observatory)
    instruments_.register(instrument)


def register(instrument: Instrument) -> None:
    """Make an instrument known in this process, as an installed plug-in's is.

    Parameters
    ----------
    instrument : Instrument
        Its observatory becomes known too.
    """
    discover()
    instruments_.register_observatory(instrument.observatory)
    instruments_.register(instrument)
    models.register_overlay(instrument.observatory.name, instrument.observatory.home)
    pipelines.cache_clear()
    aliases.cache_clear()


def _entry_points(group: str) -> Iterable[Any]:
    """Return what installed distributions offer in a group.

    Importing the standard reader costs more than all our own start, so it is
    asked only when some distribution names a group of ours.
    """
    if not _any_plugin():
        return ()
    import importlib.metadata

    return importlib.metadata.entry_points(group=group)


@functools.cache
def _any_plugin() -> bool:
    for place in sys.path:
        try:
            files = Path(place or ".").glob("*.*-info/entry_points.txt")
            if any(b"[lightmill." in file.read_bytes() for file in files):
                return True
        except OSError:
            continue
    return False


def _load(point: Any) -> Any:
    try:
        return point.load()
    except Exception as error:
        distribution = point.dist
        raise ConfigurationError(
            "a plug-in cannot be loaded",
            place=f"{point.group}: {point.name} = {point.value}",
            found=f"{type(error).__name__}: {error}",
            remedy=f"update or remove {distribution.name if distribution else point.value}"
            f" {distribution.version if distribution else ''}",
        ) from error


@functools.cache
def _steps() -> dict[str, type[Step]]:
    """Import what defines steps: our capabilities, our instruments, then installed plug-ins."""
    discover()
    for package in (*CAPABILITIES, *_packages_of_leaves()):
        importlib.import_module(package)
    known = dict(known_steps())
    for point in sorted(_entry_points("lightmill.steps"), key=lambda p: p.name):
        step = _load(point)
        known[step.name] = step  # a plug-in's step takes the place of ours
    return known


def _packages_of_leaves() -> list[str]:
    """Return the packages of steps that instruments keep in their own folders."""
    home = Path(__file__).parent
    return [
        ".".join(("lightmill", *path.parent.relative_to(home).parts))
        for path in sorted(home.glob("observatories/*/*/steps/__init__.py"))
    ]


@functools.cache
def pipelines() -> dict[str, list[tuple[str, Path]]]:
    """Return every pipeline: name → its files, each with the observatory or instrument."""
    found: dict[str, list[tuple[str, Path]]] = {}
    discover()
    homes = [(o.name, o.home) for o in instruments_.observatories()]
    homes += [(i.name, i.home) for i in instruments_.instruments()]
    for owner, home in homes:
        for path in sorted((home / "pipelines").glob("*.yaml")):
            name = str((read_yaml(path) or {}).get("name", path.stem))
            found.setdefault(name, []).append((owner, path))
    return found


@functools.cache
def _pipeline(path: Path) -> type[Pipeline]:
    return pipeline_class(path, _steps())


@functools.cache
def aliases() -> dict[str, str]:
    """Return the names other software gives to our steps and pipelines: class → name."""
    discover()
    found: dict[str, str] = {}
    for observatory in instruments_.observatories():
        path = observatory.home / "aliases.yaml"
        if path.exists():
            data = read_yaml(path) or {}
            for value in data.values():
                if isinstance(value, dict):
                    found.update({str(k): str(v) for k, v in value.items()})
            found.update({str(k): str(v) for k, v in data.items() if isinstance(v, str)})
    return found


@dataclass(frozen=True)
class StepInfo:
    """A step or pipeline, as `lightmill steps` lists it."""

    name: str
    help: str
    kind: str  # "step" or "pipeline"
    parameters: tuple[Any, ...]  # declarations
    references: tuple[str, ...]
    flow: tuple[str, ...] = ()


def steps() -> list[StepInfo]:
    """Return every pipeline and step there is."""
    from lightmill.pipeline.parameters import declared

    listed = []
    for name, files in sorted(pipelines().items()):
        cls = _pipeline(files[0][1])
        flow: dict[str, None] = {}
        for _, path in files:
            flow.update(dict.fromkeys(i for i in _pipeline(path).flow or () if isinstance(i, str)))
        listed.append(StepInfo(name, _first_line(cls), "pipeline", declared(cls), (), tuple(flow)))
    for name, step in sorted(_steps().items()):
        if not issubclass(step, Pipeline):
            listed.append(
                StepInfo(name, _first_line(step), "step", declared(step), tuple(step.references))
            )
    return listed


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


def target_class(target: str, meta: Any) -> type[Step]:
    """Return the step or pipeline of a name, as the instrument that took the data wants it.

    Parameters
    ----------
    target : str
        ``calwebb_detector1``, ``jump``, a dotted ``package.module:Class``, or a class name
        other software uses.
    meta : Namespace
        Metadata of the input.
    """
    name = target if ":" in target else parameter_files.target_of(target, aliases())
    known = _steps()
    if name in pipelines():
        instrument = instrument_of(meta)
        path = instrument.pipeline(name) if instrument else None
        if path is None:
            owners = sorted({owner for owner, _ in pipelines()[name]})
            raise ConfigurationError(
                f"pipeline {name!r} does not serve this instrument",
                place=f"{meta.get('filename') or 'the input'}[PRIMARY/TELESCOP, INSTRUME]",
                found=f"{meta.get('telescope')} {meta.get('instrument.name')}",
                expected=f"data of {', '.join(owners)}",
                remedy="correct TELESCOP and INSTRUME, or run single steps",
            )
        return _pipeline(path)
    if name in known:
        return known[name]
    if ":" in name:
        return _imported(name)
    raise UnknownNameError("pipeline or step", target, {*pipelines(), *known})


def _imported(name: str) -> type[Step]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            "the class cannot be imported", place=name, found=str(error), expected="module:Class"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Step)):
        raise ConfigurationError("this is not a step", place=name, found=found, expected="a Step")
    return found


def run(
    target: str | Path,
    inputs: list[Path],
    *,
    parameters: dict[str, Any] | None = None,
    overrides: dict[str, str] | None = None,
    references: Path | None = None,
    crds_path: Path | None = None,
    context: str | None = None,
    lock: Path | None = None,
    parameter_references: bool = True,
    profile: str | None = None,
    skip: list[str] | None = None,
    start_at: str | None = None,
    stop_after: str | None = None,
    resume: bool = False,
    save_parameters: Path | None = None,
    output_dir: Path | None = None,
    jobs: int = 1,
    dry_run: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    cache_dir: Path | None = None,
    threads: int | None = None,
    scratch_dir: Path | None = None,
) -> list[Outcome]:
    """Run a pipeline or step on files, as ``lightmill run`` does.

    Parameters
    ----------
    target : str or Path
        Name of a pipeline or step, ``module:Class``, or a parameter file.
    inputs : list of Path
    parameters : dict, optional
        Dotted names: ``steps.jump.rejection_threshold``, ``save_results``.
    overrides : dict, optional
        Reference type → file, or ``N/A``.
    references : Path, optional
        Folder of reference files.
    crds_path : Path, optional
        Cache of rules and reference files, for what neither overrides nor folder give;
        by default what the variable ``CRDS_PATH`` says.
    context : str, optional
        Name of the rules; by default what ``CRDS_CONTEXT`` says, or the cache.
    lock : Path, optional
        A file that pins rules and references, as ``lightmill refs lock`` writes it.
    parameter_references : bool
        Take the parameters that the rules choose, where there are rules.
    profile : str, optional
        A named set of parameters that the observatory keeps, for instance one
        that reproduces older software.
    skip : list of str, optional
        Names of steps to leave out.
    start_at, stop_after : str, optional
        Names of the first and the last step to run; the others are left out.
    resume : bool
        Keep checkpoints, and go on from those of an earlier run.
    save_parameters : Path, optional
        Write the effective parameters, with who set each.
    output_dir : Path, optional
        Folder of the products; the current one otherwise.
    jobs : int
        Inputs worked on at the same time.
    dry_run : bool
        Say what would be done; compute nothing.
    progress : callable, optional
        Called with (names of the steps, bands done, bands in all); not across processes (`jobs`).
    cache_dir : Path, optional
        Folder of the checkpoints; ``.lightmill`` in the output folder otherwise.
    threads : int, optional
        Bands computed at the same time for each input; as many as processors otherwise.
    scratch_dir : Path, optional
        Folder for arrays that do not fit in memory; the system's temporary one otherwise.

    Returns
    -------
    outcomes : list of Outcome
        One for each input; an association has as many as products, and files given to a
        pipeline that works on exposures together have one.
    """
    arguments: dict[str, Any] = {
        "target": target,
        "parameters": parameters or {},
        "overrides": overrides or {},
        "references": references,
        "crds_path": crds_path,
        "context": context,
        "lock": lock,
        "parameter_references": parameter_references,
        "profile": profile,
        "skip": skip or [],
        "start_at": start_at,
        "stop_after": stop_after,
        "resume": resume,
        "save_parameters": save_parameters,
        "output_dir": output_dir,
        "cache_dir": cache_dir,
        "threads": threads,
        "scratch_dir": scratch_dir,
        "dry_run": dry_run,
        "log_level": logging.getLevelName(logging.getLogger("lightmill").getEffectiveLevel()),
    }
    if not inputs:
        raise UsageError(
            "no input is given",
            place=str(target),
            expected="one file, folder or association at least",
            remedy="name the exposures to process",
        )
    sources = _sources(target, [Path(path) for path in inputs])
    if jobs > 1 and len(sources) > 1:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        method = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(sources)), mp_context=method) as pool:
            futures = [pool.submit(_run_quietly, source, arguments) for source in sources]
            return [future.result() for future in futures]
    if len(sources) == 1:
        return [_run_one(sources[0], arguments, progress)]
    return [_run_or_fail(source, arguments, progress) for source in sources]


def _sources(target: str | Path, inputs: list[Path]) -> list[Source]:
    """Return the runs that inputs make; what the target is has to be known for some of them."""
    plain = all(path.suffix != ".json" and not path.is_dir() for path in inputs)
    if plain and len(inputs) == 1:
        return [Source(inputs[0])]
    discover()
    try:
        suffixes = ("uncal", "rate", "cal", "crf")
        cls = target_class(_name_of(target)[0], meta_of(inputs[0], suffixes))
    except LightmillError:
        if plain:  # each says for itself what is wrong
            return [Source(path) for path in inputs]
        raise
    from lightmill.association.documents import load

    return sources_of(inputs, cls, load)


def _run_or_fail(
    source: Source, arguments: dict[str, Any], progress: Callable[[str, int, int], None] | None
) -> Outcome:
    """Run one of several inputs: its failure is its own, the others go on."""
    try:
        return _run_one(source, arguments, progress)
    except LightmillError as error:
        return Outcome(Status.FAILED, error=error, input=source.label, record=error.record or {})


def _run_quietly(source: Source, arguments: dict[str, Any]) -> Outcome:
    """Run in another process; what comes back is small and says how it ended."""
    from lightmill.pipeline.logs import configured

    with configured(level=arguments["log_level"]):
        outcome = _run_or_fail(source, arguments, None)
    return Outcome(
        outcome.status,
        reason=outcome.reason,
        error=outcome.error,
        input=outcome.input,
        written=outcome.written,
        record=outcome.record,
    )


def _run_one(
    given: Source, arguments: dict[str, Any], progress: Callable[[str, int, int], None] | None
) -> Outcome:
    keep_freed_memory()
    discover()
    leave_out = str((arguments["parameters"] or {}).get(MISSING_MEMBERS, "")) == "leave_out"
    source = given.open(leave_out=leave_out)
    step, kept = _prepared(arguments, source)
    if getattr(step.parameters, MISSING_MEMBERS, "fail") == "leave_out" and not leave_out:
        source = given.open(leave_out=True)  # a parameter file says so
    if arguments["save_parameters"]:
        _save_parameters(step, arguments)
    options = Options(
        references=References(arguments["references"]),
        crds_path=arguments["crds_path"],
        context=arguments["context"],
        lock=arguments["lock"],
        parameter_references=kept,
        overrides=arguments["overrides"],
        skip=frozenset(arguments["skip"]),
        start_at=arguments["start_at"],
        stop_after=arguments["stop_after"],
        resume=arguments["resume"],
        cache_dir=arguments["cache_dir"],
        output_dir=arguments["output_dir"],
        scratch_dir=arguments["scratch_dir"],
        threads=arguments["threads"] or 0,
        save_results=True,
        progress=progress,
    )
    runner = Run(step, options)
    outcome = runner.plan(source) if arguments["dry_run"] else runner.on(source)
    outcome.input = given.label
    return outcome


def prepared(
    target: str | Path, source: Any, parameters: dict[str, Any], profile: str | None = None
) -> Step:
    """Return a step or pipeline with every layer of its parameters set, weakest first.

    Parameter references are no part of it: they are asked for by `run`.
    """
    arguments = {"target": target, "parameters": parameters, "profile": profile}
    return _prepared(arguments, source)[0]


def _name_of(target: str | Path) -> tuple[str, Any]:
    """Return what is to run, and the parameter file that says so, if it is one."""
    name = str(target)
    if Path(name).suffix not in {".asdf", ".cfg", ".yaml", ".yml", ".toml", ".ini"}:
        return name, None
    file = parameter_files.read(name, aliases=aliases(), trusted=True)
    if file.target is None:
        raise ConfigurationError(
            "the file does not say what to run",
            place=name,
            expected="run: NAME (or class: NAME)",
        )
    return file.target, file


def _prepared(arguments: dict[str, Any], source: Any) -> tuple[Step, tuple[dict[str, Any], ...]]:
    """Return a step or pipeline with its parameters, and the parameter references taken."""
    name, file = _name_of(arguments["target"])
    cls = target_class(name, source.meta)
    step = cls()
    layers = _observatory_layers(step, source)
    kept: tuple[dict[str, Any], ...] = ()
    named = [arguments.get(name) for name in ("crds_path", "context", "lock")]
    if arguments.get("parameter_references") and rules_are_at_hand(*named):
        from lightmill.pipeline.parameter_references import parameter_references
        from lightmill.reference.rulebook import RuleBook

        found = parameter_references(step, source, RuleBook.at(*named), aliases())
        layers += found.layers
        kept = found.facts
    layers += _profile_layer(step, source, arguments["profile"])
    if file is not None:
        layers.append(file.settings)
    layers.append(Settings.of(arguments["parameters"], "command line", trusted=True))
    apply_settings(step, merge(*layers))
    return step, kept


def _observatory_layers(step: Step, source: Any) -> list[Settings]:
    """Return what the observatory's folders set: for each step, then for the pipeline."""
    instrument = instrument_of(source.meta)
    if instrument is None:
        return []
    layers = []
    for name in getattr(step, "_steps", {}):
        values = instrument.parameters(name)
        if values:
            layers.append(Settings.of({"steps": {name: values}}, f"{instrument.name}: {name}"))
    own = instrument.parameters(step.name)
    if own:
        layers.append(Settings.of(own, f"{instrument.name}: {step.name}"))
    return layers


def _profile_layer(step: Step, source: Any, profile: str | None) -> list[Settings]:
    """Return what a named set of parameters of the observatory says, if one is asked for."""
    if not profile:
        return []
    instrument = instrument_of(source.meta)
    if instrument is None:
        raise UnknownNameError("profile", profile, ())
    path = instrument.observatory.home / "profiles" / f"{profile}.yaml"
    if not path.exists():
        known = [p.stem for p in path.parent.glob("*.yaml")]
        raise UnknownNameError("profile", profile, known)
    values = read_yaml(path) or {}
    names = list(getattr(step, "_steps", {}))
    chosen = (
        {"steps": {n: v for n, v in values.items() if n in names}}
        if names
        else values.get(step.name, {})
    )
    return [Settings.of(chosen, f"profile {profile}")]


def apply_settings(step: Step, settings: Settings) -> None:
    """Set what was settled, with the name of who set it."""
    known = {declaration.name for declaration in accepted(type(step))}
    for name in settings:
        setting = settings[name]
        if name not in known and isinstance(step, Pipeline):
            names = {n: [d.name for d in accepted(type(s))] for n, s in step.all_steps().items()}
            raise unknown_parameter(
                name, sorted(known), names, place=f"{step.name} ({setting.origin})"
            )
        step.configure({name: setting.value}, setting.origin)
    for name, inner in settings.steps.items():
        if isinstance(step, Pipeline) and name in step.steps:
            apply_settings(step.step(name), inner)
        elif isinstance(step, Pipeline) and name in step.not_yet | step.also:
            _refuse_not_yet(step, name, inner)
        else:
            there = getattr(step, "_steps", {})
            raise UnknownNameError("step", name, there, place=f"{step.name}: steps.{name}")


def _refuse_not_yet(step: Pipeline, name: str, settings: Settings) -> None:
    """Accept the parameters of a step that is not run here, unless they ask for it to run."""
    wanted = str(settings.value("skip", "true")).lower() in {"false", "no", "off", "0"}
    if wanted and name in step.not_yet:
        raise ConfigurationError(
            "this step is not available yet",
            place=f"{step.name}: steps.{name}.skip ({settings['skip'].origin})",
            found=settings.value("skip"),
            expected="true",
            remedy="leave it skipped",
        )


def _save_parameters(step: Step, arguments: dict[str, Any]) -> None:
    from lightmill.pipeline import parameter_files as files

    files.write(
        arguments["save_parameters"],
        step,
        overrides=arguments["overrides"],
        skip=arguments["skip"],
        aliases=aliases(),
    )
