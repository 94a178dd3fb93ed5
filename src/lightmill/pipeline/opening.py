"""Open the references of a step: chosen by the user or by rules, checked against the data."""

from __future__ import annotations

from typing import Any

from lightmill.errors import DataError
from lightmill.models import Model
from lightmill.models.lineage import frame_of, open_reference, uniform
from lightmill.pipeline.bands import Stage
from lightmill.pipeline.outcome import Options
from lightmill.pipeline.provenance import Record, check_same_detector
from lightmill.pipeline.selection import Selection
from lightmill.pipeline.several import sample_of
from lightmill.pipeline.step import Step

__all__ = ["Opener", "fit"]


class Opener:
    """Opens the references of the steps of one run, each file once.

    Parameters
    ----------
    options : Options
        Where references are found, and which the user gave instead.
    record : Record
        Notes which step takes which reference.
    """

    def __init__(self, options: Options, record: Record) -> None:
        self._record = record
        self._selection = Selection(options, record)
        self._opened: dict[tuple[str, str], Model | None] = {}

    def select(self, target: Step, model: Any) -> None:
        """Choose the references of every step that will run, before any does.

        Raises
        ------
        IncompleteReferencesError
            If some are missing; it names all of them.
        """
        self._selection.prepare(target, sample_of(model))

    def stage(self, name: str, step: Step, model: Any) -> Stage | None:
        """Open the references of a step; None (and a note) where one says N/A."""
        sample = sample_of(model)
        stage = Stage(step, name)
        for reftype, cls in step.references.items():
            reference = self.open(step, reftype, cls, sample, name)
            if reference is None and reftype not in step.optional:
                self._record.skipped(name, f"no {reftype} reference applies (N/A)", step)
                return None
            stage.references[reftype] = reference
            if reference is not None:
                stage.offsets[reftype] = fit(sample, reference, reftype)
        stage.step = step.settled(model, **stage.references)
        return stage

    def open(
        self, step: Step, reftype: str, cls: type[Model], model: Model, user: str | None = None
    ) -> Model | None:
        """Open a reference, and note that `user` takes it; None where none applies."""
        choice = self._selection.find(step, reftype, model)
        if choice is None:
            return None
        given = choice.given
        if isinstance(given, str) and given.upper() in {"N/A", ""}:
            if user is not None and (choice.by_user or reftype not in step.optional):
                self._record.reference(user, reftype, "N/A", choice.facts)
            return None
        key = (reftype, str(given) if not isinstance(given, Model) else str(id(given)))
        if key not in self._opened:
            level = _number(given)
            self._opened[key] = (
                open_reference(given, cls) if level is None else uniform(cls, level, model)
            )
        reference = self._opened[key]
        if user is not None and reference is not None:
            self._record.reference(user, reftype, reference, choice.facts)
        return reference


def fit(model: Model, reference: Model, reftype: str) -> tuple[int, int]:
    """Find the frame of a model in that of a reference.

    Parameters
    ----------
    model : Model
        The data.
    reference : Model
        Of the same detector, covering at least the data.
    reftype : str
        What the reference is, for messages.

    Returns
    -------
    offset : tuple of int
        Rows and columns from the origin of the reference to that of the data.
    """
    check_same_detector(model, reference, reftype)
    if reference._frame() is None:
        return 0, 0
    shape = frame_of(reference)
    ny, nx = frame_of(model)
    ref, sci = reference.meta.subarray, model.meta.subarray
    starts = (ref.ystart or sci.ystart, ref.xstart or sci.xstart)
    if shape == (ny, nx) and starts == (sci.ystart, sci.xstart):
        return 0, 0
    dy = (sci.ystart or 1) - (ref.ystart or 1)
    dx = (sci.xstart or 1) - (ref.xstart or 1)
    if dy < 0 or dx < 0 or dy + ny > shape[0] or dx + nx > shape[1]:
        raise DataError(
            f"the {reftype} reference does not cover the data",
            place=reference.path or reftype,
            found=f"{shape[1]} x {shape[0]} pixels from column {ref.xstart}, row {ref.ystart}",
            expected=f"{nx} x {ny} pixels from column {sci.xstart}, row {sci.ystart}",
            remedy="use the reference of this subarray, or a full-frame one",
        )
    return dy, dx


def _number(given: Any) -> float | None:
    """Return the number a user gives instead of a reference file, if it is one."""
    try:
        return float(given) if isinstance(given, str | int | float) else None
    except ValueError:
        return None
