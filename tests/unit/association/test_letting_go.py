"""What is kept in memory once associations are made: nothing that only a long night would show."""

import gc
from pathlib import Path

import pytest

import lightmill.observatories.jwst as observatory
from lightmill.association.engine import Options, associate, forget
from lightmill.association.language import read_rules
from lightmill.association.pool import Pool

HOME = Path(observatory.__file__).parent / "associations"


@pytest.fixture(scope="module")
def rules():
    return read_rules(HOME)


def observation(number, exposures=4):
    """Rows of one observation: dithered images through one filter, of a field of its own."""
    shared = {
        "program": "90001", "obs_num": str(number), "visit": "1", "pntgtype": "SCIENCE",
        "asn_candidate": f"[('o{number:03d}', 'OBSERVATION')]", "exp_type": "NIS_IMAGE",
        "instrume": "NIRISS", "detector": "NIS", "filter": "CLEAR", "pupil": "F200W",
        "targetid": str(number), "targname": f"FIELD-{number}", "subarray": "FULL",
        "visitype": "PRIME_TARGETED_FIXED", "patttype": "IMAGING", "numdthpt": str(exposures),
        "bkgdtarg": "F", "is_psf": "F", "is_imprt": "NULL", "mostilno": "1", "dithptin": "1",
        "nints": "1",
    }  # fmt: skip
    rows = [
        shared | {
            "filename": f"jw90001{number:03d}001_02101_{at:05d}_nis_uncal.fits",
            "patt_num": str(at), "expspcin": str(at),
        }
        for at in range(1, exposures + 1)
    ]  # fmt: skip
    return Pool.from_rows(rows, name="night.csv").folded(("filename",))


def remembered(rules):
    """How many answers, states and kinds of rows the rules know."""
    known = rules.memory["compiled"]
    return sum(len(one.answers) + len(one.states) - 1 + len(one.kinds) for one in known)


def test_a_run_is_gone_with_its_associations(rules):
    options = Options(ids=("o001",))
    associate(observation(1), rules, options)  # what is made once is made now
    gc.collect()
    gc.disable()  # else the collector may come first
    try:
        found = associate(observation(1), rules, options)
        assert found
        del found

        garbage = gc.collect()  # what only the collector can free, which may wait for an hour
    finally:
        gc.enable()

    assert garbage == 0


def test_members_are_told_as_long_as_somebody_has_the_association(rules):
    found = associate(observation(2), rules, Options(ids=("o002",)))

    forget(rules)
    gc.collect()

    names = {member.expname for one in found for p in one.products for member in p.members}
    assert "jw90001002001_02101_00001_nis_rate.fits" in names


def test_what_is_forgotten_is_worked_out_again(rules):
    first = associate(observation(3), rules, Options(ids=("o003",)))
    assert remembered(rules) > 0

    forget(rules)

    assert remembered(rules) == 0
    assert associate(observation(3), rules, Options(ids=("o003",))) == first
