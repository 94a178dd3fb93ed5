"""The demonstration of the imager: one command, from reads to a mosaic and a page about it."""

import re
import shlex
import subprocess
import sys

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
    kinds = ("rop", "dark", "flat", "sky", "cal", "crf", "i2d")
    assert made == {f"{kind}.fits" for kind in kinds}


@pytest.mark.slow
def test_every_command_of_the_tutorial_works(root, tmp_path, monkeypatch, capsys):
    page = (root / "docs" / "tutorials" / "reduce-an-iris-image.md").read_text()
    monkeypatch.chdir(tmp_path)
    lines = [
        line
        for block in re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    assert len(lines) >= 10

    for line in lines:
        words = shlex.split(line)[1:]
        given = []
        for word in words:  # as a shell does
            found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.glob(word))
            given += found if "*" in word else [word]
        with pytest.raises(SystemExit) as left:
            main(given)
        assert left.value.code in {0, None}, f"{line}\n{capsys.readouterr()}"

    said = capsys.readouterr().out
    assert "2026b-p001_iris_img1_flat_0301_flat.fits" in said  # explain: the flat is the user's
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert abs(float(answer.stdout.split()[-1]) - 1) < 0.05
    assert "DN/s" in answer.stdout
