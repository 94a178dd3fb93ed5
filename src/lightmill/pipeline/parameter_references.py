"""Parameters that the observatory keeps as reference files: one type for each step and pipeline.

The types are called ``pars-`` and the class in lower case, ``pars-jumpstep``; the files are
parameter files. Rules choose them by the header of the data, as they choose any reference.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightmill.errors import ConfigurationError, LightmillError
from lightmill.models import Model
from lightmill.pipeline import parameter_files
from lightmill.pipeline.cache import file_digest
from lightmill.pipeline.selection import is_none
from lightmill.pipeline.settings import Settings
from lightmill.pipeline.step import Step
from lightmill.reference.rulebook import RuleBook, rule_of

__all__ = ["ParameterReferences", "parameter_references", "types_of"]

log = logging.getLogger("lightmill.pipeline")


@dataclass(frozen=True)
class ParameterReferences:
    """What the observatory's parameter files say for one run.

    Attributes
    ----------
    layers : tuple of Settings
        Weakest first: those of the steps, then those of the pipeline.
    facts : tuple of dict
        For each file its type, name, SHA-256, context and rule, for the record.
    """

    layers: tuple[Settings, ...] = ()
    facts: tuple[dict[str, Any], ...] = ()


def types_of(step: Step, aliases: Mapping[str, str]) -> list[str]:
    """Return the types of reference that hold the parameters of a step or pipeline.

    Parameters
    ----------
    step : Step
        A step or pipeline.
    aliases : mapping of str to str
        Dotted class, as parameter files name it → our name.

    Returns
    -------
    types : list of str
        One for each class the step is known by, else one for its own.
    """
    classes = {dotted.rpartition(".")[2] for dotted, name in aliases.items() if name == step.name}
    return sorted(f"pars-{name.lower()}" for name in classes or {type(step).__name__})


def parameter_references(
    step: Step, model: Model, book: RuleBook, aliases: Mapping[str, str]
) -> ParameterReferences:
    """Return the parameters that the rules choose for a step or pipeline.

    Parameters
    ----------
    step : Step
        What will run.
    model : Model
        The data; only their header counts.
    book : RuleBook
        The rules in force.
    aliases : mapping of str to str
        Dotted class → our name.

    Returns
    -------
    references : ParameterReferences
        Empty where the context has none for these data.

    Raises
    ------
    LightmillError
        If rules or a file they name are damaged or not to be had: without it, the
        result would silently be another one.
    """
    if not book.knows(model):
        return ParameterReferences()
    known = set(book.types(model))
    places = [(name, inner) for name, inner in getattr(step, "_steps", {}).items()]
    wanted = {
        kind: (name, one)
        for name, one in [*places, ("", step)]
        for kind in types_of(one, aliases)
        if kind in known
    }
    answers = book.choose(model, wanted) if wanted else {}
    layers, facts = [], []
    for kind, (name, one) in wanted.items():
        answer = answers[kind]
        if isinstance(answer, LightmillError):
            if not is_none(answer):
                raise answer
            log.debug("%s: none for these data (%s)", kind, answer.fact)
            continue
        if answer.path is None:
            continue
        settings = _settings(answer, one, aliases)
        layers.append(Settings(steps={name: settings}) if name else settings)
        fact = {"type": kind, "name": answer.name, "sha256": file_digest(answer.path)}
        fact["context"], fact["rule"] = answer.context, rule_of(answer)
        facts.append(fact)
        log.info("%s: parameters of %s", name or step.name, answer.name)
    return ParameterReferences(tuple(layers), tuple(facts))


def _settings(answer: Any, step: Step, aliases: Mapping[str, str]) -> Settings:
    """Read a file of parameters; it must be one for the step."""
    file = parameter_files.read(answer.path, aliases=aliases, origin=f"reference {answer.name}")
    if file.target != step.name:
        raise ConfigurationError(
            "the reference holds the parameters of something else",
            place=answer.path,
            found=file.target,
            expected=step.name,
            remedy="correct the file, or run with --no-parameter-references",
        )
    return file.settings
