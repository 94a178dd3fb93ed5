"""The demonstration of the imager: one command, from reads to a mosaic and a page about it."""

import re

import pytest

from lightmill.cli.main import main


def test_one_command_takes_a_field_from_reads_to_a_mosaic(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["demo", str(tmp_path), "--scene", "iris", "--seed", "2"])

    assert left.value.code in {0, None}
    assert "p001_1_k_i2d.fits" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    chi2 = float(re.search(r"<b>([\d.]+)</b><span>χ² of the reduced frames", page).group(1))
    stars, known = (
        float(re.search(pattern, page).group(1)) / 100
        for pattern in (r"<b>([+-][\d.]+)%</b><span>brightness", r"known to ([\d.]+)%")
    )
    assert abs(chi2 - 1) < 0.05
    assert abs(stars) < 4 * known < 0.03
    made = {path.name.rpartition("_")[2] for path in (tmp_path / "products").glob("*.fits")}
    assert made == {"rop.fits", "cal.fits", "crf.fits", "i2d.fits", "dark.fits", "flat.fits"}
