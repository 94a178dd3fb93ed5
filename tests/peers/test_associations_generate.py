"""We make the associations of the field's generator, of every pool that is at hand.

Where we mean something else: ``code_version`` is ours; ``constraints`` says in words what the
members share, where the field's has addresses of memory in it; rows that are in no association
are those `--save-orphans` writes, where the field's release writes all rows.
"""

import json
import os
from pathlib import Path

import pytest

import lightmill.observatories.jwst as observatory
from lightmill.association.engine import Options, associate
from lightmill.association.language import read_rules
from lightmill.association.output import as_document, file_name
from lightmill.association.pool import read_pool

ROOT = Path(__file__).parents[2]
CASES = Path(os.environ.get("LIGHTMILL_CASES", ROOT.parent / "shared" / "cases")) / "associations"
RULES = read_rules(Path(observatory.__file__).parent / "associations")
NOT_COMPARED = ("code_version", "constraints", "version_id")
OPTIONS = {
    "--discover": {"discover": True},
    "--all-candidates": {"all_candidates": True},
    "--merge": {"merge": True},
    "--DMS": {"operations": True},
}

pytestmark = pytest.mark.skipif(
    not CASES.is_dir(), reason=f"the pools to compare with are not here: {CASES}"
)


def variants():
    """Each run with options: its name, its pool, and what was asked for."""
    manifest = CASES / "expected_variants" / "MANIFEST.txt"
    for line in manifest.read_text().splitlines() if manifest.exists() else ():
        name, pool, words = (part.strip() for part in line.split("|"))
        asked, ids = {}, []
        for word in words.split():
            asked |= OPTIONS.get(word, {})
            if word[0] in "oc":
                ids.append(word)
        if ids:
            asked["ids"] = tuple(ids)
        yield pytest.param(name, pool, Options(**asked), id=name)


def documents(associations):
    made = {}
    for one in associations:
        name = file_name(one, pattern=RULES.shared["file_name"])
        assert name not in made
        made[name] = {k: v for k, v in as_document(one).items() if k not in NOT_COMPARED}
    return made


def expected(folder):
    found = {}
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text())
        name = path.name.replace("_20260102t030405", "")
        found[name] = {k: v for k, v in content.items() if k not in NOT_COMPARED}
    return found


@pytest.mark.parametrize("name", sorted(p.name for p in CASES.glob("expected/*")))
def test_a_pool_gives_the_same_files(name):
    made = associate(read_pool(CASES / "pools" / f"{name}.csv"), RULES)

    assert documents(made) == expected(CASES / "expected" / name)


@pytest.mark.parametrize(("name", "pool", "options"), list(variants()))
def test_options_give_the_same_files(name, pool, options):
    made = associate(read_pool(CASES / pool), RULES, options)

    assert documents(made) == expected(CASES / "expected_variants" / name)
