"""Laws of files: any model survives the round trip, any damage is an error of ours."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lightmill import models
from lightmill.errors import DataError
from lightmill.models.checker import compile_check
from lightmill.models.codec import decode, encode, stored_form
from lightmill.models.overlay import model_schema, overlay_of

PLACE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
frames = arrays.array_shapes(min_dims=4, max_dims=4, max_side=5)


@pytest.fixture(autouse=True, scope="module")
def overlay():
    home = Path(models.__file__).parents[1] / "observatories" / "jwst"
    models.register_overlay("JWST", home)


@PLACE
@given(st.data())
def test_a_ramp_survives_its_file(tmp_path, data):
    shape = data.draw(frames)
    draw = lambda dtype, size: data.draw(arrays.arrays(dtype, size))  # noqa: E731 - a short name
    ramp = models.RampModel(
        data=draw(np.float32, shape),
        groupdq=draw(np.uint8, shape),
        pixeldq=draw(np.uint32, shape[-2:]),
    )

    back = models.open(ramp.save(tmp_path / "ramp.fits"))

    for name in ("data", "groupdq", "pixeldq"):
        assert getattr(back, name).tobytes() == getattr(ramp, name).tobytes()


@given(
    arrays.arrays(
        st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]),
        st.integers(0, 30),
    )
)
def test_the_codec_is_its_own_inverse(values):
    stored, zero = stored_form(values.dtype)

    back = decode(encode(values), stored, zero, 1, np.empty_like(values))

    assert back.tobytes() == values.tobytes()


def region_of(draw, ny, nx):
    y0, x0 = draw(st.integers(0, ny - 1)), draw(st.integers(0, nx - 1))
    return models.Region(y0, draw(st.integers(y0 + 1, ny)), x0, draw(st.integers(x0 + 1, nx)))


@PLACE
@given(st.data())
def test_a_region_of_a_file_is_the_region_of_the_array(tmp_path, data):
    shape = data.draw(frames)
    values = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    path = models.UncalModel(data=values).save(tmp_path / "uncal.fits")
    outer = region_of(data.draw, *shape[-2:])
    inner = region_of(data.draw, *outer.shape)

    part = models.open(path).cut(outer).cut(inner)

    expected = values[(..., *outer.slices)][(..., *inner.slices)]
    np.testing.assert_array_equal(part.data, expected)
    np.testing.assert_array_equal(values[(..., *part.region.slices)], expected)


json_values = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False, width=16),
    st.sampled_from(["COMPLETE", "NIS", "PRIME", "", "x"]), st.lists(st.integers(), max_size=2),
)  # fmt: skip


@given(st.data(), json_values)
def test_the_compiled_check_agrees_with_jsonschema(data, value):
    import jsonschema

    schema = model_schema("rate-1.0.0", "JWST")
    extra = [
        {"type": "string", "pattern": "^[A-Z]+$", "minLength": 2, "maxLength": 5},
        {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 3},
        {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 1},
        {"enum": [1, "x", None, True]},
        {"minimum": 0, "exclusiveMaximum": 2},
    ]
    node = data.draw(st.sampled_from([field.node for field in schema.fields.values()] + extra))
    node = {key: one for key, one in node.items() if key not in {"fits", "unit", "title"}}

    theirs = jsonschema.Draft202012Validator(node).is_valid(value)

    assert (compile_check(node)(value) is None) == theirs


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Small files of every kind we write."""
    place = tmp_path_factory.mktemp("seeds")
    overlay_of("JWST")
    meta = {"telescope": "JWST", "exposure.ngroups": 2, "instrument.name": "NIRISS"}
    cube = np.ones((1, 2, 4, 4))
    times = np.zeros(
        1, [(name, "f8") for name in model_schema("times-1.0.0", None).arrays["int_times"].columns]
    )
    ramp = models.RampModel(meta=meta, data=cube, groupdq=cube, pixeldq=np.ones((4, 4), "u4"))
    ramp = ramp.evolve(int_times=times)
    ramp.history.append("a note")
    dark = models.DarkModel(meta={**meta, "reftype": "DARK"}, data=cube[0], dq=np.ones((4, 4), int))
    files = [
        ramp.save(place / "ramp.fits", record={"steps": ["a"]}),
        ramp.save(place / "ramp.asdf"),
        dark.save(place / "dark.fits"),
    ]
    return {path.name: path.read_bytes() for path in files}


CARDS = [
    b"NAXIS1  =                   -5", b"NAXIS1  =  99999999999999999", b"NAXIS   =                 1000",
    b"BITPIX  =                   17", b"BITPIX  =                   64", b"NAXIS2  = 1E300",
    b"BSCALE  =                  NaN", b"BZERO   = 1.5", b"PCOUNT  = 4611686018427387904",
    b"GCOUNT  = 0", b"EXTNAME = 'SCI", b"XTENSION= 'FOO     '", b"TFORM1  = '99999999999999J'",
    b"TFORM1  = 'PB(3)   '", b"ZIMAGE  = T", b"TTYPE1  = ''", b"EXTVER  = 'a'", b"TFIELDS = 900",
    b"TFIELDS = -1", b"DATAMODL= 'RateModel'", b"REFTYPE = 'DARK'", b"TELESCOP= 5",
]  # fmt: skip


def damaged(content, kind, place, card, extra):
    """Return a damaged copy: cut, a bit flipped, a card replaced, bytes lost or put in."""
    at = int(place * (len(content) - 1))
    if kind == "cut":
        return content[:at]
    if kind == "flip":
        changed = bytearray(content)
        changed[at] ^= 1 << (len(extra) % 8)
        return bytes(changed)
    if kind == "card":
        at -= at % 80
        return content[:at] + card.ljust(80) + content[at + 80 :]
    if kind == "lose":
        return content[:at] + content[at + len(extra) :]
    return content[:at] + extra + content[at:]


@settings(PLACE, max_examples=300)
@given(
    name=st.sampled_from(["ramp.fits", "ramp.asdf", "dark.fits"]),
    kind=st.sampled_from(["cut", "flip", "card", "lose", "insert"]),
    place=st.floats(0, 1),
    card=st.sampled_from(CARDS),
    extra=st.one_of(st.binary(min_size=1, max_size=90), st.just(b" " * 2880)),
)
def test_a_damaged_file_opens_or_says_what_is_wrong(
    seeds, tmp_path, name, kind, place, card, extra
):
    (tmp_path / name).write_bytes(damaged(seeds[name], kind, place, card, extra))

    refused = None
    try:
        model = models.open(tmp_path / name)
        model.meta.flat()
        _ = model.history, model.record, model.foreign.tree()
        for array in model.arrays:
            getattr(model, array)
        models.open(model.save(tmp_path / "again.fits")).meta.flat()
    except DataError as error:  # any other exception fails the test
        refused = error
    assert refused is None or refused.place


@pytest.mark.parametrize("name", ["ramp.fits", "dark.fits"])
def test_a_file_cut_inside_a_unit_is_never_taken_for_whole(seeds, tmp_path, name):
    content = seeds[name]
    # every unit begins with one of these; between them a cut must be noticed
    starts = {
        i for i in range(0, len(content), 2880) if content[i : i + 8] in {b"XTENSION", b"SIMPLE  "}
    }
    for end in range(0, len(content) - 2880, 720):
        if end in starts:
            continue
        (tmp_path / name).write_bytes(content[:end])
        following = min([start for start in starts if start > end], default=len(content))
        if not content[end:following].strip(b"\0"):
            continue  # only padding is lost
        with pytest.raises(DataError):
            models.open(tmp_path / name).meta.flat()
