"""Association tables as text, one file an association, as the archive publishes them."""

from __future__ import annotations

from pathlib import Path

from lightmill.errors import ValidationError
from lightmill.models.output import atomic
from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.exposures import root_of
from lightmill.observatories.hst.wfpc2.geometry import CHIPS, focal_plane
from lightmill.observatories.hst.wfpc2.rules import BUILDER, Rules

__all__ = ["asn_text", "remove_asn", "write_asn"]


def asn_text(association: Association, rules: Rules | None = None) -> str:
    """Return the table of an association as text.

    Parameters
    ----------
    association : Association
        Any version.
    rules : Rules, optional
        Tolerances it was built with.

    Returns
    -------
    text : str
        Comments of `#`, a line for each fact, a line for each member. Tells the sense of the shifts,
        and what it was made of; no clock, so that the same association is the same text.
    """
    rules = rules or Rules()
    one = association
    pixels = rules.radius / focal_plane().chips["WF4"][2]
    good = [m for m in one.members if m.quality == "P"]
    head = [
        ("Association", one.assoc_id),
        ("Leader", one.leader),
        ("Proposal", str(one.pep_id)),
        ("Target", one.targname),
        ("Filter", one.filter),
        ("Radius", f"{pixels:.3f} [WF4 pixels] {rules.radius:.3f} [arcsec]"),
        ("Delta Roll", f"{rules.roll:.3f} [deg]"),
        ("RA", f"{one.ra:.7f} [deg]"),
        ("Dec", f"{one.dec:.7f} [deg]"),
        ("Roll", f"{one.roll:.5f} [deg] position angle of +V3"),
        ("Members", f"{len(good)}:{len(one.members)} quality P:all"),
        ("Exptime", f"{one.exptime:.3f}:{one.exptime_all:.3f} [s] quality P:all"),
        ("Pointings", f"{one.n_pointings} {one.kind}"),
        ("Start", f"{one.start_time} first of {one.max_time_span} [s]"),
        ("Generation", one.gen_date_str),
        ("Content", f"{one.content} builder {BUILDER}"),
    ]
    lines = [f"{name:<12s} {value}" for name, value in head]
    chips = " ".join(f"{f'dx_{chip}':>9s} {f'dy_{chip}':>9s}" for chip in CHIPS)
    facts = f"{'dataset':9s} q {'exptime':>9s} {'generation':>12s} {'dist':>8s} {'droll':>9s}"
    lines += [
        "# Shifts [pixel]: where a star lies beyond its place in the leader; subtract to align.",
        "# Source: j jitter, w header; capital where it may be used unseen.",
        f"# {facts} pt s {chips}",
    ]
    for m in one.members:
        source = {"jitter": "j", "wcs": "w", "none": "-"}[m.shift_source]
        source = source.upper() if m.shift_trusted else source
        shifts = " ".join(f"{x:9.3f} {y:9.3f}" for x, y in m.shifts)
        lines.append(
            f"  {m.dataset:9s} {m.quality} {m.exptime:9.3f} {m.gen_date_str:>12s} "
            f"{m.distance / 1000:8.3f} {m.delta_roll:9.5f} {m.pointing + 1:2d} {source} {shifts}"
        )
    return "\n".join(lines) + "\n"


def write_asn(folder: Path, association: Association, rules: Rules | None = None) -> Path:
    """Write the table of an association, at once or not at all.

    Parameters
    ----------
    folder : path
        Where to.
    association : Association
        Named by its identity.
    rules : Rules, optional
        Tolerances it was built with.

    Returns
    -------
    path : Path
        Of the file.
    """
    path = _path(folder, association.assoc_id)
    with atomic(path) as file:
        file.write(asn_text(association, rules).encode())
    return path


def remove_asn(folder: Path, assoc_id: str) -> bool:
    """Remove the table of an association that is no more.

    Parameters
    ----------
    folder : path
        Where it was written.
    assoc_id : str
        Identity.

    Returns
    -------
    removed : bool
        False if there was none.
    """
    path = _path(folder, assoc_id)
    if not path.exists():
        return False
    path.unlink()
    return True


def _path(folder: Path, assoc_id: str) -> Path:
    root_of(assoc_id)
    if assoc_id[-1] not in "AB":
        raise ValidationError(
            "this is no name of an association", found=assoc_id, expected="A or B at its end"
        )
    return Path(folder) / f"{assoc_id.lower()}.asn"
