"""An association of files somebody names: no rules, no pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

from lightmill.association.names import member_fault
from lightmill.association.output import as_document
from lightmill.association.records import Association, Member, Product
from lightmill.errors import ConfigurationError, UnknownNameError, UsageError, ValidationError

__all__ = ["COMBINED", "EXPOSURE", "RULES", "from_list"]

COMBINED = "DMS_Level3_Base"  # one product of all files
EXPOSURE = "DMSLevel2bBase"  # a product of every science file
RULES = {COMBINED: 3, EXPOSURE: 2}
_ID = "a3001"  # what the field calls a set that no candidate asked for


def from_list(
    files: Iterable[str | tuple[str, str]],
    *,
    rule: str = COMBINED,
    product: str | None = None,
    candidate: str = _ID,
    root: Callable[[str], str] = lambda name: PurePosixPath(name).stem,
) -> dict[str, Any]:
    """Return the association of some files.

    Parameters
    ----------
    files : iterable of str or (str, str)
        Names, or name and role; the role is ``science`` where none is given.
    rule : str
        `COMBINED`: one product with all files. `EXPOSURE`: a product for every science file;
        the files with other roles are members of each.
    product : str, optional
        Name of the product; `COMBINED` needs one.
    candidate : str
        Identifier of the association.
    root : callable
        File name → name of its product, without the suffix of what the file is.

    Returns
    -------
    document : dict
        See `lightmill.association.output.write_document`.

    Raises
    ------
    ValidationError
        If a name is not one of a file in a folder, or two products would have one name.
    """
    if rule not in RULES:
        raise UnknownNameError("rule for lists", rule, RULES)
    members = [Member(*(one if isinstance(one, tuple) else (one, "science"))) for one in files]
    for member in members:
        fault = member_fault(member.expname)
        if fault:
            raise ValidationError(
                fault,
                place="the list of files",
                found=member.expname,
                remedy="name the files from their own folder, and keep the association there",
            )
        if not member.exptype.replace("_", "").isalnum():
            raise ValidationError("this is no role", place=member.expname, found=member.exptype)
    members = list(dict.fromkeys(members))
    science = [member for member in members if member.exptype == "science"]
    if not science:
        raise UsageError("an association needs at least one science file", found=len(members))
    if rule == COMBINED:
        if not product:
            raise ConfigurationError(
                "a product of several files needs a name", remedy="give it with --product-name NAME"
            )
        products = [Product(product, tuple(members))]
    else:
        others = tuple(member for member in members if member.exptype != "science")
        products = [
            Product(_named(root, member, product, len(science)), (member, *others))
            for member in science
        ]
    made = Association(
        rule=rule,
        type="None",
        level=RULES[rule],
        candidate=candidate,
        program="noprogram",
        target="none",
        pool="none",
        products=tuple(products),
    )
    document = as_document(made)
    if rule == EXPOSURE:  # each product has a target of its own
        del document["target"]
    return document


def _named(root: Callable[[str], str], member: Member, product: str | None, number: int) -> str:
    if product is None:
        folder = PurePosixPath(member.expname).parent
        return str(folder / root(member.expname))
    if number > 1:
        raise ConfigurationError(
            "one name cannot be that of several products", found=product, expected="one file"
        )
    return product
