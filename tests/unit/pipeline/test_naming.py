from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill import app
from lightmill.errors import OutputError
from lightmill.pipeline.naming import known_suffixes, product_name, product_path

KNOWN = ["uncal", "rate", "rateints", "residual_fringe", "cal"]


@pytest.mark.parametrize(
    ("name", "suffix", "product"),
    [
        ("jw001_uncal.fits", "rate", "jw001_rate.fits"),
        ("/data/raw/jw001_uncal.fits.gz", "rate", "jw001_rate.fits"),
        ("jw001_rateints.fits", "calints", "jw001_calints.fits"),
        ("jw001_residual_fringe.fits", "cal", "jw001_cal.fits"),
        ("jw001-cal.asdf", "rate", "jw001-rate.asdf"),
        ("jw001_strange.fits", "rate", "jw001_strange_rate.fits"),
        ("rate.fits", "cal", "rate_cal.fits"),
        ("jw001_uncal.fits", None, "jw001.fits"),
        ("jw001_uncal.fits", "", "jw001.fits"),
        ("noextension", "rate", "noextension_rate.fits"),
        ("v1.2_uncal.fits", "rate", "v1.2_rate.fits"),
    ],
)
def test_the_product_type_takes_the_place_of_the_one_before(name, suffix, product):
    assert str(product_name(name, suffix, known=KNOWN)) == product


def test_the_folder_of_an_output_file_is_honoured(tmp_path):
    relative = product_name("a_uncal.fits", "rate", output_file="sub/abc_cal.fits", known=KNOWN)
    below = product_name("a.fits", "rate", output_file="sub/abc", output_dir=tmp_path, known=KNOWN)
    absolute = product_name("a.fits", "rate", output_file=tmp_path / "abc.asdf", known=KNOWN)

    assert str(relative) == "sub/abc_rate.fits"
    assert below == tmp_path / "sub" / "abc_rate.fits"
    assert absolute == tmp_path / "abc_rate.asdf"


@pytest.mark.parametrize("output_file", ["../abc.fits", "/elsewhere/abc.fits", "x/../../abc.fits"])
def test_no_product_leaves_the_output_folder(tmp_path, output_file):
    with pytest.raises(OutputError):
        product_name("a.fits", "rate", output_file=output_file, output_dir=tmp_path)


def test_components_and_number_stand_before_the_type():
    name = product_name("a_cal.fits", "x1d", index=2, known=KNOWN, asn="a3001", slit=None)

    assert str(name) == "a_a3001_2_x1d.fits"


@given(st.text(min_size=1), st.text(), st.text())
def test_no_text_from_data_leads_out_of_the_folder(name, suffix, component):
    path = product_name("x.fits", suffix, output_dir="out", known=(), part=component, more=name)

    assert path.parent.name == "out"
    assert len(path.parts) == 2


def options(**given):
    defaults = dict.fromkeys(("output_file", "output_dir", "output_ext"))
    return {
        **defaults,
        "output_use_model": False,
        "output_use_index": True,
        "search_output_file": True,
        **given,
    }


def test_a_step_takes_over_the_output_file_of_its_pipeline():
    pipeline = SimpleNamespace(options=options(output_file="deep/field.fits"))
    step = SimpleNamespace(options=options())
    own = SimpleNamespace(options=options(search_output_file=False))

    assert str(product_path("a.fits", "jump", step=step, target=pipeline)) == "deep/field_jump.fits"
    assert str(product_path("a.fits", "jump", step=own, target=pipeline)) == "a_jump.fits"


def test_the_name_does_not_depend_on_how_a_step_runs():
    step = SimpleNamespace(options=options())
    pipeline = SimpleNamespace(options=options())

    alone = product_path("a.fits", "jump", step=step, target=step)
    within = product_path("a.fits", "jump", step=step, target=pipeline)

    assert alone == within


def test_the_model_can_say_its_name():
    step = SimpleNamespace(options=options(output_use_model=True))
    model = SimpleNamespace(meta={"filename": "../as_is_cal.fits"})

    path = product_path("a.fits", "rate", step=step, model=model, output_dir="out")

    assert str(path) == "out/as_is_cal.fits"


def test_product_types_of_every_observatory_are_known():
    app.discover()

    assert {"uncal", "rateints", "x1d"} <= known_suffixes()
    assert str(product_name("jw001_uncal.fits", "rate")) == "jw001_rate.fits"
