"""Several exposures that belong together: the members of an association's product, on disk.

A member's model is lazy: its metadata are in memory, its arrays stay in the file until somebody
reads them. A step that wants bounded memory reads an array with ``np.asarray(model.array("data"))``
or a part of it with ``model.cut(region)``: neither keeps what was read. What a step changes is a
new model (`Model.evolve`) whose other arrays are still in the file; large new arrays can be an
`ArraySource` (a scratch file) instead of an array in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from lightmill.errors import DataError, LightmillError, ValidationError
from lightmill.models.namespace import Namespace

__all__ = ["Exposures", "Member"]

SCIENCE = "science"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Member:
    """One exposure of several.

    Attributes
    ----------
    model : Model
        The exposure; its arrays stay in the file until they are read.
    role : str
        What it is for: science, background, …
    name : str
        File name, as the association calls it.
    """

    model: Any
    role: str = SCIENCE
    name: str = ""


@dataclass(frozen=True)
class Exposures:
    """The members of one product.

    Attributes
    ----------
    members : tuple of Member
        In the order of the association.
    product : str
        What the product is to be called, without suffix and extension.
    association : mapping
        What the association says beside its products (program, identifier, rule, pool, …).
    path : Path or None
        The association's file, or the folder the members were found in.
    left_out : tuple of (name, reason)
        Members that could not be used, where the user lets the rest go on without them.
    """

    members: tuple[Member, ...]
    product: str = ""
    association: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    threads: int = 1  # exposures worked on at a time, by `each`
    tell: Callable[[str, int, int], None] | None = (
        None  # progress: what, how many done, of how many
    )

    @classmethod
    def of(cls, models: Sequence[Any], product: str = "", *, path: Path | None = None) -> Exposures:
        """Return exposures of models or files, all of them science.

        Parameters
        ----------
        models : sequence of Model or path
        product : str, optional
            Name of the product; that of the first file by default.
        path : Path, optional
            Where they come from.

        Raises
        ------
        DataError
            If there is none, or one is there twice.
        """
        from lightmill.models.opening import open as open_model

        members = []
        for number, given in enumerate(models, 1):
            model = open_model(given)
            known = Path(model.path).name if model.path else model.meta.get("filename")
            members.append(Member(model, SCIENCE, str(known or f"exposure{number}.fits")))
        if not members:
            raise DataError("there is no exposure", place=path, expected="at least one")
        exposures = cls(tuple(members), product or Path(members[0].name).stem, {}, path)
        exposures.check()
        return exposures

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], product: int = 0, *, leave_out: bool = False
    ) -> Exposures:
        """Return the exposures of one product of an association's file.

        Parameters
        ----------
        path : path
            JSON, as the field has it.
        product : int
            Which of its products, from 0.
        leave_out : bool
            Go on without members that are missing or damaged; they are in `left_out`.

        Raises
        ------
        DataError
            If a member is missing or damaged, is there twice, or lies outside the
            association's folder; without science members.
        ValidationError
            If it is no association.
        """
        path = Path(path)
        document = read_association(path)
        entry = document["products"][product]
        members: list[Member] = []
        left_out: list[tuple[str, str]] = []
        for one in entry["members"]:
            name, role = str(one["expname"]), str(one["exptype"]).lower()
            try:
                model = _opened(path, name)
            except LightmillError as error:
                if not leave_out:
                    raise
                left_out.append((name, error.story()))
                continue
            members.append(Member(model, role, name))
        rest = {key: value for key, value in document.items() if key != "products"}
        found = cls(tuple(members), str(entry["name"]), rest, path, tuple(left_out))
        found.check()
        return found

    @classmethod
    def only(cls, path: str | os.PathLike[str], *, leave_out: bool = False) -> Exposures:
        """Return the exposures of an association that has one product.

        Raises
        ------
        DataError
            If it has several; and as `open`.
        """
        products = read_association(Path(path))["products"]
        if len(products) > 1:
            raise DataError(
                "the association has several products",
                place=path,
                found=len(products),
                expected="one",
                remedy="use Exposures.open(path, product=N), or `lightmill run`, which makes all",
            )
        return cls.open(path, leave_out=leave_out)

    def check(self) -> None:
        """Refuse what no product can be made of.

        Raises
        ------
        DataError
            If there is no science member, or a file is a member twice.
        """
        seen: dict[Any, str] = {}
        for member in self.members:
            path = member.model.path
            key = (Path(path).resolve() if path else id(member.model), member.role)
            if key in seen:
                raise DataError(
                    "an exposure is a member twice",
                    place=self.path or self.product,
                    found=member.name,
                    remedy="remove one of the two from the association",
                )
            seen[key] = member.name
        if not self.science:
            raise DataError(
                "there is no science exposure",
                place=self.path or self.product,
                found=", ".join(f"{name} ({why.splitlines()[0]})" for name, why in self.left_out)
                or f"{len(self.members)} members",
                expected="at least one member with exptype science",
            )

    # -- what there is ---------------------------------------------------------------------

    @property
    def science(self) -> tuple[Any, ...]:
        """The models of the science members, in order."""
        return tuple(member.model for member in self.members if member.role == SCIENCE)

    def with_role(self, role: str) -> tuple[Any, ...]:
        """Return the models of the members of some role, in order."""
        return tuple(member.model for member in self.members if member.role == role)

    @property
    def names(self) -> tuple[str, ...]:
        """File names of the science members, in order."""
        return tuple(member.name for member in self.members if member.role == SCIENCE)

    @property
    def meta(self) -> Namespace:
        """Metadata of the first science member."""
        meta: Namespace = self.science[0].meta
        return meta

    def groups(self) -> dict[str, list[int]]:
        """Return which science members were exposed together: identifier → positions.

        Detectors that looked at the same time share their pointing errors. Members with the same
        observation identifier, visit and start are of one exposure; a member that says neither is
        one of its own.
        """
        found: dict[str, list[int]] = {}
        for number, model in enumerate(self.science):
            found.setdefault(group_of(model, self.names[number]), []).append(number)
        return found

    def __len__(self) -> int:
        return len(self.science)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.science)

    # -- new ones from these ---------------------------------------------------------------

    def evolve(self, science: Sequence[Any]) -> Exposures:
        """Return the same exposures with other models in the place of the science members.

        Parameters
        ----------
        science : sequence of Model
            As many as there are, in order.
        """
        models = iter(science)
        members = tuple(
            replace(member, model=next(models)) if member.role == SCIENCE else member
            for member in self.members
        )
        if next(models, None) is not None:
            raise LightmillError("more models than science members", found=len(science))
        return replace(self, members=members)

    def without(self, name: str, reason: str) -> Exposures:
        """Return the exposures without a member, which is noted as left out.

        Raises
        ------
        DataError
            If no science member remains.
        """
        rest = tuple(member for member in self.members if member.name != name)
        fewer = replace(self, members=rest, left_out=(*self.left_out, (name, reason)))
        fewer.check()
        return fewer

    def each(
        self, function: Callable[[Any], Result], what: str = "", *, models: Sequence[Any] = ()
    ) -> list[Result]:
        """Return what a function makes of each science model, in order.

        Some are worked on at the same time (`threads`); progress is told.

        Parameters
        ----------
        function : callable
            Takes a model.
        what : str, optional
            What is done, for people who wait.
        models : sequence, optional
            Instead of the science models.
        """
        given = list(models) or list(self.science)
        done: list[Result] = []

        def collect(results: Iterator[Result]) -> None:
            for result in results:
                done.append(result)
                if self.tell is not None and what:
                    self.tell(what, len(done), len(given))

        if self.threads > 1 and len(given) > 1:
            with ThreadPoolExecutor(min(self.threads, len(given))) as pool:
                collect(iter(pool.map(function, given)))
        else:
            collect(map(function, given))
        return done


def group_of(model: Any, name: str) -> str:
    """Return what identifies the exposure that an image of one detector is part of."""
    meta = model.meta
    parts = [
        meta.get(f"observation.{key}")
        for key in ("program_number", "observation_number", "visit_number", "visit_group",
                    "sequence_id", "activity_id", "exposure_number")
    ]  # fmt: skip
    known = [str(part) for part in parts if part is not None]
    if len(known) < 2:  # too little to tell exposures apart
        start = meta.get("exposure.start_time")
        identifier = meta.get("observation.obs_id")
        if start is None or identifier is None:
            return name
        known = [str(identifier), repr(start)]
    return "_".join(known)


def read_association(path: Path) -> dict[str, Any]:
    """Return an association as it is written, once it is certain that it has products.

    Raises
    ------
    DataError
        If the file cannot be read.
    ValidationError
        If it is no association.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
    except OSError as error:
        raise DataError(
            "the association cannot be read", place=path, found=error.strerror
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValidationError(
            "this is no association", place=path, found=error, expected="JSON text in UTF-8"
        ) from error
    products = document.get("products") if isinstance(document, dict) else None
    if not isinstance(products, list) or not products:
        raise ValidationError(
            "this is no association", place=path, expected="an object with a list of products"
        )
    for number, product in enumerate(products):
        place = f"{path}: products[{number}]"
        members = product.get("members") if isinstance(product, dict) else None
        if not isinstance(members, list) or not isinstance(product.get("name"), str):
            raise ValidationError("a product has a name and members", place=place, found=product)
        for member in members:
            if not isinstance(member, dict) or not {"expname", "exptype"} <= set(member):
                raise ValidationError("a member has expname and exptype", place=place, found=member)
    return document


def _opened(path: Path, name: str) -> Any:
    """Open a member of an association; its name must stay in the association's folder."""
    from lightmill.models.opening import open as open_model

    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or "\0" in name or not parts:
        raise DataError(
            "a member lies outside the association's folder",
            place=path,
            found=name,
            expected="a name in or below the folder",
            remedy="put the files beside the association, and name them without folders",
        )
    place = path.parent / name
    if not place.is_file():
        raise DataError(
            "a member of the association is missing",
            place=path,
            found=name,
            expected=f"the file {place}",
            remedy="put it there, or leave out what is missing with --missing-members=leave_out",
        )
    return open_model(place)
