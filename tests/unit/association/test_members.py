"""Members of associations are numbers until somebody looks at them."""

import gc
import pickle
import tracemalloc
from pathlib import Path

import lightmill.testing
from lightmill.association.engine import associate
from lightmill.association.engine.work import RuleMemory
from lightmill.association.language import read_rules
from lightmill.association.pool import Pool
from lightmill.association.records import Member, Product

FILE = Path(lightmill.testing.__file__).parent / "ground" / "associations.yaml"


def night(n_objects, n_exposures=3):
    """Images of some objects, a few of each, in one program."""
    return Pool.from_rows(
        [
            {
                "file": f"f{target:05d}_{number:02d}.fits",
                "program": "p1",
                "binning": "1",
                "kind": "object",
                "object": f"m{target:05d}",
                "filter": "r",
            }
            for target in range(n_objects)
            for number in range(n_exposures)
        ],
        columns=["file", "program", "kind", "object", "filter", "binning", "grism", "slit", "nod"],
    )


def members_of(association):
    return association.products[0].members


def test_members_are_those_of_a_tuple():
    (stack,) = associate(night(1), read_rules(FILE))
    plain = tuple(Member(f"f00000_{n:02d}.fits", "science", (), n) for n in range(3))

    assert members_of(stack) == plain
    assert plain == members_of(stack)
    assert hash(members_of(stack)) == hash(plain)
    assert stack.products[0] == Product("p1_m00000_r_stack", plain)
    assert members_of(stack)[-1] == plain[-1]
    assert members_of(stack)[1:] == plain[1:]
    assert len(members_of(stack)) == 3
    assert members_of(stack) != plain[:2]


def test_a_copy_elsewhere_needs_no_pool():
    (stack,) = associate(night(1), read_rules(FILE))

    elsewhere = pickle.loads(pickle.dumps(stack))

    assert elsewhere == stack
    assert type(members_of(elsewhere)) is tuple


def test_the_members_of_a_large_pool_take_a_few_bytes_each():
    pool, rules = night(40, 100), read_rules(FILE)
    stacks = associate(pool, rules)
    rules.memory.clear()
    gc.collect()

    tracemalloc.start()
    again = associate(pool, rules)
    rules.memory.clear()
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # A member is one number of eight bytes; as an object with its texts it would take 250. A
    # thousand bytes is for each association, and 100 kB for what is held once.
    assert again == stacks
    assert held < 100_000 + 40 * 1000 + 4000 * 16


def test_the_states_of_one_rule_only_are_in_memory(monkeypatch):
    monkeypatch.setattr(RuleMemory, "LARGEST", 1000)
    pool, rules = night(1500, 2), read_rules(FILE)

    associate(pool, rules)

    # 1,500 associations of one rule went through two states each: more than are kept.
    assert all(len(memory.states) < 1000 for memory in rules.memory["compiled"])
