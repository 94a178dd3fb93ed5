"""Names of products: ``<input without its type>[_<component>…]_<suffix>.<ext>``.

The name follows from the arguments alone, so that it can be printed before
anything runs. A product never lands outside its output folder.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill.errors import OutputError
from lightmill.yaml_files import read_yaml

if TYPE_CHECKING:
    from lightmill.pipeline.step import Step

__all__ = ["base_name", "known_suffixes", "product_name", "product_path", "register_suffixes"]

_EXTENSIONS = (".fits.gz", ".fits", ".asdf", ".ecsv", ".json")
_UNSAFE = re.compile(r"[^\w.+\-]+")

_registered: set[str] = set()


def register_suffixes(suffixes: Iterable[str]) -> None:
    """Make more product types known, so that they are taken off before another is put on."""
    _registered.update(suffix.lower() for suffix in suffixes)


def known_suffixes() -> frozenset[str]:
    """Return every product type known.

    Those in ``suffixes.yaml`` of each observatory's folder, those registered, and the names
    of all steps.
    """
    from lightmill.instrument import observatories
    from lightmill.pipeline.step import known_steps

    found = _registered | {name.lower() for name in known_steps()}
    return frozenset(found.union(*(_suffixes_of(one.home) for one in observatories())))


@functools.cache
def _suffixes_of(home: Path) -> frozenset[str]:
    path = home / "suffixes.yaml"
    if not path.exists():
        return frozenset()
    return frozenset(str(suffix).lower() for suffix in read_yaml(path))


def base_name(name: str, known: Iterable[str] | None = None) -> tuple[str, str, str]:
    """Split a file name into what stays, its separator and its extension.

    Parameters
    ----------
    name : str
        File name; folders are dropped.
    known : iterable of str, optional
        Product types to take off; all known ones by default.

    Returns
    -------
    base : str
        ``jw001`` of ``jw001_rate.fits``.
    separator : str
        What stood before the product type: ``_`` or ``-``.
    extension : str
        ``.fits``; ``.fits.gz`` counts as ``.fits``; empty where there is none.
    """
    stem = Path(name).name
    extension = ""
    for ending in _EXTENSIONS:
        if stem.lower().endswith(ending):
            stem, extension = stem[: -len(ending)], ending.removesuffix(".gz")
            break
    known = known_suffixes() if known is None else known
    for suffix in sorted(known, key=len, reverse=True):
        base, separator = stem[: -len(suffix) - 1], stem[-len(suffix) - 1 : -len(suffix)]
        if base and separator in {"_", "-"} and stem.lower().endswith(suffix):
            return base, separator, extension
    return stem, "_", extension


def product_name(
    input_name: str | Path,
    suffix: str | None,
    *,
    output_file: str | Path | None = None,
    output_dir: str | Path | None = None,
    ext: str | None = None,
    index: int | None = None,
    known: Iterable[str] | None = None,
    **components: object,
) -> Path:
    """Return where a product goes.

    Parameters
    ----------
    input_name : str or Path
        File the product is made from; its folder does not matter.
    suffix : str or None
        Product type; None or empty: none.
    output_file : str or Path, optional
        Takes the place of the input's name. A folder in it is honoured: below
        `output_dir` when relative.
    output_dir : str or Path, optional
        Folder of the products; the current one by default. ``~`` and ``$VAR`` are expanded.
    ext : str, optional
        Extension; by default that of `output_file`, else of the input, else ``.fits``.
    index : int, optional
        Number of the product among several of one kind.
    known : iterable of str, optional
        Product types to take off first (see `base_name`).
    **components : object
        Parts of the name between base and suffix, in the order given; None: left out.

    Returns
    -------
    path : Path
        Relative where `output_dir` is; nothing is created.

    Raises
    ------
    OutputError
        `output_file` leads out of `output_dir`.

    Examples
    --------
    >>> str(product_name("raw/jw001_uncal.fits", "rate", known=["uncal"]))
    'jw001_rate.fits'
    """
    folder = _expanded(output_dir) if output_dir else Path()
    source = Path(input_name)
    if output_file:
        source = _expanded(output_file)
        folder = _folder_of(source, folder, given=bool(output_dir))
    base, separator, extension = base_name(source.name, known)
    parts = [base]
    parts += [_safe(value) for value in components.values() if value is not None]
    if index is not None:
        parts.append(str(index))
    name = "_".join(parts)
    if suffix:
        name += separator + _safe(suffix)
    ending = ext or extension or ".fits"
    return folder / (name + (ending if ending.startswith(".") else f".{ending}"))


def product_path(
    input_name: str | Path,
    suffix: str | None,
    *,
    step: Step,
    target: Step | None = None,
    output_dir: str | Path | None = None,
    index: int | None = None,
    model: Any = None,
    own_file: bool = False,
    **components: Any,
) -> Path:
    """Return where the product of a step goes, by the step's and its pipeline's parameters.

    Parameters
    ----------
    input_name : str or Path
        File the product is made from.
    suffix : str or None
        Product type; of a model of every integration the one that says so, where the observatory
        has it: ``calints`` for ``cal``.
    step : Step
        The step that made it; its ``output_file`` counts first.
    target : Step, optional
        The pipeline it runs in; its ``output_file`` counts unless the step says
        ``search_output_file = false``.
    output_dir : str or Path, optional
        Folder of the products, where the step itself names none.
    index : int, optional
        Number of the product; dropped where ``output_use_index`` is false.
    model : Model, optional
        The product; its ``meta.filename`` is the name where ``output_use_model`` is true. A kind
        of product that is no image has an ``extension`` of its own.
    own_file : bool
        It is named after its own file: one of several exposures, which no ``output_file`` can
        name together.
    **components : Any
        See `product_name`.

    Returns
    -------
    path : Path
        Where it goes.
    """
    options = step.options
    outer = target.options if target is not None else options
    output_file = None if own_file else options["output_file"]
    if not output_file and options["search_output_file"] and not own_file:
        output_file = outer["output_file"]
    extension = getattr(model, "extension", None)
    own_folder = options["output_dir"] if step is not target else None
    folder = own_folder or output_dir or outer["output_dir"]
    if options["output_use_model"] and model is not None and model.meta.get("filename"):
        return product_name(
            model.meta.get("filename"),
            None,
            output_dir=folder,
            ext=extension or options["output_ext"],
            known=(),
        )
    return product_name(
        input_name,
        _suffix_for(suffix, model),
        output_file=output_file,
        output_dir=folder,
        ext=extension or options["output_ext"] or outer["output_ext"],
        index=index if options["output_use_index"] else None,
        **components,
    )


def _suffix_for(suffix: str | None, model: Any) -> str | None:
    ending = getattr(model, "ending", "")
    if not suffix or not ending or suffix.endswith(ending):
        return suffix
    return f"{suffix}{ending}" if f"{suffix}{ending}" in known_suffixes() else suffix


def _expanded(path: str | Path) -> Path:
    return Path(os.path.expandvars(path)).expanduser()


def _folder_of(output_file: Path, folder: Path, *, given: bool) -> Path:
    """Return the folder of an output file, which must lie in `folder` where that is given."""
    wanted = folder / output_file.parent  # an absolute one replaces `folder`
    if given and not wanted.resolve().is_relative_to(folder.resolve()):
        raise OutputError(
            "the output file lies outside the output folder",
            place="output_file",
            found=output_file,
            expected=f"a path below {folder}",
            remedy="give one of them only",
        )
    return wanted


def _safe(component: object) -> str:
    return _UNSAFE.sub("-", str(component)).strip(".") or "-"
