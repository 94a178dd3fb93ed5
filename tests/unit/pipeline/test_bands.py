import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.detector import (
    CorrectLinearity,
    DetectJumps,
    FitRamps,
    FlagChargeMigration,
    FlagSaturation,
    InitializeDq,
    ScaleGain,
    SubtractDark,
    SubtractSuperbias,
)
from lightmill.models import RampModel, Region
from lightmill.models.lineage import as_class
from lightmill.pipeline import Pipeline, Products
from lightmill.pipeline.bands import Rows, Stage, band_regions, through_bands
from lightmill.testing import make_references, make_uncal

STEPS = [
    InitializeDq,
    FlagSaturation,
    SubtractSuperbias,
    CorrectLinearity,
    SubtractDark,
    FlagChargeMigration,
    DetectJumps,
    FitRamps,
]


def crowded(n_ints=2, shape=(23, 17), seed=3):
    """A raw exposure in which every step has something to do."""
    dice = np.random.default_rng(seed)
    rate = dice.uniform(0, 60, shape)
    rate[4:7, 5:9] = 4000.0  # saturates
    jumps = [
        (i, int(dice.integers(1, 8)), int(y), int(x), float(charge))
        for i in range(n_ints)
        for y, x, charge in zip(
            dice.integers(0, shape[0], 12),
            dice.integers(0, shape[1], 12),
            dice.uniform(100, 3000, 12),
            strict=True,
        )
    ]
    raw = make_uncal(rate, n_ints=n_ints, shape=shape, jumps=jumps, seed=seed, saturate=50000.0)
    mask = np.zeros(shape, np.uint32)
    mask[dice.random(shape) < 0.05] = 1
    references = make_references(
        raw,
        mask=mask,
        saturation=49000.0,
        superbias=dice.normal(5000, 10, shape),
        linearity=[0.0, 1.0, 1e-7],
        dark=0.5,
        gain=dice.uniform(1.4, 1.6, shape),
        readnoise=7.0,
    )
    return as_class(raw, RampModel), references


def stages(references):
    return [
        Stage(
            step(signal_threshold=1000.0) if step is FlagChargeMigration else step(),
            step.name,
            {name: references.get(name) for name in step.references},
        )
        for step in STEPS
    ]


def bits(result):
    parts = result if isinstance(result, Products) else {"": result}
    return {
        (suffix, name): np.asarray(array).tobytes()
        for suffix, model in parts.items()
        for name, array in model.arrays.items()
        if getattr(array, "dtype", None) is not None
    }


@pytest.fixture(scope="module")
def exposure():
    ramp, references = crowded()
    whole = through_bands(ramp, stages(references), height=len(ramp.array("pixeldq").read()))
    return ramp, references, bits(whole)


@pytest.mark.parametrize("height", [1, 2, 3, 7, 22])
def test_the_result_does_not_depend_on_the_height_of_the_bands(exposure, height):
    ramp, references, whole = exposure

    assert bits(through_bands(ramp, stages(references), height=height)) == whole


@pytest.mark.parametrize("threads", [2, 5])
def test_the_result_does_not_depend_on_the_number_of_threads(exposure, threads):
    ramp, references, whole = exposure

    assert bits(through_bands(ramp, stages(references), height=2, threads=threads)) == whole


@given(seed=st.integers(0, 1000), height=st.integers(1, 9), n_ints=st.integers(1, 2))
def test_no_exposure_shows_how_it_was_cut(seed, height, n_ints):
    ramp, references = crowded(n_ints, (10, 9), seed)

    whole = bits(through_bands(ramp, stages(references), height=10))

    assert bits(through_bands(ramp, stages(references), height=height, threads=2)) == whole


def test_results_kept_on_disk_are_the_same_bits(exposure, monkeypatch, tmp_path):
    ramp, references, whole = exposure
    monkeypatch.setattr("lightmill.pipeline.bands.IN_MEMORY_BYTES", 100)

    result = through_bands(ramp, stages(references), height=5, scratch=tmp_path)

    assert type(result["rateints"].array("data")).__name__ == "Spool"
    assert bits(result) == whole
    assert not list(tmp_path.iterdir())  # scratch files have no name


def test_bands_cover_the_frame_once_and_in_order():
    ramp, _ = crowded()

    regions = band_regions(Rows(ramp, []), 5)

    assert [(r.y0, r.y1) for r in regions] == [(0, 5), (5, 10), (10, 15), (15, 20), (20, 23)]
    assert all((r.x0, r.x1) == (0, 17) for r in regions)


def test_any_part_can_be_asked_for_and_equals_the_part_of_the_whole(exposure):
    ramp, references, _ = exposure
    chain = stages(references)
    whole = through_bands(ramp, chain, height=23)
    rows = Rows(ramp, chain)

    part = rows.cut(Region(3, 9, 2, 13))

    np.testing.assert_array_equal(part["rate"].data, whole["rate"].data[3:9, 2:13])


def test_an_error_in_a_band_comes_out_as_it_is(exposure):
    ramp = exposure[0]

    class Breaks(FlagChargeMigration):
        """Break in the middle of the frame."""

        def apply(self, ramp):
            if ramp.region.y0 > 10:
                raise RuntimeError("in the middle")
            return ramp

    with pytest.raises(RuntimeError, match="in the middle"):
        through_bands(ramp, [Stage(Breaks(), "breaks")], height=2, threads=2)


def test_a_factor_is_applied_to_every_product(ramp):
    ramp.meta.exposure.gain_factor = 3.0
    references = make_references(ramp)
    chain = [
        Stage(FitRamps(), "ramp_fit", {n: references[n] for n in ("gain", "readnoise")}),
        Stage(ScaleGain(), "gain_scale", {"gain": None}),
    ]

    result = through_bands(ramp, chain, height=2)

    np.testing.assert_allclose(result["rate"].data, 3.0, rtol=1e-5)
    np.testing.assert_allclose(result["rateints"].data, 3.0, rtol=1e-5)


def test_a_pipeline_run_with_threads_and_spools_gives_the_same_file(tmp_path, monkeypatch):
    raw = make_uncal(
        np.random.default_rng(2).uniform(0, 100, (40, 30)), n_ints=3, shape=(40, 30), seed=8
    )
    references = make_references(raw)
    pipeline = type(
        "Short",
        (Pipeline,),
        {
            "name": "short",
            "steps": {cls.name: cls for cls in (InitializeDq, DetectJumps, FitRamps)},
            "flow": ("dq_init", "jump", "ramp_fit"),
        },
    )

    def products(folder, **options):
        outcome = pipeline().run(
            raw,
            output_dir=tmp_path / folder,
            save_results=True,
            overrides={n: references[n] for n in ("mask", "gain", "readnoise")},
            **options,
        )
        return {p.name: p.read_bytes() for p in outcome.written}

    plain = products("plain", threads=1)
    monkeypatch.setattr("lightmill.pipeline.bands.BAND_BYTES", 1)
    monkeypatch.setattr("lightmill.pipeline.bands.IN_MEMORY_BYTES", 100)

    assert products("cut", threads=3) == plain
