"""What a file says: the same however it was written."""

import io

import asdf
import numpy as np
import pytest
from astropy.io import fits

from lightmill.models.substance import substance_of

LEFT_OUT = ("CAL_VER", "R_*")


@pytest.fixture
def written(tmp_path):
    """Write a file of two units; return its path."""

    def write(name="a.fits", value=1.0, more=(), backwards=False, column=2.0):
        primary = fits.PrimaryHDU()
        cards = [("DATE", "2026-01-01"), ("TARGNAME", "M 1"), ("CAL_VER", "1"), ("R_FLAT", "a")]
        for key, content in reversed(cards) if backwards else cards:
            primary.header[key] = content
        for key, content in more:
            primary.header[key] = content
        image = fits.ImageHDU(np.full((3, 4), value, "f4"), name="SCI")
        table = fits.BinTableHDU.from_columns([fits.Column("x", "D", array=[1.0, column])])
        path = tmp_path / name
        fits.HDUList([primary, image, table]).writeto(path, overwrite=True)
        return path

    return write


@pytest.mark.parametrize(
    "how",
    [
        {"more": [("DATE", "2027-01-01")]},
        {"more": [("CAL_VER", "2"), ("R_FLAT", "b"), ("R_DARK", "c")]},
        {"more": [("HISTORY", "seen by eve")]},
        {"backwards": True},
    ],
    ids=["date", "provenance", "history", "order"],
)
def test_how_it_was_written_says_nothing(written, how):
    assert substance_of(written("b.fits", **how), LEFT_OUT) == substance_of(written(), LEFT_OUT)


@pytest.mark.parametrize(
    "how",
    [
        {"value": 1.5},
        {"column": 3.0},
        {"more": [("TARGNAME", "M 2")]},
        {"more": [("EXPTIME", 1.0)]},
    ],
    ids=["image", "table", "value", "keyword"],
)
def test_what_differs_is_seen(written, how):
    assert substance_of(written("b.fits", **how), LEFT_OUT) != substance_of(written(), LEFT_OUT)


def test_provenance_counts_where_nobody_says_it_does_not(written):
    other = written("b.fits", more=[("CAL_VER", "2")])

    assert substance_of(other) != substance_of(written())


@pytest.mark.parametrize(("made_of", "equal"), [("b", True), ("longer", True), (None, False)])
def test_the_length_of_a_record_says_nothing(written, made_of, equal):
    # How a product was made is in the text of its tree: its length is in the unit's header.
    def with_tree(name, tree):
        path, text = written(name), io.BytesIO()
        asdf.AsdfFile(tree).write_to(text)
        content = np.frombuffer(text.getvalue(), np.uint8)
        table = np.array([(content,)], [("ASDF_METADATA", "u1", content.shape)])
        with fits.open(path, mode="append") as units:
            units.append(fits.BinTableHDU(table, name="ASDF"))
        return path

    first = with_tree("a.fits", {"lightmill": {"inputs": "a"}})
    tree = {"lightmill": {"inputs": made_of}} if made_of else {"said": 1}

    assert (substance_of(first) == substance_of(with_tree("b.fits", tree))) is equal


@pytest.mark.parametrize("content", [b"", b"a table", b"SIMPLE  = nonsense"])
def test_what_is_no_fits_file_says_its_bytes(tmp_path, content):
    path = tmp_path / "a.ecsv"
    path.write_bytes(content)

    assert substance_of(path) == ""


def test_a_damaged_file_says_its_bytes(written):
    path = written()
    path.write_bytes(path.read_bytes()[:-3000])

    assert substance_of(path) == ""
