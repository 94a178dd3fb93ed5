"""Save products: their paths and folders, whole or row by row, and the run log beside them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill import models
from lightmill.errors import OutputError
from lightmill.models import Exposures, Model
from lightmill.pipeline import hooks, naming
from lightmill.pipeline.outcome import Options
from lightmill.pipeline.provenance import Record
from lightmill.pipeline.several import evolved
from lightmill.pipeline.sinks import Written
from lightmill.pipeline.step import Products, SideProduct, Step

if TYPE_CHECKING:
    from lightmill.pipeline.bands import Stage

__all__ = ["Saver", "parts_of"]

log = logging.getLogger("lightmill.pipeline")


class Saver:
    """Names and writes the products of one run.

    Parameters
    ----------
    target : Step
        What runs; its options say where products go.
    options : Options
        What the user says of output for the whole run.
    record : Record
        Written into every product.

    Attributes
    ----------
    input_name : str
        The input's path or name, which products are named after.
    inputs : list of Path
        The files that are read: no product takes their place.
    written : list of Path
        The products saved so far.
    beside : list of Path
        Those of them that steps made beside their results.
    """

    def __init__(self, target: Step, options: Options, record: Record) -> None:
        self.input_name = ""
        self.inputs: list[Path] = []
        self.written: list[Path] = []
        self.beside: list[Path] = []
        self._target = target
        self._options = options
        self._record = record
        self._made: list[Path] = []  # folders that were not there before

    @property
    def directory(self) -> Path:
        """Where products go, unless a step names another place for its own."""
        given = self._options.output_dir or self._target.options["output_dir"]
        return Path(os.path.expandvars(given)).expanduser() if given else Path.cwd()

    @property
    def saves(self) -> bool:
        """Whether the result of the run is to be saved."""
        options = self._target.options
        return bool(self._options.save_results or options["save_results"] or options["output_file"])

    @property
    def streams(self) -> bool:
        """Whether the result of the run can be written row by row, while it is computed."""
        options = self._target.options
        return bool(
            self.saves
            and not options["post_hooks"]
            and (options["output_ext"] or ".fits") == ".fits"
            and Path(options["output_file"] or "x.fits").suffix == ".fits"
            and Path(self.input_name).suffix != ".asdf"
        )

    def check_directory(self) -> None:
        """Make the output folder, and refuse one that cannot be written into."""
        if not self.saves:
            return
        directory = self.directory
        self._make_folder(directory)
        models.remove_abandoned(directory)
        if not os.access(directory, os.W_OK):
            raise OutputError(
                "cannot write into the output folder",
                place=directory,
                found="permission denied",
                remedy="name another one with --output-dir",
            )

    def remove_empty_folders(self) -> None:
        """Remove the folders that were made and have nothing in them."""
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):  # it stays when something is in it
                folder.rmdir()

    def path_of(self, step: Step, *, make: bool = True) -> Callable[[str, Any], Path]:
        """Return the function from a suffix and a model to the path of a product of `step`."""

        def path_of(suffix: str, model: Any) -> Path:
            path = naming.product_path(
                self.input_name,
                suffix,
                step=step,
                target=self._target,
                output_dir=self.directory,
                model=model,
            )
            if make:
                self._make_folder(path.parent)
            return path

        return path_of

    def paths_of_members(self, step: Step, suffix: str, exposures: Exposures) -> list[Path]:
        """Return where the science exposures of a result go: each is named after its own file.

        The identifier of the association is part of the name, because an exposure may be a
        member of several.
        """
        identifier = exposures.association.get("asn_id")
        paths = [
            naming.product_path(
                name,
                suffix,
                step=step,
                target=self._target,
                output_dir=self.directory,
                model=model,
                own_file=True,
                asn_id=identifier,
            )
            for name, model in zip(exposures.names, exposures.science, strict=True)
        ]
        repeated = next((path for path in paths if paths.count(path) > 1), None)
        if repeated is not None:
            raise OutputError(
                "two exposures would become the same product",
                place=f"{step.name}: {suffix}",
                found=repeated.name,
                remedy="give their files different names",
            )
        return paths

    def save(self, step: Step, parts: dict[str, Any]) -> None:
        """Save products of a step, but for those written while they were computed."""
        path_of = self.path_of(step)
        for suffix, part in parts.items():
            if isinstance(part, Exposures):
                self._save_members(step, suffix, part)
            elif part.path is None or part.path not in self.written:
                self._save(step, path_of(suffix, part), part)

    def _save_members(self, step: Step, suffix: str, exposures: Exposures) -> list[Path]:
        paths = self.paths_of_members(step, suffix, exposures)
        for path, name, model in zip(paths, exposures.names, exposures.science, strict=True):
            self._refuse_taken(f"{step.name}: {suffix}", path, ())
            self._make_folder(path.parent)
            self._save(step, path, model, name)
        return paths

    def _save(self, step: Step, path: Path, model: Any, exposure: str | None = None) -> None:
        self._record.stamp(model, exposure)
        model.save(path, record=self._record.as_dict(volatile=False))
        self.saved(step, path, model)

    def save_result(self, step: Step, result: Any) -> None:
        """Save the result of a step inside a flow, where the user asked for it.

        That of the target itself is saved when all is done.
        """
        if step.options["save_results"] and step is not self._target:
            self.save(step, parts_of(step, result))

    def path_beside(self, step: Step, product: SideProduct) -> Path:
        """Return where a product goes that a step makes beside its result."""
        if not product.file:
            return self.path_of(step, make=False)(product.suffix, None)
        options, target = step.options, self._target.options
        return naming.product_name(
            self.input_name,
            None if product.exact else product.suffix,
            output_file=product.file,
            output_dir=options["output_dir"] or self._options.output_dir or target["output_dir"],
            ext=options["output_ext"] or target["output_ext"],
            known=() if product.exact else None,
        )

    def check_beside(self, step: Step, taken: Iterable[Path] = ()) -> None:
        """Refuse a name for a side product that cannot be used, before anything is computed.

        Parameters
        ----------
        step : Step
            Makes the product, if its parameters ask for one.
        taken : iterable of Path
            Other products of the run.
        """
        for product in step.side_products():
            place = f"{step.name}: {product.suffix}"
            self._refuse_taken(place, self.path_beside(step, product), taken)

    def _refuse_taken(self, place: str, path: Path, taken: Iterable[Path]) -> None:
        references = [fact for facts in self._record.references.values() for fact in facts.values()]
        read = {fact["path"] for fact in references if "path" in fact}
        read.update([self.input_name, *map(str, self.inputs)])
        for kind, others in (("a file that is read", read), ("another product", taken)):
            if path.resolve() in {Path(other).resolve() for other in others}:
                raise OutputError(
                    f"the product would take the place of {kind}",
                    place=place,
                    found=path,
                    remedy="name another file",
                )

    def save_beside(self, stage: Stage) -> None:
        """Save what a step made beside its result."""
        declared = {product.suffix: product for product in stage.step.side_products()}
        for suffix, model in stage.beside.items():
            if isinstance(model, Exposures):
                self.beside += self._save_members(stage.step, suffix, evolved(model))
                continue
            path = self.path_beside(stage.step, declared[suffix])
            self._refuse_taken(f"{stage.step.name}: {suffix}", path, ())
            self._make_folder(path.parent)
            self.beside.append(path)
            self._save(stage.step, path, model)
        stage.beside.clear()

    def sink(
        self,
        first: Any,
        path_of: Callable[[str, Any], Path],
        told: Callable[[], dict[str, Any]],
    ) -> Written:
        """Return where the bands of a result go to be written as they come."""
        return Written(
            first,
            path_of,
            self._record.stamp,
            told,
            lambda: self._record.as_dict(volatile=False),
            suffix_of(self._target),
        )

    def saved(self, step: Step, path: Path, model: Model) -> None:
        """Note that a product is in its place, and tell who wants to know."""
        self.written.append(path)
        for hook in step.options["on_save"]:
            hooks.call(hook, model, step=step, kind="on_save", path=path)
        log.info("wrote %s", path)

    def write_log(self, suffixes: Iterable[str]) -> None:
        """Write what differs from run to run beside the products."""
        if not self.written:
            return
        first = next((path for path in self.written if path not in self.beside), self.written[0])
        path = naming.product_name(
            first.name,
            "run",
            output_dir=first.parent,
            ext=".json",
            known=naming.known_suffixes().union(suffixes),
        )
        record = self._record.as_dict()
        record["outputs"] = [product.name for product in self.written]
        with models.atomic(path) as file:
            file.write(json.dumps(record, default=str).encode())

    def _make_folder(self, directory: Path) -> None:
        missing = [one for one in (directory, *directory.parents) if not one.exists()]
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._made += reversed(missing)
        except OSError as error:
            raise OutputError(
                "cannot make the output folder",
                place=directory,
                found=error.strerror,
                remedy="name another one with --output-dir",
            ) from error


def suffix_of(step: Step) -> str:
    """Return the suffix of the product of a step."""
    suffix = step.options["suffix"]
    if suffix is not None:
        return str(suffix)
    products: tuple[str, ...] = getattr(step, "products", ())
    return str(products[0]) if len(products) == 1 else step.name


def parts_of(step: Step, result: Any) -> dict[str, Any]:
    """Return the products of a step by their suffixes."""
    return dict(result) if isinstance(result, Products) else {suffix_of(step): result}
