"""Choose the references of a run: all of them together, before anything runs.

For each type that a step needs, the first of these that says something counts: the step's own
override, the run's override, the folder of references, the rules of a context.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from lightmill.errors import (
    DataError,
    IncompleteReferencesError,
    LightmillError,
    NothingSelectedError,
)
from lightmill.models import Model
from lightmill.pipeline.flow import items_of, position
from lightmill.pipeline.outcome import Options
from lightmill.pipeline.pipeline import Pipeline
from lightmill.pipeline.provenance import Record
from lightmill.pipeline.step import Step
from lightmill.reference.at_hand import rules_are_at_hand

if TYPE_CHECKING:
    from lightmill.reference.rulebook import RuleBook

__all__ = ["Choice", "Need", "Selection", "is_none", "needs_of"]

log = logging.getLogger("lightmill.pipeline")


class Need(NamedTuple):
    """A reference that a step takes.

    Attributes
    ----------
    name : str
        The step, as the user knows it.
    step : Step
    reftype : str
    certain : bool
        Whether the step surely runs and cannot do without.
    """

    name: str
    step: Step
    reftype: str
    certain: bool


class Choice(NamedTuple):
    """What serves a type.

    Attributes
    ----------
    given : Path, str, number or Model
        A file, ``N/A``, or what the user gave instead.
    by_user : bool
        Whether the user named it, and did not leave the choice to a folder or to rules.
    facts : mapping
        Where rules chose it: their context, and which row.
    """

    given: Any
    by_user: bool = False
    facts: Mapping[str, str] = MappingProxyType({})


def needs_of(target: Step, options: Options) -> list[Need]:
    """Return what the steps that will run take, also those of pipelines in pipelines.

    Steps that a method calls may run or not: what they take is never certain. The
    same holds for those before the one to start at, whose results are kept.
    """
    return list(_needs(target.name, target, options, certain=True, top=True))


def _needs(
    name: str, step: Step, options: Options, *, certain: bool, top: bool = False
) -> Iterator[Need]:
    if options.leaves_out(name, step):
        return
    if isinstance(step, Pipeline):
        for one, part, runs in _parts(step, options, top=top):
            yield from _needs(one, part, options, certain=certain and runs)
        return
    for reftype in step.references:
        optional = reftype in step.optional
        if not optional or step.uses(reftype) or _override(step, reftype, options) is not None:
            yield Need(name, step, reftype, certain and not optional)


def _parts(pipeline: Pipeline, options: Options, *, top: bool) -> Iterator[tuple[str, Step, bool]]:
    """Yield the steps of a pipeline by name, and whether each surely runs."""
    if pipeline.order is None:
        yield from ((name, step, False) for name, step in pipeline.all_steps().items())
        return
    items = items_of(pipeline)
    begin, end = 0, len(items)
    if top and options.start_at:
        begin = position(items, options.start_at)
    if top and options.stop_after:
        end = position(items, options.stop_after) + 1
    for number, (name, step) in enumerate(items[:end]):
        if isinstance(step, Step):
            yield name, step, number >= begin


def _override(step: Step, reftype: str, options: Options) -> Any:
    given = step.options.get(f"override_{reftype}")
    return options.overrides.get(reftype) if given is None else given


def _check_override(need: Need, options: Options) -> None:
    """Refuse a file that the user names and that is not there, before anything runs."""
    given, option = _override(need.step, need.reftype, options), f"--override-{need.reftype}"
    if need.step.options.get(f"override_{need.reftype}") is not None:
        option = f"{need.name}.override_{need.reftype}"
    if not isinstance(given, str | os.PathLike):
        return
    text = os.fspath(given)
    if text.upper() in {"N/A", ""} or _is_number(text) or Path(text).exists():
        return
    raise DataError(
        "there is no such file",
        place=option,
        found=text,
        expected="a reference file, N/A or a number",
        remedy=f"correct {option}, or leave it out",
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Selection:
    """The references of one run, by type.

    Parameters
    ----------
    options : Options
        What the user gave, and where references and rules are.
    record : Record
        Notes the context that chose.
    """

    def __init__(self, options: Options, record: Record) -> None:
        self._options = options
        self._record = record
        self._chosen: dict[str, Any] = {}  # by rules: type → Selected, or why there is none
        self._choices: dict[str, Choice] = {}
        self._book: RuleBook | None = None
        self._book_known = False

    def prepare(self, target: Step, model: Model) -> None:
        """Choose for every step that will run.

        Parameters
        ----------
        target : Step
            A step or pipeline, with its parameters.
        model : Model
            The data; only their metadata count.

        Raises
        ------
        IncompleteReferencesError
            If a step surely needs what nothing gives. It names all of them.
        DataError
            If the user names a file that is not there.
        """
        needs = needs_of(target, self._options)
        for need in needs:
            _check_override(need, self._options)
        open_: list[Need] = []
        answers: dict[str, LightmillError] = {}
        for need in needs:
            try:
                if self._without_rules(need.step, need.reftype, model) is None:
                    open_.append(need)
            except NothingSelectedError as error:  # several files of the folder fit
                answers[need.reftype] = error
                open_.append(need)
        self._ask([need.reftype for need in open_ if need.reftype not in answers], model)
        missing: dict[str, tuple[list[str], LightmillError]] = {}
        for need in open_:
            answer = answers.get(need.reftype) or self._chosen[need.reftype]
            if isinstance(answer, LightmillError) and (need.certain or not is_none(answer)):
                missing.setdefault(need.reftype, ([], answer))[0].append(need.name)
        if missing:
            raise self._missing(missing, model)

    def find(self, step: Step, reftype: str, model: Model) -> Choice | None:
        """Return what serves a step, or None where an optional reference is not there.

        Raises
        ------
        IncompleteReferencesError
            If the step cannot do without.
        """
        optional = reftype in step.optional
        choice = self._without_rules(step, reftype, model)
        if choice is not None or (optional and not step.uses(reftype)):
            return choice
        if reftype not in self._chosen:
            self._ask([reftype], model)
        answer = self._chosen[reftype]
        if isinstance(answer, LightmillError):
            if optional and is_none(answer):
                return None
            raise self._missing({reftype: ([step.name], answer)}, model)
        if reftype not in self._choices:
            self._choices[reftype] = _choice(answer)
        return self._choices[reftype]

    def _without_rules(self, step: Step, reftype: str, model: Model) -> Choice | None:
        """Return what the user gave, or what the folder has."""
        given = _override(step, reftype, self._options)
        if given is not None:
            return Choice(given, by_user=True)
        found = self._options.references.find(reftype, model)
        return None if found is None else Choice(found)

    def _ask(self, reftypes: Iterable[str], model: Model) -> None:
        """Ask the rules for some types at once."""
        wanted = list(dict.fromkeys(t for t in reftypes if t not in self._chosen))
        if not wanted:
            return
        book = self._rules()
        if book is None:
            folder = self._options.references.directory
            what = "no folder and no cache of references is given"
            if folder is not None:
                what = f"the folder {folder} has none that fits, and no cache is given"
            self._chosen.update(dict.fromkeys(wanted, NothingSelectedError(what)))
            return
        answers = book.choose(model, wanted)
        self._chosen.update(answers)
        for answer in answers.values():
            if not isinstance(answer, LightmillError):
                self._record.facts["context"] = answer.context

    def _rules(self) -> RuleBook | None:
        """Return the rules there are; they are not loaded where nothing asks for them."""
        if not self._book_known:
            self._book_known = True
            options = self._options
            if options.rules is not None:
                self._book = options.rules
            elif rules_are_at_hand(options.crds_path, options.context, options.lock):
                from lightmill.reference.rulebook import RuleBook

                self._book = RuleBook.at(options.crds_path, options.context, options.lock)
        return self._book

    def _missing(
        self, missing: Mapping[str, tuple[list[str], LightmillError]], model: Model
    ) -> IncompleteReferencesError:
        kind = next(iter(missing)) if len(missing) == 1 else "TYPE"
        steps = list(dict.fromkeys(name for names, _ in missing.values() for name in names))
        remedy = f"give --override-{kind}=FILE"
        if self._rules() is None:
            remedy += ", --references DIR or --crds-path DIR (or set CRDS_PATH)"
        few = " ".join(f"--skip {name}" for name in steps) if len(steps) < 4 else "--skip STEP"
        remedy += f"; or leave out what needs it: {few}"
        return IncompleteReferencesError(
            [(reftype, names, error) for reftype, (names, error) in missing.items()],
            place=model.path or model.meta.get("filename"),
            remedy=remedy,
        )


def _choice(selected: Any) -> Choice:
    """Return the answer of rules as a choice; what does not count does not apply."""
    from lightmill.reference.rulebook import rule_of

    facts = {"context": selected.context}
    rule = rule_of(selected)
    if rule:
        facts["rule"] = rule
    return Choice("N/A" if selected.path is None else selected.path, facts=facts)


def is_none(answer: LightmillError) -> bool:
    """Say whether an answer means that no file serves, not that something is wrong."""
    wrong = getattr(answer, "kind", "lookup") in {"missing", "bad"}  # chosen, and not to be had
    return isinstance(answer, NothingSelectedError) and not wrong
