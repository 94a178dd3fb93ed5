"""We and the field's reader find the same cells in a pool, and it understands the pools we make.

Where we mean something else: we refuse what the field's reader makes something of by guessing
(a header with numbers for names), and we say line and column. A text that holds control
characters or is not UTF-8 is no pool to us.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from lightmill.app import discover
from lightmill.association.pool import read_pool
from lightmill.cli.main import main
from lightmill.errors import LightmillError
from lightmill.simulate import InstrumentFacts, observe

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
CASES = Path(os.environ.get("LIGHTMILL_CASES", ROOT.parent / "shared" / "cases")) / "associations"

READS = """
import json, sys, warnings
warnings.simplefilter("ignore")
from jwst.associations import AssociationPool
answers = []
for path in sys.argv[1:]:
    try:
        pool = AssociationPool.read(path)
        answers.append({name: [str(cell) for cell in pool[name]] for name in pool.colnames})
    except Exception as error:
        answers.append(type(error).__name__)
print(json.dumps(answers))
"""
SAME = [
    'a|b\n"x|y" |  z\n',
    'a|b\n  "x"|""\n2|q\n',
    "a|b|a\n1|2|3\n",
    "A | b \n X|Y z \n\n  # 1|2\n",
    "a|b\n1|\n2|xy\n",
    "a|b\n1|\n2|\n",
    "a|b\n1|null\n2|\n3|x\n",
    "a|b\r\n1|2\r\n",
    "a|b\n'1|2'|3\n".replace("|2", ""),
    'a|b\nx"y|z\n',
    'a|b\n"x""y"|z\n',
]
REFUSED = ["a|b\n1\n", "a|b\n1|2|3\n", "a|A\n1|2\n"]


@pytest.fixture(scope="module")
def reader(peer):
    """Give pools to the field's reader; return the columns it found in each."""

    def read(paths):
        done = subprocess.run(
            [peer, "-c", READS, *paths], capture_output=True, text=True, timeout=300, check=True
        )
        return json.loads(done.stdout.splitlines()[-1])

    return read


def test_real_pools_have_the_same_cells(reader):
    paths = sorted((CASES / "pools").glob("*.csv"))
    if not paths:
        pytest.skip(f"the pools to compare with are not here: {CASES}")

    answers = reader(paths)

    for path, theirs in zip(paths, answers, strict=True):
        pool = read_pool(path)
        assert {name: pool.column(name) for name in pool.columns} == theirs, path.name


def test_odd_pools_have_the_same_cells_or_are_refused_by_both(reader, tmp_path):
    paths = [tmp_path / f"{number}.csv" for number in range(len(SAME) + len(REFUSED))]
    for path, text in zip(paths, SAME + REFUSED, strict=True):
        path.write_bytes(text.encode())

    answers = reader(paths)

    for path, theirs in zip(paths, answers, strict=True):
        try:
            pool = read_pool(path)
            ours = {name: pool.column(name) for name in pool.columns}
        except LightmillError:
            ours = None
        assert ours == (None if isinstance(theirs, str) else theirs), path.read_text()


def test_the_field_makes_associations_of_a_pool_of_a_simulated_night(peer, tmp_path):
    facts = next(
        facts
        for one in discover().values()
        if (path := one.home / "simulate.yaml").exists()
        and (facts := InstrumentFacts.from_yaml(path)).demo
    )
    (tmp_path / "night").mkdir()
    made = observe(facts, "demo", seed=1, directory=tmp_path / "night")
    pool = tmp_path / "pool.csv"
    with pytest.raises(SystemExit):
        main(["asn", "pool", str(tmp_path / "night"), "-o", str(pool)])

    generate = Path(peer).with_name("asn_generate")
    subprocess.run([generate, pool, "-p", tmp_path], capture_output=True, timeout=300, check=True)

    files = [json.loads(path.read_text()) for path in tmp_path.glob("*_asn.json")]
    single = [asn for asn in files if asn["asn_rule"] == "candidate_Asn_Lv2Image"]
    assert len(single) == len(made)
    assert len(files) > len(single)
