"""Which exposures belong together: each rule, and the laws they add up to."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightmill.errors import ValidationError
from lightmill.observatories.hst.wfpc2.builder import associate, candidates, distances, leaders
from lightmill.observatories.hst.wfpc2.geometry import attitude_of, coordinates_of, moved
from lightmill.observatories.hst.wfpc2.rules import Rules


@pytest.fixture
def grouped(make_pointing):
    """Return a function that associates exposures whose jitter agrees with their headers."""

    def group(exposures, quality=None, kind="A"):
        quality = quality or {}
        pointings = {
            one.root: make_pointing(one, quality.get(one.dataset_name, "P")) for one in exposures
        }
        generations = {one.root: f"1997030100{n:02d}" for n, one in enumerate(exposures)}
        return associate(exposures, pointings, generations, kind=kind)

    return group


def names(built):
    return {one.assoc_id: [name[6:8] for name in one.names] for one in built.associations.values()}


def test_the_deepest_exposure_leads_and_names(grouped, make_exposure):
    exposures = [make_exposure(1), make_exposure(2, exptime=200.0), make_exposure(3, exptime=200.0)]

    built = grouped(exposures)

    # of two equally deep the earlier one
    assert names(built) == {"UZ010102A": ["01", "02", "03"]}
    assert built.singles == []
    (one,) = built.associations.values()
    assert one.leader == "UZ010102T"
    assert one.exptime == one.exptime_all == 500.0
    assert one.gen_date_str == "199703010002"
    assert one.release_date_dmf == 1003  # a product is public when its last member is
    assert one.max_time_span == 120
    assert (one.n_pointings, one.kind) == (1, "CR")


def test_ten_arcsec_are_near_and_more_is_far(grouped, make_exposure):
    exposures = [make_exposure(1, exptime=200.0)]
    # 10" in the plane of tangency are 10" - 8e-9" on the sky; 3e-6" more are beyond the limit
    exposures += [make_exposure(2, 10.0), make_exposure(3, 0.0, -10.000003)]

    assert names(grouped(exposures)) == {"UZ010101A": ["01", "02"]}


@pytest.mark.parametrize(("turned", "near"), [(0.03, True), (-0.03, True), (0.031, False)])
def test_thirty_millidegrees_are_one_roll(grouped, make_exposure, turned, near):
    exposures = [make_exposure(1, exptime=200.0), make_exposure(2, turned=turned)]

    assert bool(grouped(exposures).associations) is near


def test_the_nearest_leader_takes_a_member(grouped, make_exposure):
    exposures = [make_exposure(1, exptime=400.0), make_exposure(2, 15.0, exptime=300.0)]
    exposures += [make_exposure(3, 8.0), make_exposure(4, 7.0), make_exposure(5, 7.5)]

    # at equal distance the deeper one
    assert names(grouped(exposures)) == {
        "UZ010101A": ["01", "04", "05"],
        "UZ010102A": ["02", "03"],
    }


def test_a_friend_of_a_friend_is_no_friend(grouped, make_exposure):
    exposures = [make_exposure(1, exptime=400.0), make_exposure(2, 8.0), make_exposure(3, 16.0)]

    built = grouped(exposures)

    assert names(built) == {"UZ010101A": ["01", "02"]}
    assert built.singles == ["UZ010103T"]


def test_filters_of_either_wheel_are_one_combination(grouped, make_exposure):
    exposures = [
        make_exposure(1, filtnam1="F555W", filtnam2="POLQ"),
        make_exposure(2, filtnam1="POLQ", filtnam2="F555W"),
        make_exposure(3),
    ]

    built = grouped(exposures)

    assert names(built) == {"UZ010101A": ["01", "02"]}
    assert built.associations["UZ010101A"].filter == "F555W+POLQ"


def test_proposals_do_not_mix(grouped, make_exposure):
    assert not grouped([make_exposure(1), make_exposure(2, pep_id=90002)]).associations


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"imagetyp": "DARK"}, "R0: calibration (DARK)"),
        ({"targname": "EARTH-CALIB"}, "R0: calibration (EARTH-CALIB)"),
        ({"mtflag": "T"}, "R0: moving target"),
        ({"exptime": 0.0}, "R0: no exposure time"),
        ({"aperture": "NOWHERE"}, "R1: no position of aperture 'NOWHERE' is known"),
    ],
)
def test_what_looks_at_no_field_stays_alone(grouped, make_exposure, make_pointing, facts, why):
    exposures = [make_exposure(1), make_exposure(2), make_exposure(3, **facts)]

    assert grouped(exposures).singles == ["UZ010103T"]
    pointings = {one.root: make_pointing(one) for one in exposures}
    found = candidates(exposures, pointings, dict.fromkeys(pointings, ""), kind="A", rules=Rules())
    assert found.alone == {"UZ010103T": why}


def test_bad_jitter_keeps_an_exposure_out_of_type_a_only(grouped, make_exposure):
    exposures = [make_exposure(n) for n in (1, 2, 3)]
    quality = {"UZ010101T": "B", "UZ010102T": "G"}

    jitter, headers = grouped(exposures, quality), grouped(exposures, quality, kind="B")

    assert names(jitter) == {"UZ010102A": ["02", "03"]}
    assert names(headers) == {"UZ010101B": ["01", "02", "03"]}
    # only members of quality P count, both totals are told
    assert jitter.associations["UZ010102A"].exptime == 100.0
    assert jitter.associations["UZ010102A"].exptime_all == 200.0


def test_a_header_pointing_that_is_no_number_stays_alone(grouped, make_exposure):
    lost = dataclasses.replace(make_exposure(3), ra_hdr=float("nan"))

    assert grouped([make_exposure(1), make_exposure(2), lost], kind="B").singles == ["UZ010103T"]


def test_a_roll_the_header_does_not_know_is_marked(make_exposure, make_pointing):
    exposures = [make_exposure(1), make_exposure(2)]
    pointings = {one.root: make_pointing(one) for one in exposures}
    pointings["UZ010102"] = make_pointing(exposures[1], roll=exposures[1].pa_v3_hdr + 0.7)

    built = associate(exposures, pointings, dict.fromkeys(pointings, "1"), kind="B")

    assert [m.quality for m in built.associations["UZ010101B"].members] == ["P", "R"]


def test_shifts_say_where_they_come_from_and_whether_to_trust_them(make_exposure, make_pointing):
    hours = 3600
    exposures = [
        make_exposure(1, exptime=400.0),
        make_exposure(2, 1.0, start_time_dmf=3 * hours),
        make_exposure(3, 1.0, start_time_dmf=9 * hours),  # the guide stars may be others
        make_exposure(4, 0.005, start_time_dmf=9 * hours),  # … and it does not matter
        make_exposure(5, 1.0),  # of quality G
        make_exposure(6, 1.0, start_time_dmf=9 * hours),  # its header says the same
        make_exposure(7, 1.0, start_time_dmf=9 * hours, start_time="1995-07-01T00:00:00"),
    ]
    pointings = {one.root: make_pointing(one) for one in exposures}
    pointings["UZ010105"] = make_pointing(exposures[4], "G")
    # headers that know nothing of the dither confirm nothing
    here = exposures[0]
    for number in (1, 2, 3, 4):
        exposures[number] = dataclasses.replace(
            exposures[number], ra_hdr=here.ra_hdr, dec_hdr=here.dec_hdr
        )
    generations = dict.fromkeys(pointings, "1")

    (one,) = associate(exposures, pointings, generations).associations.values()
    (by_headers,) = associate(exposures, pointings, generations, kind="B").associations.values()

    assert [m.shift_source for m in one.members] == ["none", *["jitter"] * 6]
    assert [m.shift_trusted for m in one.members] == [True, True, False, True, False, True, False]
    assert [m.shift_source for m in by_headers.members] == ["none", *["wcs"] * 6]
    assert not any(m.shift_trusted for m in by_headers.members[1:])
    assert one.n_pointings == 2
    assert one.kind == "DITHER+CR"


def test_the_target_may_be_called_anything(grouped, make_exposure):
    exposures = [make_exposure(1), make_exposure(2)]
    renamed = [dataclasses.replace(one, targname="OTHER") for one in exposures]

    one, other = grouped(exposures), grouped(renamed)

    assert one != other
    assert one.associations["UZ010101A"].content == other.associations["UZ010101A"].content


@pytest.mark.parametrize(
    "facts", [{"exptime": 101.0}, {"filtnam1": "F606W"}], ids=lambda facts: next(iter(facts))
)
def test_what_a_product_depends_on_is_its_content(grouped, make_exposure, facts):
    exposures = [make_exposure(1, exptime=200.0), make_exposure(2)]
    changed = [
        dataclasses.replace(one, **facts) if "filtnam1" in facts or one.exptime < 200 else one
        for one in exposures
    ]

    one, other = grouped(exposures), grouped(changed)

    assert one.associations["UZ010101A"].content != other.associations["UZ010101A"].content


def test_two_exposures_of_one_name_are_refused(grouped, make_exposure):
    twin = dataclasses.replace(make_exposure(1), dataset_name="UZ010101M")

    with pytest.raises(ValidationError, match="share the first eight"):
        grouped([make_exposure(1), twin])


def test_nothing_is_nothing(grouped):
    built = grouped([])

    assert (built.associations, built.singles) == ({}, [])


def test_there_are_two_types(grouped, make_exposure):
    with pytest.raises(ValidationError, match="no such type"):
        grouped([make_exposure(1)], kind="C")


# --------------------------------------------------------------------------------------- laws

crowd = st.lists(
    st.tuples(
        st.integers(-8, 8),  # V2 in steps of 3", so that distances tie
        st.integers(-3, 3),
        st.sampled_from([0.0, 0.02, 0.04]),
        st.sampled_from([100.0, 200.0, 300.0]),
        st.sampled_from(["F555W", "F814W"]),
        st.sampled_from([90001, 90002]),
        st.sampled_from("PPPGB"),
    ),
    min_size=1,
    max_size=30,
)


def exposures_of(rows, make_exposure):
    return [
        make_exposure(n, 3.0 * v2, 3.0 * v3, turned, exptime=time, filtnam1=name, pep_id=pep)
        for n, (v2, v3, turned, time, name, pep, _) in enumerate(rows)
    ]


def plain_leaders(rows, rules):
    """Return the leader of each exposure by the rules as they are written, one pair at a time."""

    def relation(one, other):
        away, turned = distances(rows.attitude.take([one]), rows.attitude.take([other]))
        near = away[0] <= rules.radius * 1e6 and abs(turned[0]) <= rules.roll * 1e9
        return away[0], bool(near)

    leader = {}
    for _, group in itertools.groupby(range(len(rows.group)), key=lambda n: rows.group[n]):
        members, chiefs = list(group), []
        for one in members:
            if not any(relation(one, other)[1] for other in chiefs):
                chiefs.append(one)
        for one in members:
            if one in chiefs:
                leader[one] = one
                continue
            near = [(relation(one, other), other) for other in chiefs]
            best = min(away for (away, inside), _ in near if inside)
            leader[one] = next(o for (away, inside), o in near if inside and away == best)
    return leader


@given(crowd)
def test_all_groups_at_once_are_each_group_by_itself(make_exposure, make_pointing, rows):
    exposures = exposures_of(rows, make_exposure)
    pointings = {
        one.root: make_pointing(one, row[-1]) for one, row in zip(exposures, rows, strict=True)
    }
    found = candidates(exposures, pointings, dict.fromkeys(pointings, "1"), kind="A", rules=Rules())

    leader = leaders(found, Rules())

    assert dict(enumerate(leader.tolist())) == plain_leaders(found, Rules())


@given(crowd, st.randoms(use_true_random=False))
def test_order_and_company_change_not_a_bit(make_exposure, make_pointing, rows, random):
    exposures = exposures_of(rows, make_exposure)
    pointings = {
        one.root: make_pointing(one, row[-1]) for one, row in zip(exposures, rows, strict=True)
    }
    generations = {one.root: f"{n:012d}" for n, one in enumerate(exposures)}
    together = associate(exposures, pointings, generations)

    random.shuffle(exposures)
    apart = {}
    for pep_id in (90002, 90001):
        mine = [one for one in exposures if one.pep_id == pep_id]
        apart |= associate(mine, pointings, generations).associations

    assert repr(sorted(apart.items())) == repr(sorted(together.associations.items()))


@settings(max_examples=20)
@given(crowd, st.floats(0, 360), st.floats(-89, 89), st.floats(0, 360))
def test_the_same_dither_anywhere_on_the_sky_is_the_same_association(
    make_exposure, make_pointing, rows, ra, dec, roll
):
    # offsets in the camera's own axes: neither pole nor zero hours is special
    there = (ra, dec, roll)
    here = exposures_of(rows, make_exposure)
    moved_ = []
    for one, (v2, v3, turned, *_) in zip(here, rows, strict=True):
        at = coordinates_of(moved(attitude_of(*there), 3.0 * v2, 3.0 * v3))
        ra_, dec_, roll_ = (float(x[0]) for x in at)
        moved_.append(dataclasses.replace(one, ra_hdr=ra_, dec_hdr=dec_, pa_v3_hdr=roll_ + turned))

    def built(exposures):
        pointings = {one.root: make_pointing(one) for one in exposures}
        return associate(exposures, pointings, dict.fromkeys(pointings, "1")).associations

    one, other = built(here), built(moved_)
    assert {k: a.names for k, a in one.items()} == {k: a.names for k, a in other.items()}
    for key in one:
        shifts = [np.array([m.shifts for m in found[key].members]) for found in (one, other)]
        # both rounded to 0.0001 pixel, and 1e-12 deg of an input is 4e-9"
        np.testing.assert_allclose(*shifts, atol=1.01e-4)
